// The operands of checks: small whole numbers. Their products and sums are exact in f32 in any order, also on tensor cores, which
// truncate what they add, so a fast build of a product must give the bits of its twin. Checks are loaded by the files of the ops
// that they call, which hand these functions over.
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import type { CheckResult } from '../../device/fast_builds.ts';
import type { CudaModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { scope } from '../../tensor/scope.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Activation } from '../launch/storage.ts';

/** Numbers run from -LARGEST to LARGEST: a sum of 70,000 products of two of them is below 2^24. */
const LARGEST = 15;

/** Draws tensors of whole numbers, the same ones for the same seed. */
export class Draw {
  readonly device: Device;
  /** The dtype of activations. */
  readonly dtype: Activation;
  private state: number;

  constructor(device: Device, build: CudaModule, seed: number) {
    this.device = device;
    this.dtype = build.flags.includes('-DSTORAGE_BF16') ? 'bf16' : 'f32';
    // The generator has no way out of 0.
    this.state = seed || 1;
  }

  tensor(shape: Shape, dtype: Activation = this.dtype): Tensor {
    const made = allocate(shape, { device: this.device, dtype });
    const numbers = new Float32Array(sizeOf(shape));
    for (let i = 0; i < numbers.length; i++) numbers[i] = this.next();
    const words = new Uint32Array(numbers.buffer);
    // A small whole number in bf16 is the upper half of its f32.
    this.device.upload(made.address, dtype === 'f32' ? numbers : Uint16Array.from(words, (word) => word >>> 16));
    return made;
  }

  /** Marsaglia's xorshift (2003), which is fast; a check draws millions of numbers. */
  private next(): number {
    let word = this.state;
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    this.state = word;
    return ((word >>> 8) % (2 * LARGEST + 1)) - LARGEST;
  }
}

/** Runs a check untraced, and frees its tensors. */
export function inCheck(work: () => CheckResult[]): CheckResult[] {
  return noGrad(() => scope(work));
}

/** A result whose bits have to be those of the twin. */
export function exactly(what: string, t: Tensor): CheckResult {
  return { what: `${what} [${t.shape.join(', ')}]`, values: numbersOf(t), tolerance: 0 };
}

export function numbersOf(t: Tensor): Float32Array {
  const words = new Uint32Array(t.size);
  if (t.dtype === 'f32') {
    t.device.download(t.address, words);
  } else {
    const halves = new Uint16Array(t.size);
    t.device.download(t.address, halves);
    halves.forEach((half, i) => {
      words[i] = half << 16;
    });
  }
  return new Float32Array(words.buffer);
}
