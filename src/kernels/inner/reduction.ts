// Reductions without gradients, for backward rules and for the ops of reduce.ts.
import { kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import { type Shape, sameShape, sizeOf, stridesOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { perElement, perResult, perWarp, runFlag, runsOf } from '../launch/grid.ts';
import { kernelsFor, storageModules } from '../launch/storage.ts';
import { copyStrided } from './strided.ts';

export const reduceKernels = kernelModule('kernels/reduce.c', {
  reduce_sum_scratch: 'i32 i32 i32 -> count',
  reduce_sum: 'ptr ptr ptr i32 i32 i32 f32',
  reduce_maximum: 'ptr ptr i32 i32 i32',
  reduce_minimum: 'ptr ptr i32 i32 i32',
  reduce_argmax: 'ptr ptr i32 i32 i32',
  reduce_argmin: 'ptr ptr i32 i32 i32',
});

export const reduceCuda = storageModules(
  'kernels/reduce.cu',
  {
    reduce_sum_rows: 'ptr ptr i32 i32 i32',
    reduce_sum_columns: 'ptr ptr i32 i32 i32 i32',
    reduce_sum_runs: 'ptr ptr i32 i32 i32 f32',
    reduce_maximum: 'ptr ptr i32 i32 i32 i32',
    reduce_minimum: 'ptr ptr i32 i32 i32 i32',
    reduce_argmax: 'ptr ptr i32 i32 i32 i32',
    reduce_argmin: 'ptr ptr i32 i32 i32 i32',
  },
  { flags: [runFlag] },
);

/** Runs `launch` on x as [outer, reduce, inner]; if the reduced axes are not adjacent, x is permuted first. */
function reduceAxes(
  x: Tensor,
  axes: readonly number[],
  dtype: Dtype,
  launch: (x: Tensor, y: Tensor, outer: number, reduce: number, inner: number) => void,
): Tensor {
  const kept = x.shape.filter((_, axis) => !axes.includes(axis));
  const y = allocate(kept, { device: x.device, dtype });
  const adjacent = axes.every((axis, i) => i === 0 || axis === axes[i - 1] + 1);
  const reduce = axes.reduce((product, axis) => product * x.shape[axis], 1);
  if (y.size === 0) return y;
  if (adjacent) {
    const outer = sizeOf(x.shape.slice(0, axes[0] ?? 0));
    launch(x, y, outer, reduce, y.size / outer);
  } else {
    using gathered = lastAxes(x, axes);
    launch(gathered, y, y.size, reduce, 1);
  }
  return y;
}

/** A copy of x with `axes` moved to the end. */
function lastAxes(x: Tensor, axes: readonly number[]): Tensor {
  const order = [...x.shape.keys()].filter((axis) => !axes.includes(axis)).concat(axes);
  const dims = order.map((axis) => x.shape[axis]);
  const from = stridesOf(x.shape);
  const y = allocate(dims, { device: x.device, dtype: x.dtype });
  const source = { tensor: x, offset: 0, strides: order.map((axis) => from[axis]) };
  copyStrided(dims, source, { tensor: y, offset: 0, strides: stridesOf(dims) });
  return y;
}

/** scale * sum over `axes` (sorted), which are removed. Sums are computed in f32 and stored as `dtype`. */
export function sumAxes(x: Tensor, axes: readonly number[], scale = 1, dtype = x.dtype): Tensor {
  return reduceAxes(x, axes, dtype, (from, y, outer, reduce, inner) => {
    if (x.device.kind === 'cuda') {
      sumOnCuda(from, y, outer, reduce, inner, scale);
      return;
    }
    const kernels = x.device.load(reduceKernels);
    using scratch = allocate([kernels.reduce_sum_scratch(outer, reduce, inner)], { device: x.device });
    kernels.reduce_sum(from.address, y.address, scratch.address, outer, reduce, inner, scale);
  });
}

function sumOnCuda(x: Tensor, y: Tensor, outer: number, reduce: number, inner: number, scale: number): void {
  const { device } = x;
  const kernels = kernelsFor(reduceCuda, device, x.dtype);
  const runs = runsOf(reduce);
  const sums = outer * runs * inner;
  using partial = allocate([sums], { device });
  if (inner === 1) kernels.reduce_sum_rows(perWarp(sums), x.address, partial.address, outer, reduce, runs);
  else kernels.reduce_sum_columns(perElement(sums), x.address, partial.address, sums, reduce, inner, runs);
  const last = kernelsFor(reduceCuda, device, y.dtype);
  last.reduce_sum_runs(perElement(y.size), partial.address, y.address, y.size, inner, runs, scale);
}

export type ExtremeKernel = 'reduce_maximum' | 'reduce_minimum' | 'reduce_argmax' | 'reduce_argmin';

/** The largest or the smallest over `axes` (sorted), which are removed; or, of one axis, the index of its first one. */
export function extremeAxes(kernel: ExtremeKernel, x: Tensor, axes: readonly number[]): Tensor {
  const dtype = kernel.startsWith('reduce_arg') ? 'i32' : 'f32';
  return reduceAxes(x, axes, dtype, (from, y, outer, reduce, inner) => {
    const { device } = x;
    if (device.kind === 'cuda') {
      const { grid, lanes } = perResult(y.size, inner);
      device.load(reduceCuda.f32)[kernel](grid, from.address, y.address, y.size, reduce, inner, lanes);
    } else device.load(reduceKernels)[kernel](from.address, y.address, outer, reduce, inner);
  });
}

/** Sums over the axes along which `shape` was broadcast to x's shape. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = [...x.shape.keys()].filter((axis) => axis < lead || (shape[axis - lead] === 1 && x.shape[axis] !== 1));
  const sum = axes.length > 0 ? sumAxes(x, axes) : x;
  return view(sum, shape);
}
