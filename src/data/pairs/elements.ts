// Ends of pairs as they are stored: images with channels first, as f32 or as 16 bits over a fixed range; and z0 drawn again.
//
// q = round((clip(z, low, high) - low) / (high - low) * 65535), z = low + q (high - low) / 65535
//
// Over [-4, 4] an error of at most 6.1e-5: a 128th of a step of 8-bit pixels, and below what RK45 at 1e-5 leaves open.
import { checkArgument, kinds } from '../../arguments.ts';
import { NonFiniteError } from '../../errors.ts';
import { bytesOf } from '../../io/array.ts';
import { fillNormals } from '../../tensor/philox.ts';
import { channelsFirst, channelsLast } from '../layout.ts';
import type { NoiseLaw, PairPlan, PairShape } from './manifest.ts';

const STEPS = 65535;

/** What pairs of network range [-1, 1] or [0, 1] are quantised over: the ends of an ODE go beyond it, with a young flow far. */
export function quantisedRange(centered: boolean): [low: number, high: number] {
  checkArgument('quantisedRange', 'centered', centered, kinds.boolean);
  return centered ? [-4, 4] : [-1.5, 2.5];
}

export function elementBytes(dtype: PairPlan['dtype']): number {
  return dtype === 'f32' ? 4 : 2;
}

/**
 * f32 [n, H, W, C] as the bytes of [n, C, H, W].
 * @param first number of the first of them, for the error
 * @throws NonFiniteError naming the pair
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

/** The bytes of one stored image [C, H, W] as f32 [H, W, C]. */
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
  // A loop: from() with a function takes longer than the read.
  for (let i = 0; i < size; i++) values[i] = low + quantised[i] * step;
  return channelsLast(values, [1, h, w, c]);
}

/** z0 of pair `index`, f32 [H, W, C], with the bits that the solver started from on its device. */
export function drawStart(index: number, { seed, stream, scale }: NoiseLaw, shape: PairShape): Float32Array {
  const values = new Float32Array(shape[0] * shape[1] * shape[2]);
  fillNormals(values, seed, index, stream);
  if (scale !== 1) {
    const factor = Math.fround(scale);
    for (let i = 0; i < values.length; i++) values[i] *= factor;
  }
  return values;
}
