// Conversion of 8-bit pixels to network inputs, and back.
//
// x = p / 255, or with uniform dequantisation x = (u + p) / 256, u uniform in [0, 1); centred: 2x - 1
//
// Source: datasets.py of score_sde and of the official rectified flow code ((u + 255 x) / 256).
import { checkArgument, checkArguments, checkOptions, either, kinds, oneOf } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { streams } from '../tensor/streams.ts';
import { randomBlock } from './random.ts';

export interface ScaleOptions {
  /** Whether values are in [-1, 1] rather than [0, 1]. */
  centered: boolean;
}

const scaleOptions = { centered: kinds.boolean };

/**
 * Scales pixels 0..255 to f32 in [0, 1], or in [-1, 1] if centred.
 * @example
 * scalePixels(Uint8Array.of(0, 51, 255), { centered: false }); // [0, 0.2, 1]
 * scalePixels(Uint8Array.of(0, 255), { centered: true }); // [-1, 1]
 */
export function scalePixels(pixels: Uint8Array, options: ScaleOptions): Float32Array {
  checkArgument('scalePixels', 'pixels', pixels, kinds.bytes);
  const { centered } = checkOptions('scalePixels', options, scaleOptions, ['centered']);
  return Float32Array.from(pixels, (p) => (centered ? (2 * p) / 255 - 1 : p / 255));
}

/**
 * Scales pixels and adds uniform noise below one step, to [0, 1) or [-1, 1): a continuous density in place of 256
 * spikes. The noise of element i of image `item` (in a training batch: step * batch size + place in the batch) depends
 * only on seed, item and i. It has 16 bits, so that f32 holds 8 bits of pixel and 16 of noise exactly and 1 is never
 * reached.
 * @param item the image's number in the run
 * @example
 * // 0 becomes a number in [0, 1/256), 255 one in [255/256, 1).
 * const [dark, bright] = dequantizePixels(Uint8Array.of(0, 255), { centered: false }, 1, 0);
 * dark >= 0 && dark < 1 / 256; // true
 * bright >= 255 / 256 && bright < 1; // true
 */
export function dequantizePixels(pixels: Uint8Array, options: ScaleOptions, seed: number, item: number): Float32Array {
  checkArgument('dequantizePixels', 'pixels', pixels, kinds.bytes);
  checkArguments('dequantizePixels', { seed: [seed, kinds.whole], item: [item, kinds.whole] });
  const { centered } = checkOptions('dequantizePixels', options, scaleOptions, ['centered']);
  const out = new Float32Array(pixels.length);
  for (let block = 0; block * 8 < pixels.length; block++) {
    const words = randomBlock(block, item, streams.dequantize, seed);
    for (let lane = 0, i = block * 8; lane < 8 && i < pixels.length; lane++, i++) {
      const u = ((words[lane >> 1] >>> (16 * (lane & 1))) & 0xffff) / 65536;
      const x = (u + pixels[i]) / 256;
      out[i] = centered ? 2 * x - 1 : x;
    }
  }
  return out;
}

/**
 * Converts network outputs back to pixels, clipped to 0..255.
 * @param options.rounding 'floor' (floor(255 x)) as in the official sample files, 'nearest' as in its PNG grids.
 * Default 'nearest'
 * @example
 * toPixels(Float32Array.of(-1.5, 0, 1), { centered: true }); // [0, 128, 255]
 * toPixels(Float32Array.of(0.999), { centered: false, rounding: 'floor' }); // [254]
 */
export function toPixels(values: Float32Array, options: ScaleOptions & { rounding?: 'floor' | 'nearest' }): Uint8Array {
  checkArgument('toPixels', 'values', values, kinds.float32);
  const known = { ...scaleOptions, rounding: oneOf(['floor', 'nearest']) };
  const { centered, rounding = 'nearest' } = checkOptions('toPixels', options, known, ['centered']);
  const shift = rounding === 'floor' ? 0 : 0.5;
  // NaN becomes 0 in the conversion to integers.
  return Uint8Array.from(values, (value) => {
    const x = centered ? (value + 1) / 2 : value;
    return Math.floor(Math.min(Math.max(255 * x, 0), 255) + shift);
  });
}

/** Returns whether image `item` of the run is mirrored: a fair coin that depends only on seed and item. */
export function isFlipped(seed: number, item: number): boolean {
  checkArgument('isFlipped', 'seed', seed, kinds.whole);
  checkArgument('isFlipped', 'item', item, kinds.whole);
  return (randomBlock(0, item, streams.flip, seed)[0] & 1) === 1;
}

const pixelsKind = either(kinds.bytes, kinds.float32);

/**
 * Mirrors one [H, W, C] image left to right, in place.
 * @throws ValueError for an image that is not of whole rows
 * @example
 * const image = Uint8Array.of(1, 2, 3, 4, 5, 6);
 * flipHorizontal(image, 3, 1);
 * image; // [3, 2, 1, 6, 5, 4]
 */
export function flipHorizontal(image: Uint8Array | Float32Array, width: number, channels: number): void {
  checkArguments('flipHorizontal', {
    image: [image, pixelsKind],
    width: [width, kinds.count],
    channels: [channels, kinds.count],
  });
  const rowLength = width * channels;
  if (image.length % rowLength !== 0)
    throw new ValueError(`[flipHorizontal] expected rows of ${width} x ${channels}, got ${image.length} values`);
  for (let row = 0; row < image.length; row += rowLength)
    for (let x = 0; x < width >> 1; x++)
      for (let c = 0; c < channels; c++) {
        const left = row + x * channels + c;
        const right = row + (width - 1 - x) * channels + c;
        [image[left], image[right]] = [image[right], image[left]];
      }
}
