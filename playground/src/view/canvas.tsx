// A square canvas that is painted again when what it shows changes, at most once for each frame.
import { effect, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { EXTENT } from '../model/settings.ts';
import { css, type Inks, inksOf, paint, type Scene } from './paint.ts';
import { themeVersion } from './theme.ts';

interface SquareProps {
  /** What is painted, from signals. */
  scene: () => Scene;
  label: string;
  class?: string;
  /** Paints over the scene. */
  over?: (context: CanvasRenderingContext2D, size: number, inks: Inks) => void;
  /** Gives the canvas to the owner. */
  onCanvas?: (canvas: HTMLCanvasElement) => void;
}

export function Square({ scene, label, class: name, over, onCanvas }: SquareProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef({ scene, over });
  latest.current = { scene, over };
  useEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    onCanvas?.(element);
    const context = element.getContext('2d') as CanvasRenderingContext2D;
    const size = signal(0);
    let shown: Scene | undefined;
    let frame = 0;
    const observer = new ResizeObserver(([entry]) => {
      size.value = Math.round(entry.contentRect.width);
    });
    observer.observe(element);
    const paintNow = () => {
      frame = 0;
      const side = size.peek();
      if (side === 0 || !shown) return;
      const ratio = Math.min(devicePixelRatio || 1, 2);
      const pixels = Math.round(side * ratio);
      if (element.width !== pixels) {
        element.width = pixels;
        element.height = pixels;
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      const inks = inksOf(element);
      paint(context, side, shown, inks);
      latest.current.over?.(context, side, inks);
    };
    const stop = effect(() => {
      themeVersion.value;
      size.value;
      shown = latest.current.scene();
      frame ||= requestAnimationFrame(paintNow);
    });
    return () => {
      stop();
      observer.disconnect();
      cancelAnimationFrame(frame);
    };
  }, []);
  // A picture without a label is one that the text next to it describes.
  return label === '' ? (
    <canvas ref={canvas} class={name} />
  ) : (
    <canvas ref={canvas} class={name} role="img" aria-label={label} />
  );
}

/** A ring at the place that the arrow keys have chosen. */
export function drawCursor(
  context: CanvasRenderingContext2D,
  size: number,
  inks: Inks,
  at: readonly [number, number] | undefined,
): void {
  if (!at) return;
  const scale = size / (2 * EXTENT);
  context.strokeStyle = css(inks.ink);
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc((at[0] + EXTENT) * scale, (EXTENT - at[1]) * scale, 6, 0, 2 * Math.PI);
  context.stroke();
}
