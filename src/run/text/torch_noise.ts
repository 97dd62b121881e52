// The normal numbers of PyTorch's generator on the CPU, so that a seed gives the noise that Python programs get.
//
// MT19937 (Matsumoto, Nishimura 1998); uniforms of 24 bits; Box-Muller over blocks of 16: the first eight numbers of a block
// are radii, the next eight angles. If 16 does not divide the count, the last 16 numbers are drawn anew. Fewer than
// 16 numbers come from uniforms of 53 bits, two normals from two uniforms.
// Source: numbers of torch 2.13, which are met to the bit for 16 numbers and more.
import { checkArgument, resultArray, wholeFrom } from '../../arguments.ts';
import { logarithm, sineAndCosine } from './cephes.ts';

const { fround } = Math;
const SIZE = 624;
const SHIFT = 397;

class MersenneTwister {
  private readonly state = new Uint32Array(SIZE);
  private next = SIZE;

  constructor(seed: number) {
    this.state[0] = seed;
    for (let i = 1; i < SIZE; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
  }

  /** 32 random bits. */
  bits(): number {
    if (this.next === SIZE) this.twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < SIZE; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + SHIFT) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  /** A multiple of 2^-24 in [0, 1). */
  single(): number {
    return (this.bits() & 0xffffff) / 2 ** 24;
  }

  /** A multiple of 2^-53 in [0, 1). The first 32 bits drawn are the upper ones. */
  double(): number {
    const high = this.bits();
    const low = this.bits();
    return ((high & 0x1fffff) * 2 ** 32 + low) / 2 ** 53;
  }
}

/** Seeds are taken modulo 2^32 by the generator. */
const seedKind = wholeFrom(0, Number.MAX_SAFE_INTEGER);
/** Half a gigabyte of numbers. */
const countKind = wholeFrom(0, 2 ** 27);
const BLOCK = 16;

/**
 * The numbers of `torch.randn(count)` after `torch.manual_seed(seed)`, on the CPU, on a processor with AVX2. Numbers that
 * PyTorch draws in f16 are these, rounded.
 * @param count how many; a tensor of any shape has as many in row-major order
 * @throws ArgumentError
 * @example torchRandn(0, 16)[0]; // -1.1258
 */
export function torchRandn(seed: number, count: number): Float32Array {
  checkArgument('torchRandn', 'seed', seed, seedKind);
  checkArgument('torchRandn', 'count', count, countKind);
  const generator = new MersenneTwister(seed % 2 ** 32);
  const values = resultArray('torchRandn', count);
  if (count < BLOCK) {
    for (let i = 0; i < count; i += 2) {
      const angle = 2 * Math.PI * generator.double();
      const radius = Math.sqrt(-2 * Math.log1p(-generator.double()));
      values[i] = radius * Math.cos(angle);
      if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
    }
    return values;
  }
  for (let i = 0; i < count; i++) values[i] = generator.single();
  for (let i = 0; i + BLOCK <= count; i += BLOCK) toNormal(values.subarray(i, i + BLOCK));
  if (count % BLOCK === 0) return values;
  const last = values.subarray(count - BLOCK);
  for (let i = 0; i < BLOCK; i++) last[i] = generator.single();
  toNormal(last);
  return values;
}

const WHOLE_TURN = fround(2 * Math.PI);

/** Turns 16 uniform numbers into normal ones. PyTorch computes in float32, so each step is rounded. */
function toNormal(block: Float32Array): void {
  for (let i = 0; i < BLOCK / 2; i++) {
    const radius = fround(Math.sqrt(fround(-2 * logarithm(fround(1 - block[i])))));
    const [sine, cosine] = sineAndCosine(fround(WHOLE_TURN * block[i + BLOCK / 2]));
    block[i] = radius * cosine;
    block[i + BLOCK / 2] = radius * sine;
  }
}
