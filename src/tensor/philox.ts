// The random numbers of kernels/include/philox.h and kernels/random.c on the host, bit for bit: for data order and
// point sets, and as the reference that every device is tested against.
import { hostArray } from '../arguments.ts';

/** 128 bits of Philox4x32-10 (Salmon et al., SC 2011). @returns four u32 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  philoxInto(block, counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
  return [block[0], block[1], block[2], block[3]];
}

const block = new Uint32Array(4);

/** What a number depends on, as in DrawOptions. */
export interface HostDraw {
  seed: number;
  /** The number of the sample. */
  first?: number;
  stream?: number;
}

/** Allocates nothing, because fillNormals calls it once per four numbers. */
function philoxInto(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  key0: number,
  key1: number,
): void {
  let k0 = key0;
  let k1 = key1;
  for (let round = 0; round < 10; round++) {
    const highA = multiplyHigh(c0, 0xd2511f53);
    const lowA = Math.imul(c0, 0xd2511f53);
    const highB = multiplyHigh(c2, 0xcd9e8d57);
    const lowB = Math.imul(c2, 0xcd9e8d57);
    c0 = highB ^ c1 ^ k0;
    c1 = lowB;
    c2 = highA ^ c3 ^ k1;
    c3 = lowA;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** Upper 32 bits of the product of two u32. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) | 0;
}

const f = Math.fround;

/** Four standard normals of one block, with the bits of the kernel random_normal. */
export function normalBlock(words: readonly number[]): Float32Array {
  const out = new Float32Array(4);
  normalPair(words[0], words[1], out, 0);
  normalPair(words[2], words[3], out, 2);
  return out;
}

/**
 * The standard normals of one sample, with the bits of randn on any device.
 * @param out f32, one sample
 * @param sample its number in the run, below 2^53
 */
export function fillNormals(out: Float32Array, seed: number, sample: number, stream: number): void {
  const [low, high] = [sample | 0, Math.floor(sample / 2 ** 32) | 0];
  const [k0, k1] = [seed | 0, Math.floor(seed / 2 ** 32) | 0];
  for (let i = 0; i < out.length; i += 4) {
    philoxInto(block, i >> 2, low, high, stream, k0, k1);
    // What lies beyond the end of `out` is not stored.
    normalPair(block[0], block[1], out, i);
    normalPair(block[2], block[3], out, i + 2);
  }
}

/** Attempts at a number that may be rejected; see generator.h. */
const ATTEMPTS = 2 ** 11;

/**
 * Element i of the sample as a whole number in [0, range), with the bits of randint.
 * @param range up to 2^32
 */
export function wholeBelow(range: number, i: number, { seed, first: sample = 0, stream = 0 }: HostDraw): number {
  const [low, high] = [sample | 0, Math.floor(sample / 2 ** 32) | 0];
  const [k0, k1] = [seed | 0, Math.floor(seed / 2 ** 32) | 0];
  const rest = (2 ** 32 - range) % range;
  let word = 0;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    philoxInto(block, i >> 2, low, high, stream, k0, k1 | (attempt << 21));
    word = block[i & 3];
    if (range === 2 ** 32 || Math.imul(range, word) >>> 0 >= rest) break;
  }
  return range === 2 ** 32 ? word : multiplyHigh(range, word) >>> 0;
}

/** The numbers 0 to n - 1 in a random order: the shuffle of Fisher and Yates, with wholeBelow(i + 1, i) for place i. */
export function shuffledNumbers(n: number, draw: HostDraw): Int32Array {
  const order = hostArray('permutation', Int32Array, n);
  for (let i = 0; i < n; i++) order[i] = i;
  for (let i = n - 1; i > 0; i--) {
    const other = wholeBelow(i + 1, i, draw);
    [order[i], order[other]] = [order[other], order[i]];
  }
  return order;
}

function normalPair(a: number, b: number, out: Float32Array, at: number): void {
  const u = f(((a >>> 8) + 1) * 2 ** -24);
  const radius = f(Math.sqrt(f(-2 * unitLog(u))));
  const turn = f((b >>> 8) * 2 ** -22);
  const quadrant = Math.trunc(f(turn + 0.5));
  const r = f(turn - quadrant);
  const z = f(r * r);
  let s = f(1.6044118e-4);
  s = f(f(s * z) - f(4.6817541e-3));
  s = f(f(s * z) + f(7.9692626e-2));
  s = f(f(s * z) - f(6.4596409e-1));
  s = f(f(s * z) + f(1.5707963));
  s = f(s * r);
  let c = f(-2.5202e-5);
  c = f(f(c * z) + f(9.1926027e-4));
  c = f(f(c * z) - f(2.0863481e-2));
  c = f(f(c * z) + f(2.5366951e-1));
  c = f(f(c * z) - f(1.2337005));
  c = f(f(c * z) + 1);
  let sine = quadrant & 1 ? c : s;
  let cosine = quadrant & 1 ? s : c;
  if (quadrant & 2) sine = -sine;
  if ((quadrant + 1) & 2) cosine = -cosine;
  out[at] = f(radius * cosine);
  out[at + 1] = f(radius * sine);
}

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** log u for u in [2^-24, 1], by Cephes' polynomial, with each operation rounded to f32. */
function unitLog(u: number): number {
  float[0] = u;
  let e = (bits[0] >> 23) - 126;
  bits[0] = (bits[0] & 0x007fffff) | 0x3f000000;
  let m = float[0];
  if (m < f(0.70710678)) {
    e -= 1;
    m = f(m + m);
  }
  m = f(m - 1);
  const z = f(m * m);
  let p = f(7.0376836292e-2);
  p = f(f(p * m) - f(1.151461031e-1));
  p = f(f(p * m) + f(1.167699874e-1));
  p = f(f(p * m) - f(1.2420140846e-1));
  p = f(f(p * m) + f(1.4249322787e-1));
  p = f(f(p * m) - f(1.6668057665e-1));
  p = f(f(p * m) + f(2.0000714765e-1));
  p = f(f(p * m) - f(2.4999993993e-1));
  p = f(f(p * m) + f(3.3333331174e-1));
  let y = f(f(p * m) * z);
  y = f(y + f(e * f(-2.1219444e-4)));
  y = f(y - f(0.5 * z));
  return f(f(m + y) + f(e * f(0.693359375)));
}
