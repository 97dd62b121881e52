// Random tensors by counter: the value of element e of sample i depends on (seed, stream, i, e) alone, not on the batch,
// the device or the number of threads. The first axis of a tensor counts samples.
import { kernelModule } from '../device/module.ts';
import { ValueError } from '../errors.ts';
import { empty, type TensorOptions } from '../tensor/create.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { apply, checkOperands, defineOp } from './op.ts';

const GENERATE = 'ptr i32 i32 i32 i32 i32 i32 i32';

export const randomKernels = kernelModule(
  import.meta.url,
  './random.c',
  {
    random_normal: GENERATE,
    random_uniform: GENERATE,
    random_dropout: 'ptr ptr i32 i32 i32 i32 i32 i32 i32 i32 f32',
  },
  { flags: ['-ffp-contract=off'] },
);

export interface DrawOptions {
  /** A whole number from 0 to 2^53. */
  seed: number;
  /** Number of the first sample in the run; default 0. */
  sample?: number;
  /** Distinct for each use of one seed; default 0. */
  stream?: number;
}

/** Seed, sample and stream as the 32-bit words that kernels take. */
export function drawWords(
  op: string,
  { seed, sample = 0, stream = 0 }: DrawOptions,
): [number, number, number, number, number] {
  for (const [name, value, most] of [
    ['seed', seed, 2 ** 53],
    ['sample', sample, 2 ** 53],
    ['stream', stream, 2 ** 32],
  ] as const)
    if (!Number.isInteger(value) || value < 0 || value >= most)
      throw new ValueError(
        `[${op}] expected a ${name} that is a whole number from 0 to 2^${Math.log2(most)}, got ${value}`,
      );
  const high = (value: number) => Math.floor(value / 2 ** 32) | 0;
  return [seed | 0, high(seed), sample | 0, high(sample), stream | 0];
}

function generate(
  kernel: 'random_normal' | 'random_uniform',
  shape: Shape,
  options: DrawOptions & TensorOptions,
): Tensor {
  const words = drawWords(kernel.slice(7), options);
  const y = empty(shape, { device: options.device });
  const samples = shape[0] ?? 1;
  if (y.size > 0) y.device.load(randomKernels)[kernel](y.address, samples, sizeOf(shape) / samples, ...words);
  y.requiresGrad = options.requiresGrad ?? false;
  return y;
}

/** Standard normal numbers, with the same bits on every device. */
export function randn(shape: Shape, options: DrawOptions & Pick<TensorOptions, 'device' | 'requiresGrad'>): Tensor {
  return generate('random_normal', shape, options);
}

/** Uniform numbers in [0, 1), multiples of 2^-24. */
export function uniform(shape: Shape, options: DrawOptions & Pick<TensorOptions, 'device' | 'requiresGrad'>): Tensor {
  return generate('random_uniform', shape, options);
}

/** A mask of dropout: p in steps of 2^-16. */
export interface DropoutOptions extends DrawOptions {
  p: number;
}

/** Kernel arguments of a mask. @throws ValueError unless 0 <= p < 1 */
export function dropoutWords(op: string, options: DropoutOptions): [...number[]] {
  const { p } = options;
  if (!(p >= 0 && p < 1)) throw new ValueError(`[${op}] expected a dropout probability in [0, 1), got ${p}`);
  return [...drawWords(op, options), Math.min(Math.round(p * 65536), 65535), 1 / (1 - p)];
}

function masked(x: Tensor, words: readonly number[]): Tensor {
  const y = empty(x.shape, { device: x.device });
  const samples = x.shape[0] ?? 1;
  if (x.size > 0)
    x.device.load(randomKernels).random_dropout(x.address, y.address, samples, x.size / samples, ...words);
  return y;
}

export const dropoutOp = defineOp<readonly number[]>({
  name: 'dropout',
  cpu: randomKernels,
  cuda: 'absent',
  backward: ({ grad, attributes: words }) => [masked(grad, words)],
});

/** Zeroes elements with probability p and scales the others by 1 / (1 - p). */
export function dropout(x: Tensor, p: number, options: DrawOptions): Tensor {
  checkOperands('dropout', [x]);
  const words = dropoutWords('dropout', { p, ...options });
  return apply(dropoutOp, masked(x, words), { parents: [x], attributes: words });
}
