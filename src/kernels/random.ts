// Counter-based random tensors: the value of element e of sample i depends on (seed, stream, i, e) alone, not on the
// batch, the device or the number of threads. The first axis of a tensor counts samples.
import {
  checkArgument,
  checkOptions,
  describeValue,
  instanceOf,
  isWhole,
  kinds,
  type OptionKinds,
} from '../arguments.ts';
import { deviceKind } from '../device/device.ts';
import { kernelModule } from '../device/module.ts';
import { NotDifferentiableError, ValueError } from '../errors.ts';
import { allocate, type TensorOptions } from '../tensor/allocate.ts';
import { Counter, wordsOf } from '../tensor/counter.ts';
import type { Dtype } from '../tensor/dtype.ts';
import { shuffledNumbers } from '../tensor/philox.ts';
import { checkShape, type Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { readBack } from './inner/read_back.ts';
import { perElement } from './launch/grid.ts';
import { kernelsFor, storageModules } from './launch/storage.ts';
import { apply, checkActivations, declareOp } from './op.ts';

const GENERATE = 'ptr i32 i32 ptr i32 i32 i32 i32 i32';

const signatures = {
  random_normal: GENERATE,
  random_uniform: GENERATE,
  random_exponential: `${GENERATE} f32`,
  random_truncated: `${GENERATE} f32 f32`,
  random_integer: `${GENERATE} i32 i32`,
  random_dropout: 'ptr ptr i32 i32 ptr i32 i32 i32 i32 i32 i32 f32',
};

/** Fused multiply-add is off on every device, so that a seed gives the same bits everywhere. */
const randomKernels = kernelModule('kernels/random.c', signatures, { flags: ['-ffp-contract=off'] });
const cudaKernels = storageModules('kernels/random.cu', signatures, { flags: ['--fmad=false'] });

/** CUDA threads for samples of `width` elements; each draws one block of the generator. */
const threadsFor = (samples: number, width: number, elements: number) =>
  perElement(samples * Math.ceil(width / elements));

export interface DrawOptions {
  /** A whole number from 0 to 2^53. */
  seed: number;
  /** Index of the first sample of the batch: sample i of the tensor is sample `first + i` of the run. Default 0. */
  first?: number;
  /**
   * A counter in device memory, added to `first`, so that each replay of a recorded graph draws new numbers; default 0.
   * @internal
   */
  origin?: Counter;
  /** Distinct for each use of one seed; default 0. */
  stream?: number;
}

export const drawOptions: OptionKinds<DrawOptions> = {
  seed: kinds.number,
  first: kinds.number,
  origin: instanceOf(Counter, 'a Counter'),
  stream: kinds.number,
};

/** Options of a function that makes a tensor of random f32 numbers. */
export interface RandomOptions extends DrawOptions, Pick<TensorOptions, 'device' | 'requiresGrad'> {}

export const randomOptions: OptionKinds<RandomOptions> = {
  ...drawOptions,
  device: deviceKind,
  requiresGrad: kinds.boolean,
};

/** The address of the origin, then seed, first sample and stream as the 32-bit words that kernels take. */
function drawWords(op: string, { seed, first = 0, origin, stream = 0 }: DrawOptions): number[] {
  for (const [name, value, most] of [
    ['seed', seed, 2 ** 53],
    ['first', first, 2 ** 53],
    ['stream', stream, 2 ** 32],
  ] as const)
    if (!isWhole(value, 0, most - 1))
      throw new ValueError(
        `[${op}] expected ${name} to be a whole number from 0 to 2^${Math.log2(most)}, got ${describeValue(value)}`,
      );
  return [origin?.address ?? 0, ...wordsOf(seed), ...wordsOf(first), stream | 0];
}

type Generator = Exclude<keyof typeof signatures, 'random_dropout'>;

/** A tensor of random numbers. @param numbers the further arguments of the kernel */
function generate(
  op: string,
  kernel: Generator,
  shape: Shape,
  { requiresGrad = false, device: asked, ...draw }: RandomOptions,
  { dtype, numbers = [] }: { dtype?: Dtype; numbers?: readonly number[] } = {},
): Tensor {
  const words = drawWords(op, draw);
  const y = allocate(checkShape(op, shape), { device: asked, dtype });
  const samples = y.shape[0] ?? 1;
  const { device, size } = y;
  const width = size / samples;
  const operands = [y.address, samples, width, ...words, ...numbers];
  if (size > 0 && device.kind === 'cuda')
    device.load(cudaKernels.f32)[kernel](threadsFor(samples, width, 4), ...operands);
  else if (size > 0) device.load(randomKernels)[kernel](...operands);
  y.requiresGrad = requiresGrad;
  return y;
}

/**
 * Standard normal numbers, with the same bits on every device and in every version.
 * @example randn([3], { seed: 1 }); // [0.3804, 0.7686, 0.3949]
 */
export function randn(shape: Shape, options: RandomOptions): Tensor {
  return generate('randn', 'random_normal', shape, checkOptions('randn', options, randomOptions, ['seed']));
}

/**
 * Uniform numbers in [0, 1), multiples of 2^-24, with the same bits on every device and in every version.
 * @example uniform([3], { seed: 1 }); // [0.8903, 0.5127, 0.8993]
 */
export function uniform(shape: Shape, options: RandomOptions): Tensor {
  return generate('uniform', 'random_uniform', shape, checkOptions('uniform', options, randomOptions, ['seed']));
}

export interface ExponentialOptions extends RandomOptions {
  /** The density of x is rate e^(-rate x), and its mean 1 / rate; default 1. */
  rate?: number;
}

/**
 * Exponential numbers > 0, -log(u) / rate with u an odd multiple of 2^-24, with the same bits on every device and in
 * every version. -log of them are Gumbel numbers.
 * @throws ArgumentError for a rate that is not positive
 * @example exponential([3], { seed: 1, rate: 2 }); // [0.05812, 0.334, 0.05309]
 */
export function exponential(shape: Shape, options: ExponentialOptions): Tensor {
  const { rate = 1, ...rest } = checkOptions<ExponentialOptions>(
    'exponential',
    options,
    { ...randomOptions, rate: kinds.positive },
    ['seed'],
  );
  return generate('exponential', 'random_exponential', shape, rest, { numbers: [1 / rate] });
}

export interface TruncatedNormalOptions extends RandomOptions {
  /** The smallest number; default -2, at most 0. */
  low?: number;
  /** The largest number; default 2, at least 0. */
  high?: number;
}

/**
 * Normal numbers of mean 0 and deviation 1, without those outside [low, high], with the same bits on every device and in
 * every version. As in TensorFlow, numbers outside are drawn again; multiply and add for another mean and deviation.
 * @throws ValueError unless low <= 0 <= high and high - low >= 0.5: in a tail most numbers would be drawn in vain
 * @example
 * truncatedNormal([4], { seed: 2 }); // [-1.307, 0.7156, 0.8823, -1.364]
 * mul(truncatedNormal([256, 256], { seed: 1 }), 0.02).shape; // [256, 256]
 */
export function truncatedNormal(shape: Shape, options: TruncatedNormalOptions): Tensor {
  const {
    low = -2,
    high = 2,
    ...rest
  } = checkOptions<TruncatedNormalOptions>(
    'truncatedNormal',
    options,
    { ...randomOptions, low: kinds.number, high: kinds.number },
    ['seed'],
  );
  if (!(low <= 0 && high >= 0 && high - low >= 0.5))
    throw new ValueError(
      `[truncatedNormal] expected low <= 0 <= high, at least 0.5 apart, got low ${low} and high ${high}`,
    );
  return generate('truncatedNormal', 'random_truncated', shape, rest, { numbers: [low, high] });
}

/** Options of a function that makes a tensor of random whole numbers. */
export interface RandomIntegerOptions extends DrawOptions, Pick<TensorOptions, 'device'> {}

/**
 * Whole numbers (i32) from `low`, included, to `high`, excluded, all equally likely, with the same bits on every device
 * and in every version.
 * @param low from -2^31
 * @param high at most 2^31
 * @throws ValueError unless low < high are whole numbers in that range
 * @example randint(0, 10, [5], { seed: 1 }); // [8, 5, 8, 9, 7]
 */
export function randint(low: number, high: number, shape: Shape, options: RandomIntegerOptions): Tensor {
  for (const [name, value] of Object.entries({ low, high })) checkArgument('randint', name, value, kinds.integer);
  if (!(low >= -(2 ** 31) && low < high && high <= 2 ** 31))
    throw new ValueError(`[randint] expected low < high from -2^31 to 2^31, got low ${low} and high ${high}`);
  const known = { ...drawOptions, device: deviceKind };
  const checked = checkOptions<RandomIntegerOptions>('randint', options, known, ['seed']);
  // A range of 2^32 is passed as 0.
  return generate('randint', 'random_integer', shape, checked, { dtype: 'i32', numbers: [low, (high - low) | 0] });
}

export interface PermutationOptions
  extends Pick<DrawOptions, 'seed' | 'first' | 'stream'>,
    Pick<TensorOptions, 'device'> {}

/**
 * The whole numbers 0 to n - 1 (i32) in a random order, all orders equally likely, with the same bits on every device and
 * in every version. It is computed on the host and uploaded, so it cannot be part of a recorded step.
 * @param options.first numbers the permutations of a seed, such as by epoch; default 0
 * @returns [n]
 * @example
 * permutation(5, { seed: 1 }); // [0, 4, 1, 2, 3]
 * permutation(5, { seed: 1, first: 1 }); // [1, 2, 3, 0, 4]
 */
export function permutation(n: number, options: PermutationOptions): Tensor {
  checkArgument('permutation', 'n', n, kinds.whole);
  const known = { seed: kinds.number, first: kinds.number, stream: kinds.number, device: deviceKind };
  const { device, ...draw } = checkOptions<PermutationOptions>('permutation', options, known, ['seed']);
  drawWords('permutation', draw);
  const y = allocate(checkShape('permutation', [n]), { device, dtype: 'i32' });
  readBack('permutation', 'the host computes its numbers', () => y.device.upload(y.address, shuffledNumbers(n, draw)));
  return y;
}

/**
 * A dropout mask. Elements are dropped with probability p, rounded to a multiple of 2^-16; the others are scaled by
 * 1 / (1 - p), with the p that was given.
 */
export interface DropoutOptions extends DrawOptions {
  /** The probability with which an element is zeroed, in [0, 1). */
  p: number;
}

/** A mask that backward draws again, with the number of writes of its origin when forward drew it. */
export interface DrawnMask extends DropoutOptions {
  originWrites: number | undefined;
}

/** The mask as the graph saves it. */
export function drawnMask(options: DropoutOptions): DrawnMask {
  return { ...options, originWrites: options.origin?.writes };
}

/** The options that draw a mask again. */
export function drawOf({ seed, first, origin, stream }: DrawnMask): DrawOptions {
  return { seed, first, origin, stream };
}

/** @throws NotDifferentiableError if the origin was set after the op ran: backward would draw another mask */
export function assertSameMask(op: string, { origin, originWrites }: DrawnMask): void {
  if (origin?.writes !== originWrites)
    throw new NotDifferentiableError(
      `[${op}] backward() needs the origin of its dropout mask unchanged, but it was set after the op ran`,
    );
}

/** @throws ArgumentError for an unknown option */
export function checkDropout(op: string, options: DropoutOptions): DropoutOptions {
  return checkOptions<DropoutOptions>(op, options, { ...drawOptions, p: kinds.number }, ['p', 'seed']);
}

/** Kernel arguments of a mask. @throws ValueError unless 0 <= p < 1 */
export function dropoutWords(op: string, options: DropoutOptions): number[] {
  const { p } = options;
  if (!(p >= 0 && p < 1)) throw new ValueError(`[${op}] expected a dropout probability in [0, 1), got ${p}`);
  return [...drawWords(op, options), Math.min(Math.round(p * 65536), 65535), 1 / (1 - p)];
}

/** The keys of the ten rounds of Philox, two each: those of the seed, to which each round adds two constants. */
export function roundKeys(low: number, high: number): number[] {
  const keys = (round: number) => [low + round * 0x9e3779b9, high + round * 0xbb67ae85].map((key) => key % 2 ** 32);
  return Array.from({ length: 10 }, (_, round) => keys(round)).flat();
}

function applyMask(x: Tensor, options: DropoutOptions): Tensor {
  const words = dropoutWords('dropout', options);
  const { device, dtype, size } = x;
  const y = allocate(x.shape, { device, dtype });
  const samples = x.shape[0] ?? 1;
  if (size === 0) return y;
  const operands = [x.address, y.address, samples, size / samples, ...words];
  if (device.kind === 'cuda')
    kernelsFor(cudaKernels, device, dtype).random_dropout(threadsFor(samples, size / samples, 8), ...operands);
  else device.load(randomKernels).random_dropout(...operands);
  return y;
}

export const dropoutOp = declareOp<DrawnMask>({
  name: 'dropout',
  cpu: randomKernels,
  cuda: cudaKernels,
  backward({ grad, attributes: mask }) {
    assertSameMask('dropout', mask);
    return [applyMask(grad, mask)];
  },
  tangent: ({ tangents: [t], attributes: mask }) => dropout(t as Tensor, mask.p, drawOf(mask)),
});

/**
 * Zeroes elements with probability p, rounded to a multiple of 2^-16, and scales the others by 1 / (1 - p). The mask is a
 * function of seed, stream, number of the sample (position on the first axis, counted from `first`) and element; backward draws it
 * again.
 * @param x f32, or on CUDA bf16
 * @param p in [0, 1)
 * @throws ValueError for another p
 * @example dropout(ones([8]), 0.5, { seed: 1 }); // [0, 2, 2, 2, 2, 0, 2, 0]
 */
export function dropout(x: Tensor, p: number, options: DrawOptions): Tensor {
  checkActivations('dropout', [x]);
  checkArgument('dropout', 'p', p, kinds.number);
  const attributes = drawnMask({ ...checkOptions('dropout', options, drawOptions, ['seed']), p });
  return apply(dropoutOp, applyMask(x, attributes), { parents: [x], attributes });
}
