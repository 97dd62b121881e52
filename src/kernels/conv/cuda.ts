// Launching the convolution kernels of CUDA.
import { cudaModule } from '../../device/module.ts';
import { empty, zeros } from '../../tensor/create.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { perTile } from '../geometry.ts';
import { sumAxes } from '../reduction.ts';
import type { Conv2dOptions } from './conv.ts';
import type { Geometry } from './cpu.ts';

export const convKernels = cudaModule(import.meta.url, './conv.cu', {
  conv_forward: 'ptr ptr ptr ptr ptr ptr ptr f32',
  conv_input_gradient: 'ptr ptr ptr ptr f32',
  conv_weight_gradient: 'ptr ptr ptr ptr i32',
});

/** Output pixels that a partial sum of the weights' gradient adds at least, and the most partial sums. */
const LEAST_RUN = 1024;
const MOST_PARTS = 64;

export function convForward(
  x: Tensor,
  weight: Tensor,
  { out, table }: Geometry,
  { bias, add, residual, scale = 1 }: Conv2dOptions,
): Tensor {
  const { device } = x;
  const y = empty(out, { device });
  if (y.size === 0) return y;
  const addends = [bias, add, residual].map((t) => t?.address ?? 0);
  const grid = perTile(y.size / out[3], out[3]);
  const kernels = device.load(convKernels);
  kernels.conv_forward(grid, x.address, weight.address, y.address, ...addends, device.table(table), scale);
  return y;
}

export function convInputGradient(
  dy: Tensor,
  weight: Tensor,
  shape: Shape,
  { table }: Geometry,
  scale: number,
): Tensor {
  const { device } = dy;
  const dx = empty(shape, { device });
  if (dx.size === 0) return dx;
  const grid = perTile(dx.size / shape[3], shape[3]);
  const kernels = device.load(convKernels);
  kernels.conv_input_gradient(grid, dy.address, weight.address, dx.address, device.table(table), scale);
  return dx;
}

export function convWeightGradient(
  x: Tensor,
  dy: Tensor,
  shape: Shape,
  { out, table }: Geometry,
  scale: number,
): Tensor {
  const { device } = x;
  if (x.size === 0 || dy.size === 0) return zeros(shape, { device });
  const pixels = dy.size / out[3];
  const run = Math.max(LEAST_RUN, Math.ceil(pixels / MOST_PARTS));
  const parts = Math.ceil(pixels / run);
  const partials = empty([parts, sizeOf(shape)], { device });
  const { grid, block } = perTile(shape[0], sizeOf(shape.slice(1)));
  const kernels = device.load(convKernels);
  const geometry = { grid: [grid[0], parts] as const, block };
  kernels.conv_weight_gradient(geometry, x.address, dy.address, partials.address, device.table(table), run);
  if (parts === 1 && scale === 1) return view(partials, shape);
  const sum = sumAxes(partials, [0], scale);
  partials.dispose();
  return view(sum, shape);
}
