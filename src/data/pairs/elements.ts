// The stored form of pairs: images with channels first, as f32 or as 16 bits over a fixed range; and the redrawing of
// z0.
//
// q = round((clip(z, low, high) - low) / (high - low) * 65535), z = low + q (high - low) / 65535
//
// Over [-4, 4] the error is at most 6.1e-5: a 128th of an 8-bit pixel step, and below the error of RK45 at tolerance
// 1e-5.
import { checkArgument, kinds } from '../../arguments.ts';
import { NonFiniteError } from '../../errors.ts';
import { bytesOf } from '../../io/array.ts';
import { fillNormals } from '../../tensor/philox.ts';
import { channelsFirst, channelsLast } from '../layout.ts';
import type { NoiseLaw, PairPlan, PairShape } from './manifest.ts';

const STEPS = 65535;

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
  const [low, high] = range as readonly [number, number];
  let clipped = 0;
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
  const [low, high] = range as readonly [number, number];
  const step = (high - low) / STEPS;
  const quantised = new Uint16Array(bytes.buffer, bytes.byteOffset, size);
  const values = new Float32Array(size);
  // A plain loop: from() with a callback takes longer than reading the file.
  for (let i = 0; i < size; i++) values[i] = low + quantised[i] * step;
  return channelsLast(values, [1, h, w, c]);
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
