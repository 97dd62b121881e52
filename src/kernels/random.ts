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
import { checkShape, type Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { perElement } from './launch/grid.ts';
import { kernelsFor, storageModules } from './launch/storage.ts';
import { apply, checkActivations, defineOp } from './op.ts';

const GENERATE = 'ptr i32 i32 ptr i32 i32 i32 i32 i32';

const signatures = {
  random_normal: GENERATE,
  random_uniform: GENERATE,
  random_dropout: 'ptr ptr i32 i32 ptr i32 i32 i32 i32 i32 i32 f32',
};

/** Fused multiply-add is off on every device, so that a seed gives the same bits everywhere. */
const randomKernels = kernelModule('kernels/random.c', signatures, { flags: ['-ffp-contract=off'] });
const cudaKernels = storageModules('kernels/random.cu', signatures, { flags: ['--fmad=false'] });

/** Elements of a sample that one CUDA thread draws: one block of the generator. */
const BLOCK = { random_normal: 4, random_uniform: 4, random_dropout: 8 };

/** CUDA threads for samples of `width` elements. */
const threadsFor = (kernel: keyof typeof BLOCK, samples: number, width: number) =>
  perElement(samples * Math.ceil(width / BLOCK[kernel]));

export interface DrawOptions {
  /** A whole number from 0 to 2^53. */
  seed: number;
  /** Index of the first sample of the batch: sample i of the tensor is sample `first + i` of the run. Default 0. */
  first?: number;
  /**
   * A counter in device memory, added to `first`, so that each replay of a recorded graph draws new numbers; default 0.
   */
  origin?: Counter;
  /** Distinct for each use of one seed; default 0. */
  stream?: number;
}

const drawOptions: OptionKinds<DrawOptions> = {
  seed: kinds.number,
  first: kinds.number,
  origin: instanceOf(Counter, 'a Counter'),
  stream: kinds.number,
};

type NewTensorOptions = Pick<TensorOptions, 'device' | 'requiresGrad'>;

const newTensorOptions: OptionKinds<DrawOptions & NewTensorOptions> = {
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

function generate(
  op: string,
  kernel: 'random_normal' | 'random_uniform',
  shape: Shape,
  given: DrawOptions & NewTensorOptions,
): Tensor {
  const options = checkOptions<DrawOptions & NewTensorOptions>(op, given, newTensorOptions, ['seed']);
  const words = drawWords(op, options);
  const y = allocate(checkShape(op, shape), { device: options.device });
  const samples = y.shape[0] ?? 1;
  const { device, size } = y;
  const operands = [y.address, samples, size / samples, ...words];
  if (size > 0 && device.kind === 'cuda')
    device.load(cudaKernels.f32)[kernel](threadsFor(kernel, samples, size / samples), ...operands);
  else if (size > 0) device.load(randomKernels)[kernel](...operands);
  y.requiresGrad = options.requiresGrad ?? false;
  return y;
}

/** Standard normal numbers, with the same bits on every device. */
export function randn(shape: Shape, options: DrawOptions & NewTensorOptions): Tensor {
  return generate('randn', 'random_normal', shape, options);
}

/** Uniform numbers in [0, 1), multiples of 2^-24. */
export function uniform(shape: Shape, options: DrawOptions & NewTensorOptions): Tensor {
  return generate('uniform', 'random_uniform', shape, options);
}

/**
 * A dropout mask. Elements are dropped with probability p, rounded to a multiple of 2^-16; the others are scaled by
 * 1 / (1 - p), with the p that was given.
 */
export interface DropoutOptions extends DrawOptions {
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

function applyMask(x: Tensor, options: DropoutOptions): Tensor {
  const words = dropoutWords('dropout', options);
  const { device, dtype, size } = x;
  const y = allocate(x.shape, { device, dtype });
  const samples = x.shape[0] ?? 1;
  if (size === 0) return y;
  const operands = [x.address, y.address, samples, size / samples, ...words];
  if (device.kind === 'cuda')
    kernelsFor(cudaKernels, device, dtype).random_dropout(
      threadsFor('random_dropout', samples, size / samples),
      ...operands,
    );
  else device.load(randomKernels).random_dropout(...operands);
  return y;
}

export const dropoutOp = defineOp<DrawnMask>({
  name: 'dropout',
  cpu: randomKernels,
  cuda: cudaKernels,
  backward({ grad, attributes: mask }) {
    assertSameMask('dropout', mask);
    return [applyMask(grad, mask)];
  },
  tangent: ({ tangents: [t], attributes: mask }) => dropout(t as Tensor, mask.p, drawOf(mask)),
});

/** Zeroes elements with probability p and scales the others by 1 / (1 - p). Backward draws the mask again. */
export function dropout(x: Tensor, p: number, options: DrawOptions): Tensor {
  checkActivations('dropout', [x]);
  checkArgument('dropout', 'p', p, kinds.number);
  const attributes = drawnMask({ ...checkOptions('dropout', options, drawOptions, ['seed']), p });
  return apply(dropoutOp, applyMask(x, attributes), { parents: [x], attributes });
}
