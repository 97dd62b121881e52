// FIR resampling of images: insert zeros between pixels, apply a separable filter, keep every down-th pixel (upfirdn2d
// of StyleGAN2, Karras et al. 2020), with the paddings of upsample_2d and downsample_2d in Score SDE's
// up_or_down_sampling.py.
import {
  checkArgument,
  checkOptions,
  copyOfList,
  describeValue,
  kinds,
  listOf,
  type OptionKinds,
  refuseExtra,
} from '../arguments.ts';
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { perElement } from './launch/grid.ts';
import { kernelsFor, storageModules } from './launch/storage.ts';
import { apply, checkActivations, declareOp } from './op.ts';

const firKernels = kernelModule('kernels/fir.c', { fir_resample: 'ptr ptr ptr ptr' });

const cudaKernels = storageModules('kernels/fir.cu', { fir_resample: 'ptr ptr ptr ptr i32' });

export interface FirOptions {
  /** Upsampling factor: up - 1 zeros follow each pixel before filtering. Default 1. */
  up?: number;
  /** Downsampling factor: one in `down` filtered pixels is kept. Default 1. */
  down?: number;
  /** Zeros before and after the upsampled image on both axes; negative numbers crop. Default 0. */
  padding?: readonly [before: number, after: number];
}

const firOptions: OptionKinds<FirOptions> = {
  up: kinds.int32Count,
  down: kinds.int32Count,
  padding: listOf(kinds.int32, 'whole numbers', 2),
};

/** One application of the filter, as in fir.c: taps in the order in which they are applied to the pixels. */
interface Filter {
  taps: Float32Array;
  up: number;
  down: number;
  before: number;
}

export interface FirAttributes {
  filter: Filter;
  shape: Shape;
}

/** The linear map of the gradient: up and down are exchanged, the taps reversed. */
const adjoint = ({ taps, up, down, before }: Filter): Filter => ({
  taps: taps.toReversed(),
  up: down,
  down: up,
  before: taps.length - 1 - before,
});

function applyFilter(x: Tensor, { taps, up, down, before }: Filter, out: Shape): Tensor {
  const { device, dtype } = x;
  const y = allocate(out, { device, dtype });
  // Device tables hold int32 values, so the taps are stored by their bits.
  const bits = device.table([...new Int32Array(taps.buffer)]);
  const table = device.table([...x.shape, out[1], out[2], taps.length, up, down, before]);
  const operands = [x.address, bits, y.address, table];
  if (y.size > 0 && device.kind === 'cuda')
    kernelsFor(cudaKernels, device, dtype).fir_resample(perElement(y.size), ...operands, y.size);
  else if (y.size > 0) device.load(firKernels).fir_resample(...operands);
  return y;
}

export const firResampleOp = declareOp<FirAttributes>({
  name: 'firResample',
  cpu: firKernels,
  cuda: cudaKernels,
  backward: ({ grad, attributes: { filter, shape } }) => [applyFilter(grad, adjoint(filter), shape)],
  tangent: ({ tangents: [t], output, attributes: { filter } }) => filtered(t as Tensor, filter, output.shape),
});

/**
 * Inserts `up` - 1 zeros after each pixel, pads, filters rows and columns, and keeps every `down`-th pixel: StyleGAN2's upfirdn2d.
 * @param x [N, H, W, C]
 * @param kernel taps of the filter along each axis, scaled here to the sum `up`, so that constant images stay constant
 * @returns [N, H', W', C], H' = floor((H up + before + after - length) / down) + 1
 * @example firResample(ones([1, 4, 4, 1]), [1, 3, 3, 1], { padding: [1, 2] }).shape; // [1, 4, 4, 1]
 */
export function firResample(x: Tensor, kernel: readonly number[], options: FirOptions = {}): Tensor {
  return resample('firResample', x, kernel, checkOptions('firResample', options, firOptions));
}

/** `firResample` for the function `op`, which its messages name. */
function resample(op: string, x: Tensor, kernel: readonly number[], options: FirOptions): Tensor {
  checkActivations(op, [x]);
  const { up = 1, down = 1, padding = [0, 0] } = options;
  const taps = tapsOf(op, kernel, up);
  if (x.rank !== 4) throw new ShapeError(op, 'images [N, H, W, C]', formatShape(x.shape));
  const [n, h, w, c] = x.shape;
  const [before, after] = padding;
  const extents = [h, w].map((extent) => Math.floor((extent * up + before + after - taps.length) / down) + 1);
  const widest = Math.max(h, w) * up + Math.abs(before) + Math.abs(after);
  if (extents.some((extent) => extent < 1) || widest + down >= 2 ** 31)
    throw new ShapeError(op, `images large enough for ${taps.length} taps`, formatShape(x.shape));
  const filter: Filter = { taps, up, down, before };
  return filtered(x, filter, [n, ...extents, c]);
}

function filtered(x: Tensor, filter: Filter, out: Shape): Tensor {
  return apply(firResampleOp, applyFilter(x, filter, out), { parents: [x], attributes: { filter, shape: x.shape } });
}

/** The kernel scaled to the sum `gain` and reversed: a convolution applies its last tap first. */
function tapsOf(op: string, kernel: readonly number[], gain: number): Float32Array {
  const list = copyOfList(kernel) as number[] | undefined;
  const sum = list?.every((tap) => Number.isFinite(tap)) ? list.reduce((total, tap) => total + tap, 0) : Number.NaN;
  if (!list || !Number.isFinite(sum) || sum === 0)
    throw new ValueError(`[${op}] expected finite taps whose sum is not 0, got ${describeValue(kernel)}`);
  return Float32Array.from(list, (tap) => (tap / sum) * gain).reverse();
}

/** The length of the list of taps, which tapsOf() checks later. */
function lengthOf(kernel: readonly number[]): number {
  return copyOfList(kernel)?.length ?? 0;
}

/**
 * upsample_2d: [N, H, W, C] -> [N, 2 H, 2 W, C].
 * @param margin extra pixels on each side, which the filter still reaches from inside the image
 * @example firUpsample(ones([1, 4, 4, 1]), [1, 3, 3, 1]).shape; // [1, 8, 8, 1]
 */
export function firUpsample(x: Tensor, kernel: readonly number[], margin?: number): Tensor;
export function firUpsample(x: Tensor, kernel: readonly number[], margin = 0, ...extra: unknown[]): Tensor {
  refuseExtra('firUpsample', extra);
  const excess = lengthOf(kernel) - 2;
  checkArgument('firUpsample', 'margin', margin, kinds.int32);
  const padding = [Math.floor((excess + 1) / 2) + 1 + margin, Math.floor(excess / 2) + margin] as const;
  return resample('firUpsample', x, kernel, { up: 2, padding });
}

/**
 * downsample_2d: [N, H, W, C] -> [N, H / 2, W / 2, C]; H and W even.
 * @example firDownsample(ones([1, 4, 4, 1]), [1, 3, 3, 1]).shape; // [1, 2, 2, 1]
 */
export function firDownsample(x: Tensor, kernel: readonly number[]): Tensor;
export function firDownsample(x: Tensor, kernel: readonly number[], ...extra: unknown[]): Tensor {
  refuseExtra('firDownsample', extra);
  const excess = lengthOf(kernel) - 2;
  const padding = [Math.floor((excess + 1) / 2), Math.floor(excess / 2)] as const;
  return resample('firDownsample', x, kernel, { down: 2, padding });
}
