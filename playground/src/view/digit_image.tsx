// One image of 8 x 8 pixels, in the colours of the theme: ink on paper.
import { useLayoutEffect, useRef } from 'preact/hooks';
import { SIDE } from '../model/digits.ts';
import { inksOf } from './paint.ts';
import { themeVersion } from './theme.ts';

interface DigitImageProps {
  /** 64 numbers in [0, 1], or noise of deviation 1 with `signed`; undefined: an empty square. */
  image: Float32Array | undefined;
  signed?: boolean;
  class?: string;
}

export function DigitImage({ image, signed, class: name }: DigitImageProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = themeVersion.value;
  useLayoutEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    const context = element.getContext('2d') as CanvasRenderingContext2D;
    if (!image) return context.clearRect(0, 0, SIDE, SIDE);
    const { ink, paper } = inksOf(element);
    const pixels = context.createImageData(SIDE, SIDE);
    for (let i = 0; i < image.length; i++) {
      const value = signed ? (image[i] + 2) / 4 : image[i];
      const share = Math.max(0, Math.min(1, value));
      for (const c of [0, 1, 2]) pixels.data[4 * i + c] = paper[c] + share * (ink[c] - paper[c]);
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  }, [image, signed, theme]);
  return <canvas ref={canvas} width={SIDE} height={SIDE} class={name ? `pixels ${name}` : 'pixels'} />;
}
