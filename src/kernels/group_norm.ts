// Group normalisation (Wu, He 2018) with what follows it in a residual block in the same pass: SiLU, dropout, and
// resampling by two. Several inputs stand for their concatenation on channels.
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { empty } from '../tensor/create.ts';
import { sameShape, sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { perElement, perWarp } from './geometry.ts';
import { concat } from './movement.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, defineOp } from './op.ts';
import { type DropoutOptions, dropoutWords } from './random.ts';
import { sumAxes } from './reduction.ts';
import { kernelsFor, storageModules } from './storage.ts';

/** Words of a mask of dropout: see dropoutWords. */
const DRAW = 'ptr i32 i32 i32 i32 i32 i32 f32';

export const groupNormKernels = kernelModule(import.meta.url, './group_norm.c', {
  group_norm_forward: `ptr ptr ptr ptr ptr ptr ptr f32 ${DRAW}`,
  group_norm_backward: `ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr ${DRAW}`,
});

export const groupNormCuda = storageModules(import.meta.url, './group_norm.cu', {
  group_norm_stats: 'ptr ptr ptr ptr f32',
  group_norm_apply: `ptr ptr ptr ptr ptr ptr ptr i32 ${DRAW}`,
  group_norm_channel_sums: `ptr ptr ptr ptr ptr ptr ptr ptr ${DRAW}`,
  group_norm_group_means: 'ptr ptr ptr ptr',
  group_norm_input_gradient: `ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr i32 ${DRAW}`,
});

export interface GroupNormOptions {
  groups: number;
  /** Added to the variance; default 1e-6. */
  eps?: number;
  /** Default 'none'. */
  activation?: 'none' | 'silu';
  /** Zeroes activated elements with probability p: the mask of dropout() with the same draw. */
  dropout?: DropoutOptions;
  /** 'up': nearest neighbour by 2; 'down': mean of 2 x 2; of images [N, H, W, C] only. Default 'none'. */
  resample?: 'none' | 'up' | 'down';
}

export interface GroupNormAttributes {
  /** N, H, W, channels of both parts, groups, resampling, SiLU: as group_norm.c reads it. */
  table: readonly number[];
  dropout: DropoutOptions | undefined;
}

/** Of no dropout: threshold 0, scale 1. */
const NO_DROPOUT = [0, 0, 0, 0, 0, 0, 0, 1];

function maskWords(dropout: DropoutOptions | undefined): readonly number[] {
  return dropout ? dropoutWords('group_norm', dropout) : NO_DROPOUT;
}

export const groupNormOp = defineOp<GroupNormAttributes>({
  name: 'group_norm',
  cpu: groupNormKernels,
  cuda: groupNormCuda,
  backward({ grad, saved: [weight, bias, stats, ...parts], attributes: { table, dropout }, needs }) {
    const { device } = weight;
    const words = maskWords(dropout);
    const gradients = parts.map(({ shape, dtype }) => empty(shape, { device, dtype }));
    const channels = weight.size;
    const samples = table[0];
    const sums = empty([2, samples, channels], { device });
    const [x0, x1 = 0] = parts.map((part) => part.address);
    const [dx0, dx1 = 0] = gradients.map((gradient) => gradient.address);
    const inputs = [x0, x1, weight.address, bias.address, stats.address, grad.address];
    if (grad.size > 0 && device.kind === 'cuda') {
      const kernels = kernelsFor(groupNormCuda, device, grad.dtype);
      const at = device.table(table);
      using means = empty(stats.shape, { device });
      kernels.group_norm_channel_sums(perWarp(samples * channels), ...inputs, sums.address, at, ...words);
      kernels.group_norm_group_means(perElement(means.size), weight.address, sums.address, means.address, at);
      const count = gradients.reduce((total, { size }) => total + size, 0);
      const outputs = [means.address, dx0, dx1, at, count];
      kernels.group_norm_input_gradient(perElement(count), ...inputs, ...outputs, ...words);
    } else if (grad.size > 0)
      device
        .load(groupNormKernels)
        .group_norm_backward(...inputs, dx0, dx1, sums.address, device.table(table), ...words);
    const total = (which: 0 | 1) => sumAxes(view(sums, [samples, channels], which * samples * channels), [0]);
    return [needs[0] ? total(0) : null, needs[1] ? total(1) : null, ...gradients];
  },
});

/**
 * Normalises groups of channels of each sample to mean 0 and variance 1 over all positions, then weight and bias.
 * @param x [N, ..., C], or several that stand for their concatenation on C; f32, or on CUDA bf16
 * @param weight [C] f32
 * @param bias [C] f32
 */
export function groupNorm(
  x: Tensor | readonly Tensor[],
  weight: Tensor,
  bias: Tensor,
  options: GroupNormOptions,
): Tensor {
  const given = Array.isArray(x) ? (x as Tensor[]) : [x as Tensor];
  const parts = given.length > 2 ? [given[0], concat(given.slice(1), -1)] : given;
  const device = checkActivations('group_norm', parts);
  checkOperands('group_norm', [weight, bias]);
  checkSameDevice('group_norm', parts[0], weight);
  const { groups, eps = 1e-6, activation = 'none', resample = 'none' } = options;
  const [first] = parts;
  const channels = parts.reduce((sum, part) => sum + (part.shape[part.rank - 1] ?? 0), 0);
  const shapes = parts.map((part) => formatShape(part.shape)).join(' and ');
  if (parts.some((part) => part.rank < 2 || !sameShape(part.shape.slice(0, -1), first.shape.slice(0, -1))))
    throw new ShapeError('group_norm', 'x [N, ..., C], parts equal but for C', shapes);
  if (!Number.isInteger(groups) || groups < 1 || channels % groups)
    throw new ShapeError('group_norm', `channels in groups, ${groups} of equal size`, shapes);
  for (const [name, t] of Object.entries({ weight, bias }))
    if (!sameShape(t.shape, [channels]))
      throw new ShapeError('group_norm', `a ${name} [${channels}] for x ${shapes}`, formatShape(t.shape));
  if (!(eps >= 0 && Number.isFinite(eps))) throw new ValueError(`[group_norm] expected eps >= 0, got ${eps}`);
  const out = outputShape([...first.shape.slice(0, -1), channels], resample);
  const [height, width] = first.rank === 4 ? first.shape.slice(1, 3) : [1, sizeOf(first.shape.slice(1, -1))];
  const table = [
    first.shape[0],
    height,
    width,
    first.shape[first.rank - 1],
    parts[1]?.shape[first.rank - 1] ?? 0,
    groups,
    { none: 0, up: 1, down: 2 }[resample],
    activation === 'silu' ? 1 : 0,
  ];
  const words = maskWords(options.dropout);
  const y = empty(out, { device, dtype: first.dtype });
  const stats = empty([2, first.shape[0], groups], { device });
  const inputs = [first.address, parts[1]?.address ?? 0];
  if (y.size > 0 && device.kind === 'cuda') {
    const kernels = kernelsFor(groupNormCuda, device, y.dtype);
    const at = device.table(table);
    const operands = [...inputs, weight.address, bias.address, stats.address, y.address, at, y.size];
    kernels.group_norm_stats(perWarp(first.shape[0] * groups), ...inputs, stats.address, at, eps);
    kernels.group_norm_apply(perElement(y.size), ...operands, ...words);
  } else if (y.size > 0) {
    const operands = [weight.address, bias.address, y.address, stats.address, device.table(table)];
    device.load(groupNormKernels).group_norm_forward(...inputs, ...operands, eps, ...words);
  }
  apply(groupNormOp, y, {
    parents: [weight, bias, ...parts],
    saved: [weight, bias, stats, ...parts],
    attributes: { table, dropout: options.dropout },
  });
  stats.dispose();
  return y;
}

function outputShape(shape: number[], resample: 'none' | 'up' | 'down'): number[] {
  if (resample === 'none') return shape;
  const [n, h, w, c] = shape;
  if (shape.length !== 4) throw new ShapeError('group_norm', 'images [N, H, W, C] to resample', formatShape(shape));
  if (resample === 'up') return [n, 2 * h, 2 * w, c];
  if (h % 2 || w % 2) throw new ShapeError('group_norm', 'even height and width to resample down', formatShape(shape));
  return [n, h / 2, w / 2, c];
}
