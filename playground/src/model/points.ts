// Points that the reader draws, and those of a word or a picture.
import { EXTENT, MOST_POINTS } from './settings.ts';

/** Standard deviation of a stamp of the brush, its points, and the radius of the eraser. */
const SPREAD = 0.55;
const STAMP = 7;
const ERASED = 1.1;

/** The points, and those of a stamp at a place; the oldest give way beyond the limit. */
export function stamp(points: Float32Array, x: number, y: number): Float32Array {
  const added = new Float32Array(2 * STAMP);
  for (let i = 0; i < STAMP; i++) {
    const radius = SPREAD * Math.sqrt(-2 * Math.log(1 - Math.random()));
    const angle = 2 * Math.PI * Math.random();
    added[2 * i] = clamp(x + radius * Math.cos(angle));
    added[2 * i + 1] = clamp(y + radius * Math.sin(angle));
  }
  const kept = points.subarray(Math.max(0, points.length + added.length - 2 * MOST_POINTS));
  const joined = new Float32Array(kept.length + added.length);
  joined.set(kept);
  joined.set(added, kept.length);
  return joined;
}

export function erase(points: Float32Array, x: number, y: number): Float32Array {
  const kept: number[] = [];
  for (let i = 0; i < points.length; i += 2)
    if (Math.hypot(points[i] - x, points[i + 1] - y) > ERASED) kept.push(points[i], points[i + 1]);
  return kept.length === points.length ? points : Float32Array.from(kept);
}

const clamp = (value: number) => Math.max(-EXTENT, Math.min(EXTENT, value));

/** Points inside the letters of a text, for a canvas of 300 x 300 pixels. */
export function pointsOfText(text: string, count = 1500): Float32Array {
  const side = 300;
  const canvas = Object.assign(document.createElement('canvas'), { width: side, height: side });
  const context = canvas.getContext('2d', { willReadFrequently: true }) as CanvasRenderingContext2D;
  const shown = text.slice(0, 12);
  let size = 220;
  const font = (pixels: number) => `800 ${pixels}px system-ui, sans-serif`;
  context.font = font(size);
  size *= Math.min(1, 260 / context.measureText(shown).width);
  context.font = font(size);
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(shown, side / 2, side / 2);
  return pointsOfMask(context.getImageData(0, 0, side, side), (data, at) => data[at + 3] > 128, count);
}

/** Points in the dark parts of a picture, or in its opaque parts where it is transparent. */
export async function pointsOfImage(file: Blob, count = 1500): Promise<Float32Array> {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error('This file is not a picture that the browser can read.');
  });
  const side = 300;
  const canvas = Object.assign(document.createElement('canvas'), { width: side, height: side });
  const context = canvas.getContext('2d', { willReadFrequently: true }) as CanvasRenderingContext2D;
  const scale = Math.min(side / picture.width, side / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context.drawImage(picture, (side - width) / 2, (side - height) / 2, width, height);
  const pixels = context.getImageData(0, 0, side, side);
  const dark = (data: Uint8ClampedArray, at: number) =>
    data[at + 3] > 128 && 0.3 * data[at] + 0.6 * data[at + 1] + 0.1 * data[at + 2] < 128;
  const points = pointsOfMask(pixels, dark, count);
  if (points.length === 0) throw new Error('This picture has no dark part to take points from.');
  return points;
}

function pointsOfMask(
  { data, width, height }: ImageData,
  inside: (data: Uint8ClampedArray, at: number) => boolean,
  count: number,
): Float32Array {
  const places: number[] = [];
  for (let i = 0; i < width * height; i++) if (inside(data, 4 * i)) places.push(i);
  if (places.length === 0) return new Float32Array(0);
  const points = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const at = places[Math.floor(Math.random() * places.length)];
    points[2 * i] = (((at % width) + Math.random()) / width - 0.5) * 2 * EXTENT;
    points[2 * i + 1] = (0.5 - (Math.floor(at / width) + Math.random()) / height) * 2 * EXTENT;
  }
  return points;
}
