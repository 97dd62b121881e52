// Paints the plane: clouds, paths that turn from the colour of the source into that of the target, points, arrows and density.
import type { Clouds, Paths } from '../engine/messages.ts';
import { EXTENT, type View } from '../model/settings.ts';

/** The colours of the page's theme. */
export interface Inks {
  from: Rgb;
  to: Rgb;
  ink: Rgb;
  paper: Rgb;
  line: Rgb;
  error: Rgb;
}
export type Rgb = readonly [number, number, number];

export interface Scene {
  clouds?: Clouds;
  paths?: Paths;
  field?: { side: number; arrows: Float32Array };
  /** The arrows are a difference of two velocities, in the colour of errors. */
  difference?: boolean;
  probe?: { backward: boolean; times: Float32Array; points: Float32Array; count: number };
  show: Pick<View, 'paths' | 'arrows' | 'target' | 'field' | 'density' | 'time'> & { pairs: boolean };
  /** A small picture has fewer and thinner lines. */
  small?: boolean;
}

export function inksOf(element: Element): Inks {
  const style = getComputedStyle(element);
  const read = (name: string): Rgb => {
    const [r, g, b] = style
      .getPropertyValue(`--${name}-rgb`)
      .trim()
      .split(/[\s,]+/)
      .map(Number);
    return [r || 0, g || 0, b || 0];
  };
  return {
    from: read('from'),
    to: read('to'),
    ink: read('ink'),
    paper: read('stage'),
    line: read('line'),
    error: read('error'),
  };
}

export const css = ([r, g, b]: Rgb, alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;

/** The colour at time t, between those of the two clouds. */
export function colourAt({ from, to }: Inks, t: number): Rgb {
  // A straight mean of blue and red is dull; the middle is lifted.
  const lift = 1 + 0.35 * 4 * t * (1 - t);
  return from.map((value, i) => Math.min(255, Math.round((value + t * (to[i] - value)) * lift))) as unknown as Rgb;
}

/** Paints a scene into a square of `size` CSS pixels. */
export function paint(context: CanvasRenderingContext2D, size: number, scene: Scene, inks: Inks): void {
  const { clouds, paths, field, probe, show, small } = scene;
  const scale = size / (2 * EXTENT);
  const X = (x: number) => (x + EXTENT) * scale;
  const Y = (y: number) => (EXTENT - y) * scale;
  const dot = small ? 1.1 : Math.max(1.2, size / 420);

  context.clearRect(0, 0, size, size);
  context.fillStyle = css(inks.paper);
  context.fillRect(0, 0, size, size);
  if (!small) {
    context.strokeStyle = css(inks.line, 0.8);
    context.lineWidth = 1;
    context.beginPath();
    for (const at of [-10, -5, 0, 5, 10]) {
      context.moveTo(X(at), 0);
      context.lineTo(X(at), size);
      context.moveTo(0, Y(at));
      context.lineTo(size, Y(at));
    }
    context.stroke();
  }
  const dots = (points: ArrayLike<number>, count: number, radius: number) =>
    paintDots(context, points, count, radius, 1, X, Y);
  if (clouds && show.target) {
    const paintClouds = (onto: CanvasRenderingContext2D) => {
      const stride = small ? 6 : 1;
      onto.fillStyle = css(inks.from, small ? 0.35 : 0.22);
      paintDots(onto, clouds.from, clouds.from.length / 2, dot, stride, X, Y);
      onto.fillStyle = css(inks.to, small ? 0.35 : 0.28);
      paintDots(onto, clouds.to, clouds.to.length / 2, dot, stride, X, Y);
    };
    // Clouds that are drawn on change with each movement of the pointer, and have no pairs.
    if (clouds.partners.length === 0) paintClouds(context);
    else
      context.drawImage(
        layerOf(clouds, context, size, `${inks.from} ${inks.to} ${small}`, paintClouds),
        0,
        0,
        size,
        size,
      );
  }
  if (clouds && show.pairs) pairLines(context, clouds.partners, small ? 90 : 300, X, Y, inks, small);
  if (!paths) return;

  const { count, times, points, first } = paths;
  const last = times.length - 1;
  const at = Math.min(last, Math.max(0, indexAt(times, show.time)));
  const whole = Math.floor(at);
  const place = new Float32Array(2 * count);
  for (let i = 0; i < 2 * count; i++) {
    const a = points[whole * 2 * count + i];
    const b = points[Math.min(last, whole + 1) * 2 * count + i];
    place[i] = a + (at - whole) * (b - a);
  }
  if (show.density) density(context, place, size, inks, show.time);
  if (show.paths) {
    const shown = small ? Math.min(count, 70) : Math.min(count, 160);
    const pieces = small ? 4 : 8;
    context.lineWidth = small ? 0.8 : 1;
    context.lineJoin = 'round';
    for (let piece = 0; piece < pieces; piece++) {
      const begin = Math.round((piece * last) / pieces);
      const end = Math.round(((piece + 1) * last) / pieces);
      if (end <= begin) continue;
      const middle = (times[begin] + times[end]) / 2;
      context.strokeStyle = css(colourAt(inks, middle), middle <= show.time ? 0.75 : 0.16);
      const stride = Math.max(1, Math.floor((end - begin) / (small ? 5 : 14)));
      context.beginPath();
      for (let i = 0; i < shown; i++) {
        context.moveTo(X(points[begin * 2 * count + 2 * i]), Y(points[begin * 2 * count + 2 * i + 1]));
        for (let k = begin + stride; k < end; k += stride)
          context.lineTo(X(points[k * 2 * count + 2 * i]), Y(points[k * 2 * count + 2 * i + 1]));
        context.lineTo(X(points[end * 2 * count + 2 * i]), Y(points[end * 2 * count + 2 * i + 1]));
      }
      context.stroke();
    }
  }
  if (show.field && field && !small) arrowsOf(context, field, scale, X, Y, scene.difference ? inks.error : inks.ink);
  if (show.arrows) oneStep(context, { points, first, count, last }, X, Y, inks, dot, small);
  context.fillStyle = css(colourAt(inks, show.time), 0.95);
  dots(place, small ? Math.min(count, 140) : count, small ? 1.3 : Math.max(1.7, size / 300));
  if (probe && !small) probed(context, probe, X, Y, inks);
}

/** The place of a time among the times, with its part between two of them. */
function indexAt(times: Float32Array, time: number): number {
  const next = times.findIndex((t) => t >= time);
  if (next <= 0) return next === 0 ? 0 : times.length - 1;
  return next - 1 + (time - times[next - 1]) / (times[next] - times[next - 1]);
}

type Axis = (value: number) => number;

function paintDots(
  context: CanvasRenderingContext2D,
  points: ArrayLike<number>,
  count: number,
  radius: number,
  stride: number,
  X: Axis,
  Y: Axis,
): void {
  context.beginPath();
  for (let i = 0; i < count; i += stride) {
    const [x, y] = [X(points[2 * i]), Y(points[2 * i + 1])];
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
  context.fill();
}

/** Thousands of dots that stay while flows train: pictures of them, by what they depend on. */
const layers = new WeakMap<Clouds, Map<string, HTMLCanvasElement>>();
const MOST_LAYERS = 6;

function layerOf(
  clouds: Clouds,
  { canvas: { width, height } }: CanvasRenderingContext2D,
  size: number,
  colours: string,
  paintClouds: (onto: CanvasRenderingContext2D) => void,
): HTMLCanvasElement {
  const own = layers.get(clouds) ?? new Map<string, HTMLCanvasElement>();
  layers.set(clouds, own);
  const key = `${size} ${width} ${colours}`;
  const known = own.get(key);
  if (known) return known;
  const layer = Object.assign(document.createElement('canvas'), { width, height });
  const context = layer.getContext('2d') as CanvasRenderingContext2D;
  context.scale(width / size, height / size);
  paintClouds(context);
  // Sizes of a window that was drawn larger or smaller.
  if (own.size >= MOST_LAYERS) own.clear();
  own.set(key, layer);
  return layer;
}

function pairLines(
  context: CanvasRenderingContext2D,
  lines: Float32Array,
  most: number,
  X: Axis,
  Y: Axis,
  inks: Inks,
  small?: boolean,
) {
  const count = Math.min(most, lines.length / 4);
  context.lineWidth = small ? 0.5 : 0.8;
  for (let i = 0; i < count; i++) {
    const [a, b, c, d] = [X(lines[4 * i]), Y(lines[4 * i + 1]), X(lines[4 * i + 2]), Y(lines[4 * i + 3])];
    const gradient = context.createLinearGradient(a, b, c, d);
    gradient.addColorStop(0, css(inks.from, 0.5));
    gradient.addColorStop(1, css(inks.to, 0.5));
    context.strokeStyle = gradient;
    context.beginPath();
    context.moveTo(a, b);
    context.lineTo(c, d);
    context.stroke();
  }
}

/** Arrows of one Euler step, and in the colour of errors what lacks to where the paths end. */
function oneStep(
  context: CanvasRenderingContext2D,
  { points, first, count, last }: { points: Float32Array; first: Float32Array; count: number; last: number },
  X: Axis,
  Y: Axis,
  inks: Inks,
  dot: number,
  small?: boolean,
) {
  const shown = Math.min(count, small ? 40 : 100);
  const tips: number[] = [];
  context.lineWidth = small ? 0.6 : 1;
  context.strokeStyle = css(inks.ink, 0.5);
  context.beginPath();
  for (let i = 0; i < shown; i++) {
    const [x, y] = [points[2 * i], points[2 * i + 1]];
    const [u, v] = [x + first[2 * i], y + first[2 * i + 1]];
    tips.push(u, v);
    context.moveTo(X(x), Y(y));
    context.lineTo(X(u), Y(v));
  }
  context.stroke();
  context.strokeStyle = css(inks.error, 0.85);
  context.lineWidth = small ? 0.8 : 1.4;
  context.beginPath();
  for (let i = 0; i < shown; i++) {
    context.moveTo(X(tips[2 * i]), Y(tips[2 * i + 1]));
    context.lineTo(X(points[last * 2 * count + 2 * i]), Y(points[last * 2 * count + 2 * i + 1]));
  }
  context.stroke();
  context.fillStyle = css(inks.ink, 0.9);
  for (let i = 0; i < shown; i++) {
    context.beginPath();
    context.arc(X(tips[2 * i]), Y(tips[2 * i + 1]), dot * 1.3, 0, 2 * Math.PI);
    context.fill();
  }
}

function arrowsOf(
  context: CanvasRenderingContext2D,
  { side, arrows }: { side: number; arrows: Float32Array },
  scale: number,
  X: Axis,
  Y: Axis,
  ink: Rgb,
) {
  const cell = (2 * EXTENT) / side;
  context.strokeStyle = css(ink, 0.65);
  context.fillStyle = css(ink, 0.65);
  context.lineWidth = 1;
  for (let i = 0; i < arrows.length; i += 4) {
    const [x, y, u, v] = arrows.subarray(i, i + 4);
    const length = Math.hypot(u, v);
    if (!(length > 0)) continue;
    const shown = 0.9 * cell * Math.tanh(length / 12);
    const [dx, dy] = [(u / length) * shown, (v / length) * shown];
    const [a, b] = [X(x - dx / 2), Y(y - dy / 2)];
    const [c, d] = [X(x + dx / 2), Y(y + dy / 2)];
    context.beginPath();
    context.moveTo(a, b);
    context.lineTo(c, d);
    context.stroke();
    const head = Math.min(5, 0.35 * shown * scale);
    const angle = Math.atan2(d - b, c - a);
    context.beginPath();
    context.moveTo(c, d);
    context.lineTo(c - head * Math.cos(angle - 0.45), d - head * Math.sin(angle - 0.45));
    context.lineTo(c - head * Math.cos(angle + 0.45), d - head * Math.sin(angle + 0.45));
    context.fill();
  }
}

/** Cells of a side of the density. */
const CELLS = 60;

function density(context: CanvasRenderingContext2D, points: Float32Array, size: number, inks: Inks, time: number) {
  const heat = new Float32Array(CELLS * CELLS);
  const reach = 3;
  for (let i = 0; i < points.length; i += 2) {
    const cx = ((points[i] + EXTENT) / (2 * EXTENT)) * CELLS - 0.5;
    const cy = ((EXTENT - points[i + 1]) / (2 * EXTENT)) * CELLS - 0.5;
    for (let y = Math.max(0, Math.ceil(cy - reach)); y <= Math.min(CELLS - 1, cy + reach); y++)
      for (let x = Math.max(0, Math.ceil(cx - reach)); x <= Math.min(CELLS - 1, cx + reach); x++)
        heat[y * CELLS + x] += Math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2.5);
  }
  const most = heat.reduce((a, b) => Math.max(a, b), 1e-6);
  const colour = colourAt(inks, time);
  const cell = size / CELLS;
  for (let i = 0; i < heat.length; i++) {
    if (heat[i] < 0.02 * most) continue;
    context.fillStyle = css(colour, 0.75 * (heat[i] / most) ** 0.6);
    context.fillRect((i % CELLS) * cell, Math.floor(i / CELLS) * cell, cell + 0.5, cell + 0.5);
  }
}

/** Points that the reader chose, and where the flow takes them. */
function probed(context: CanvasRenderingContext2D, probe: NonNullable<Scene['probe']>, X: Axis, Y: Axis, inks: Inks) {
  const { times, points, count } = probe;
  const last = times.length - 1;
  context.lineWidth = 2.5;
  for (let i = 0; i < count; i++) {
    context.strokeStyle = css(inks.ink, 0.9);
    context.beginPath();
    for (let k = 0; k <= last; k++) {
      const at = 2 * (k * count + i);
      if (k === 0) context.moveTo(X(points[at]), Y(points[at + 1]));
      else context.lineTo(X(points[at]), Y(points[at + 1]));
    }
    if (count <= 2) context.stroke();
  }
  for (const [k, time] of [
    [0, times[0]],
    [last, times[last]],
  ] as const) {
    // The image of a line is a line.
    if (count > 2) {
      context.strokeStyle = css(colourAt(inks, time), 1);
      context.beginPath();
      for (let i = 0; i < count; i++)
        context.lineTo(X(points[2 * (k * count + i)]), Y(points[2 * (k * count + i) + 1]));
      context.stroke();
    }
    for (let i = 0; i < count; i += Math.max(1, count - 1)) {
      context.fillStyle = css(colourAt(inks, time), 1);
      context.strokeStyle = css(inks.paper, 1);
      context.beginPath();
      context.arc(X(points[2 * (k * count + i)]), Y(points[2 * (k * count + i) + 1]), 6, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  }
}
