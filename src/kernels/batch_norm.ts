// Batch normalisation (Ioffe and Szegedy 2015), with the statistics of the batch or with given ones.
import { checkOptions, kind, kinds, type OptionKinds } from '../arguments.ts';
import { jvp } from '../autograd/forward.ts';
import { kernelModule } from '../device/module.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { type Tensor, tensorKind } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { cast } from './cast.ts';
import { add, div, mul, sqrt, square, sub } from './elementwise.ts';
import { checkAffine } from './inner/affine.ts';
import { sumAxes } from './inner/reduction.ts';
import { perElement, perWarp } from './launch/grid.ts';
import { kernelsFor, storageModules } from './launch/storage.ts';
import { reshape } from './movement.ts';
import { apply, checkActivations, declareOp } from './op.ts';
import { mean as meanOf } from './reduce.ts';

export const batchNormKernels = kernelModule('kernels/batch_norm.c', {
  batch_norm_parts: 'i32 i32 -> count',
  batch_norm_statistics: 'ptr ptr ptr ptr ptr i32 i32 f32 f32',
  batch_norm_given: 'ptr ptr ptr i32 f32',
  batch_norm_forward: 'ptr ptr ptr ptr ptr i32 i32',
  batch_norm_sums: 'ptr ptr ptr ptr i32 i32',
  batch_norm_backward: 'ptr ptr ptr ptr ptr ptr i32 i32 i32',
});

export const batchNormCuda = storageModules('kernels/batch_norm.cu', {
  batch_norm_partial: 'ptr ptr i32 i32 i32 i32',
  batch_norm_join: 'ptr ptr ptr ptr i32 i32 i32 i32 f32 f32',
  batch_norm_given: 'ptr ptr ptr i32 f32',
  batch_norm_forward: 'ptr ptr ptr ptr ptr i32 i32',
  batch_norm_sums: 'ptr ptr ptr ptr i32 i32 i32 i32',
  batch_norm_backward: 'ptr ptr ptr ptr ptr ptr i32 i32 i32 i32',
});

/** Threads of CUDA that sum parts of the rows, if there are rows enough, and the least and the most rows of a part. */
const THREADS = 2 ** 16;
const LEAST_ROWS = 16;
const MOST_ROWS = 1024;

interface Rows {
  rows: number;
  channels: number;
  /** For CUDA: the rows that one thread sums, and how many such parts there are. */
  part: number;
  parts: number;
}

function rowsOf({ shape, rank, size }: Tensor): Rows {
  const channels = shape[rank - 1];
  const rows = channels === 0 ? 0 : size / channels;
  const part = Math.min(MOST_ROWS, Math.max(LEAST_ROWS, Math.ceil(size / THREADS)));
  return { rows, channels, part, parts: Math.ceil(rows / part) };
}

export interface BatchNormAttributes {
  training: boolean;
  eps: number;
}

/** Parents: x, weight, bias. Saved: x, the statistics [3, C], and the weight if there is one. */
export const batchNormOp = declareOp<BatchNormAttributes>({
  name: 'batchNorm',
  cpu: batchNormKernels,
  cuda: batchNormCuda,
  backward({ grad, saved: [x, stats, weight], attributes: { training }, needs }) {
    const { channels } = rowsOf(x);
    const sums = sumsOf(x, stats, grad);
    return [
      needs[0] ? gradientOf(x, stats, weight, grad, { sums, training }) : null,
      needs[1] ? view(sums, [channels]) : null,
      needs[2] ? view(sums, [channels], channels) : null,
    ];
  },
  tangent({ parents, tangents, saved: [, stats], attributes }) {
    const moving = parents.flatMap((_, i) => (tangents[i] ? [i] : []));
    const [, tangent] = jvp(
      (...given) => {
        const [x, weight, bias] = parents.map((t, i) => given[moving.indexOf(i)] ?? t);
        return inOps(x as Tensor, weight, bias, { ...attributes, stats });
      },
      moving.map((i) => parents[i] as Tensor),
      moving.map((i) => tangents[i] as Tensor),
    );
    return tangent;
  },
});

/** The whole op in ops without a fused kernel, for its tangent. */
function inOps(
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  { training, eps, stats }: BatchNormAttributes & { stats: Tensor },
): Tensor {
  const { rows, channels } = rowsOf(x);
  const flat = reshape(cast(x, 'f32'), [rows, channels]);
  let normal: Tensor;
  if (training) {
    const centred = sub(flat, meanOf(flat, { axes: 0 }));
    normal = div(centred, sqrt(add(meanOf(square(centred), { axes: 0 }), eps)));
  } else {
    const [mean, rstd] = [view(stats, [channels]), view(stats, [channels], channels)];
    normal = mul(sub(flat, mean), rstd);
  }
  const scaled = weight ? mul(normal, weight) : normal;
  return cast(reshape(bias ? add(scaled, bias) : scaled, x.shape), x.dtype);
}

/** The sums over rows of dy x^ and of dy, [2 C]. */
function sumsOf(x: Tensor, stats: Tensor, dy: Tensor): Tensor {
  const { device, dtype } = x;
  const { rows, channels, part, parts } = rowsOf(x);
  if (x.size === 0) return zeros([2 * channels], { device });
  const inputs = [x.address, stats.address, dy.address];
  if (device.kind === 'cuda') {
    using partial = allocate([parts, 2 * channels], { device });
    const count = parts * channels;
    const kernels = kernelsFor(batchNormCuda, device, dtype);
    kernels.batch_norm_sums(perElement(count), ...inputs, partial.address, count, rows, channels, part);
    return sumAxes(partial, [0]);
  }
  const kernels = device.load(batchNormKernels);
  using partial = allocate([kernels.batch_norm_parts(rows, channels), 2 * channels], { device });
  kernels.batch_norm_sums(...inputs, partial.address, rows, channels);
  return sumAxes(partial, [0]);
}

function gradientOf(
  x: Tensor,
  stats: Tensor,
  weight: Tensor | undefined,
  dy: Tensor,
  { sums, training }: { sums: Tensor; training: boolean },
): Tensor {
  const { device, dtype, size } = x;
  const dx = allocate(x.shape, { device, dtype });
  if (size === 0) return dx;
  const { rows, channels } = rowsOf(x);
  const operands = [x.address, weight?.address ?? 0, stats.address, sums.address, dy.address, dx.address];
  const rest = [rows, channels, training ? 1 : 0];
  if (device.kind === 'cuda')
    kernelsFor(batchNormCuda, device, dtype).batch_norm_backward(perElement(size), ...operands, size, ...rest);
  else device.load(batchNormKernels).batch_norm_backward(...operands, ...rest);
  return dx;
}

export interface BatchNormOptions {
  /** f32 [C]; default: none. */
  weight?: Tensor;
  /** f32 [C]; default: none. */
  bias?: Tensor;
  /** The running mean, f32 [C]: updated in place in training, read otherwise. */
  mean?: Tensor;
  /** The running variance, f32 [C]: updated in place in training, read otherwise. */
  variance?: Tensor;
  /** Whether to normalise with the statistics of the batch; default false. */
  training?: boolean;
  /** The share of the batch in an update of the running mean and variance, from 0 to 1; default 0.1. */
  momentum?: number;
  /** Added to the variance, not negative; default 1e-5. */
  eps?: number;
}

const batchNormOptions: OptionKinds<BatchNormOptions> = {
  weight: tensorKind,
  bias: tensorKind,
  mean: tensorKind,
  variance: tensorKind,
  training: kinds.boolean,
  momentum: kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1),
  eps: kinds.notNegative,
};

/**
 * Normalises each channel to mean 0 and variance 1 over all samples and positions, then applies weight and bias. In
 * training, the running mean and variance move towards those of the batch (the variance with n - 1), in place, also
 * when recorded work is replayed; otherwise x is normalised by them, and no gradient flows to them. As in PyTorch, a
 * checkpointed part updates them twice.
 *
 * Source: Ioffe and Szegedy, Batch Normalization (2015).
 * @param x [N, ..., C]; f32, or on CUDA bf16
 * @throws ShapeError in training for a channel of one value; ArgumentError otherwise without mean and variance
 * @example batchNorm(tensor([[1], [3]]), { training: true }); // [[-1], [1]]
 */
export function batchNorm(x: Tensor, options: BatchNormOptions): Tensor {
  const device = checkActivations('batchNorm', [x]);
  const given = checkOptions('batchNorm', options, batchNormOptions);
  const { weight, bias, mean, variance, training = false, momentum = 0.1, eps = 1e-5 } = given;
  if (x.rank < 2) throw new ShapeError('batchNorm', 'x [N, ..., C]', formatShape(x.shape));
  const { rows, channels } = rowsOf(x);
  checkAffine('batchNorm', x, { weight, bias, mean, variance }, [channels]);
  if (training && rows < 2 && channels > 0)
    throw new ShapeError('batchNorm', 'more than one value of each channel in training', formatShape(x.shape));
  const y = allocate(x.shape, { device, dtype: x.dtype });
  using stats = allocate([3, channels], { device });
  if (training) measure(x, stats, { mean, variance, momentum, eps });
  else if (mean && variance) readStatistics(mean, variance, stats, eps);
  else throw new ArgumentError('batchNorm', 'mean and variance, or training: true', 'neither');
  if (y.size > 0) {
    const operands = [x.address, weight?.address ?? 0, bias?.address ?? 0, stats.address, y.address];
    if (device.kind === 'cuda')
      kernelsFor(batchNormCuda, device, x.dtype).batch_norm_forward(perElement(y.size), ...operands, y.size, channels);
    else device.load(batchNormKernels).batch_norm_forward(...operands, rows, channels);
  }
  return apply(batchNormOp, y, {
    parents: [x, weight, bias],
    saved: weight ? [x, stats, weight] : [x, stats],
    attributes: { training, eps },
  });
}

interface Running {
  mean: Tensor | undefined;
  variance: Tensor | undefined;
  momentum: number;
  eps: number;
}

/** Computes the statistics of x, and updates the running ones. */
function measure(x: Tensor, stats: Tensor, { mean, variance, momentum, eps }: Running): void {
  if (x.size === 0) return;
  const { device, dtype } = x;
  const { rows, channels, part, parts } = rowsOf(x);
  const running = [mean?.address ?? 0, variance?.address ?? 0];
  if (device.kind === 'cuda') {
    using partial = allocate([parts, 3, channels], { device });
    const kernels = kernelsFor(batchNormCuda, device, dtype);
    const count = parts * channels;
    kernels.batch_norm_partial(perElement(count), x.address, partial.address, count, rows, channels, part);
    const operands = [partial.address, stats.address, ...running];
    kernels.batch_norm_join(perWarp(channels), ...operands, rows, channels, part, parts, eps, momentum);
  } else {
    const kernels = device.load(batchNormKernels);
    using partial = allocate([kernels.batch_norm_parts(rows, channels), 3, channels], { device });
    const operands = [x.address, partial.address, stats.address, ...running];
    kernels.batch_norm_statistics(...operands, rows, channels, eps, momentum);
  }
  for (const t of [mean, variance]) t?.storage.markWritten();
}

function readStatistics(mean: Tensor, variance: Tensor, stats: Tensor, eps: number): void {
  const { device, size } = mean;
  if (size === 0) return;
  const operands = [mean.address, variance.address, stats.address, size, eps];
  if (device.kind === 'cuda') device.load(batchNormCuda.f32).batch_norm_given(perElement(size), ...operands);
  else device.load(batchNormKernels).batch_norm_given(...operands);
}
