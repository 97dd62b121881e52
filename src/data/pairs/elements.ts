// The stored form of pairs: images with channels first, as f32, f16 or as 16 bits over a fixed range; and the redrawing of
// z0.
//
// q = round((clip(z, low, high) - low) / (high - low) * 65535), z = low + q (high - low) / 65535
//
// f16 has 11 significant bits at any size, which suits latents, whose range is not fixed.
// Over [-4, 4] the error of 16 bits is at most 6.1e-5: a 128th of an 8-bit pixel step, and below the error of RK45 at tolerance
// 1e-5.
import { checkArgument, kinds } from '../../arguments.ts';
import { NonFiniteError } from '../../errors.ts';
import { bytesOf, toFloat32 } from '../../io/array.ts';
import { fillNormals } from '../../tensor/philox.ts';
import { channelsFirst, channelsLast } from '../layout.ts';
import type { NoiseLaw, PairPlan, PairShape } from './manifest.ts';

const STEPS = 65535;
/** The largest number of f16. */
export const LARGEST_HALF = 65504;

/**
 * The range of pairs that are stored in 16 bits, for a network range of [-1, 1] (`centered`) or [0, 1]. Solutions of the ODE exceed the network range,
 * and those of a flow early in training exceed it by far.
 * @example
 * quantisedRange(true); // [-4, 4]
 * quantisedRange(false); // [-1.5, 2.5]
 */
export function quantisedRange(centered: boolean): [low: number, high: number] {
  checkArgument('quantisedRange', 'centered', centered, kinds.boolean);
  return centered ? [-4, 4] : [-1.5, 2.5];
}

export function elementBytes(dtype: PairPlan['dtype']): number {
  return dtype === 'f32' ? 4 : 2;
}

/**
 * Encodes f32 [n, H, W, C] as the bytes of [n, C, H, W].
 * @param first index of the first pair, for errors
 * @returns the bytes, and the number of values that were clipped
 * @throws NonFiniteError with the pair's index
 */
export function encodeEnds(
  values: Float32Array,
  { shape, dtype, range, solved }: Pick<PairPlan, 'shape' | 'dtype' | 'range' | 'solved'>,
  first: number,
): { bytes: Uint8Array; clipped: number } {
  const [c, h, w] = shape;
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0)
    throw new NonFiniteError(
      `${solved ?? 'z1'} of pair ${first + Math.floor(at / (c * h * w))} holds ${values[at]}: the flow diverges`,
    );
  const planar = channelsFirst(values, [values.length / (c * h * w), h, w, c]);
  if (dtype === 'f32') return { bytes: bytesOf(planar), clipped: 0 };
  let clipped = 0;
  if (dtype === 'f16') {
    const halves = Uint16Array.from(planar, (value) => {
      if (Math.abs(value) > LARGEST_HALF) clipped++;
      return halfOf(value);
    });
    return { bytes: bytesOf(halves), clipped };
  }
  const [low, high] = range as readonly [number, number];
  const quantised = Uint16Array.from(planar, (value) => {
    if (value < low || value > high) clipped++;
    return Math.round(((Math.min(Math.max(value, low), high) - low) / (high - low)) * STEPS);
  });
  return { bytes: bytesOf(quantised), clipped };
}

/** Decodes one stored image [C, H, W] to f32 [H, W, C]. */
export function decodeEnd(
  bytes: Uint8Array,
  { shape, dtype, range }: Pick<PairPlan, 'shape' | 'dtype' | 'range'>,
): Float32Array {
  const [c, h, w] = shape;
  const size = c * h * w;
  if (dtype === 'f32') return channelsLast(new Float32Array(bytes.buffer, bytes.byteOffset, size), [1, h, w, c]);
  if (dtype === 'f16') {
    const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, size);
    return channelsLast(toFloat32({ shape: [size], dtype, data: halves }), [1, h, w, c]);
  }
  const [low, high] = range as readonly [number, number];
  const step = (high - low) / STEPS;
  const quantised = new Uint16Array(bytes.buffer, bytes.byteOffset, size);
  const values = new Float32Array(size);
  // A plain loop: from() with a callback takes longer than reading the file.
  for (let i = 0; i < size; i++) values[i] = low + quantised[i] * step;
  return channelsLast(values, [1, h, w, c]);
}

const floats = new Float32Array(1);
const patterns = new Uint32Array(floats.buffer);

/** The nearest f16 of a finite number, the even one of two that are equally near, as its 16 bits; at most 65504. */
export function halfOf(value: number): number {
  floats[0] = Math.min(Math.max(value, -LARGEST_HALF), LARGEST_HALF);
  const sign = (patterns[0] >>> 16) & 0x8000;
  const magnitude = patterns[0] & 0x7fffffff;
  // Below 2^-14, f16 are the multiples of 2^-24.
  if (magnitude < 0x38800000) {
    const multiple = Math.abs(floats[0]) * 2 ** 24;
    const down = Math.floor(multiple);
    const up = multiple - down > 0.5 || (multiple - down === 0.5 && down % 2 === 1);
    return sign | (up ? down + 1 : down);
  }
  const rebiased = magnitude - 0x38000000;
  return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
}

/** Draws z0 of pair `index`, f32 [H, W, C], bit-identical to the start of the solver on its device. */
export function drawStart(index: number, { seed, stream, scale }: NoiseLaw, shape: PairShape): Float32Array {
  const values = new Float32Array(shape[0] * shape[1] * shape[2]);
  fillNormals(values, seed, index, stream);
  if (scale !== 1) {
    const factor = Math.fround(scale);
    for (let i = 0; i < values.length; i++) values[i] *= factor;
  }
  return values;
}
