// Layer normalisation (Ba, Kiros and Hinton 2016) and RMS normalisation (Zhang and Sennrich 2019).
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { jvp } from '../autograd/forward.ts';
import { kernelModule } from '../device/module.ts';
import { ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { axesKind, normalizeAxes, type Shape, sizeOf } from '../tensor/shape.ts';
import { type Tensor, tensorKind } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { cast } from './cast.ts';
import { add, div, mul, sqrt, square, sub } from './elementwise.ts';
import { checkAffine } from './inner/affine.ts';
import { sumAxes } from './inner/reduction.ts';
import { perElement, perWarp } from './launch/grid.ts';
import { kernelsFor, storageModules } from './launch/storage.ts';
import { permute, reshape } from './movement.ts';
import { apply, checkActivations, checkOperands, declareOp } from './op.ts';
import { mean } from './reduce.ts';

export const layerNormKernels = kernelModule('kernels/layer_norm.c', {
  layer_norm_forward: 'ptr ptr ptr ptr ptr i32 i32 i32 f32',
  layer_norm_parts: 'i32 i32 -> count',
  layer_norm_backward: 'ptr ptr ptr ptr ptr ptr i32 i32 i32',
});

export const layerNormCuda = storageModules('kernels/layer_norm.cu', {
  layer_norm_forward: 'ptr ptr ptr ptr ptr i32 i32 i32 f32',
  layer_norm_backward: 'ptr ptr ptr ptr ptr i32 i32 i32',
  layer_norm_sums: 'ptr ptr ptr ptr i32 i32 i32 i32',
});

/** Rows that a thread of CUDA sums for the gradients of weight and bias. */
const PART = 128;

export interface NormAttributes {
  /** The length of a row: how many elements are normalised together. */
  length: number;
  /** The shape of weight and bias. */
  shape: Shape;
  eps: number;
}

/** Parents: x, weight, bias. Saved: x, the statistics [3, rows], and the weight if there is one. */
function normOp(name: string, centred: boolean) {
  return declareOp<NormAttributes>({
    name,
    cpu: layerNormKernels,
    cuda: layerNormCuda,
    backward({ grad, saved: [x, stats, weight], attributes: { length, shape }, needs }) {
      const { dx, sums } = gradientsOf(x, stats, weight, grad, { length, centred });
      return [dx, needs[1] ? view(sums, shape) : null, needs[2] ? view(sums, shape, length) : null];
    },
    tangent({ parents, tangents, attributes: { length, eps } }) {
      const moving = parents.flatMap((_, i) => (tangents[i] ? [i] : []));
      const [, tangent] = jvp(
        (...given) => {
          const [x, weight, bias] = parents.map((t, i) => given[moving.indexOf(i)] ?? t);
          return inOps(x as Tensor, weight, bias, { length, eps, centred });
        },
        moving.map((i) => parents[i] as Tensor),
        moving.map((i) => tangents[i] as Tensor),
      );
      return tangent;
    },
  });
}

export const layerNormOp = normOp('layerNorm', true);
export const rmsNormOp = normOp('rmsNorm', false);

/** The whole op in ops without a fused kernel, for its tangent. */
function inOps(
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  { length, eps, centred }: Omit<NormAttributes, 'shape'> & { centred: boolean },
): Tensor {
  const rows = reshape(cast(x, 'f32'), [length === 0 ? 0 : x.size / length, length]);
  const middle = centred ? sub(rows, mean(rows, { axes: 1, keepDims: true })) : rows;
  const deviation = sqrt(add(mean(square(middle), { axes: 1, keepDims: true }), eps));
  const normal = div(middle, deviation);
  const scaled = weight ? mul(normal, reshape(weight, [length])) : normal;
  const y = bias ? add(scaled, reshape(bias, [length])) : scaled;
  return cast(reshape(y, x.shape), x.dtype);
}

/** dx, and the sums over rows of dy x^ and of dy, side by side in [2 length]. */
function gradientsOf(
  x: Tensor,
  stats: Tensor,
  weight: Tensor | undefined,
  dy: Tensor,
  { length, centred }: { length: number; centred: boolean },
): { dx: Tensor; sums: Tensor } {
  const { device, dtype, size } = x;
  const dx = allocate(x.shape, { device, dtype });
  if (size === 0) return { dx, sums: zeros([2 * length], { device }) };
  const rows = size / length;
  const [inputs, flag] = [[x.address, weight?.address ?? 0, stats.address, dy.address, dx.address], centred ? 1 : 0];
  if (device.kind === 'cuda') {
    const kernels = kernelsFor(layerNormCuda, device, dtype);
    kernels.layer_norm_backward(perWarp(rows), ...inputs, rows, length, flag);
    const parts = Math.ceil(rows / PART);
    using partial = allocate([parts, 2 * length], { device });
    const count = parts * length;
    const operands = [x.address, stats.address, dy.address, partial.address];
    kernels.layer_norm_sums(perElement(count), ...operands, count, rows, length, PART);
    return { dx, sums: sumAxes(partial, [0]) };
  }
  const kernels = device.load(layerNormKernels);
  using partial = allocate([kernels.layer_norm_parts(rows, length), 2 * length], { device });
  kernels.layer_norm_backward(...inputs, partial.address, rows, length, flag);
  return { dx, sums: sumAxes(partial, [0]) };
}

/** Normalises rows of `length` elements. */
function normalise(
  op: typeof layerNormOp,
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  attributes: NormAttributes,
): Tensor {
  const { device, dtype, size } = x;
  const { length, eps } = attributes;
  const rows = length === 0 ? 0 : size / length;
  const y = allocate(x.shape, { device, dtype });
  using stats = allocate([3, rows], { device });
  if (size > 0) {
    const operands = [x.address, weight?.address ?? 0, bias?.address ?? 0, y.address, stats.address];
    const rest = [rows, length, op === layerNormOp ? 1 : 0, eps];
    if (device.kind === 'cuda')
      kernelsFor(layerNormCuda, device, dtype).layer_norm_forward(perWarp(rows), ...operands, ...rest);
    else device.load(layerNormKernels).layer_norm_forward(...operands, ...rest);
  }
  return apply(op, y, {
    parents: [x, weight, bias],
    saved: weight ? [x, stats, weight] : [x, stats],
    attributes,
  });
}

export interface LayerNormOptions {
  /** The axes that are normalised together; default: the last. Negative ones count from the end. */
  axes?: number | readonly number[];
  /** f32, of the shape of those axes; default: none. */
  weight?: Tensor;
  /** f32, of the shape of those axes; default: none. */
  bias?: Tensor;
  /** Added to the variance, not negative; default 1e-5. */
  eps?: number;
}

const layerNormOptions: OptionKinds<LayerNormOptions> = {
  axes: axesKind,
  weight: tensorKind,
  bias: tensorKind,
  eps: kinds.notNegative,
};

/** Normalises x over axes; those that are not the last ones are moved there and back. */
function overAxes(
  op: typeof layerNormOp,
  x: Tensor,
  { axes = -1, weight, bias, eps }: LayerNormOptions & { eps: number },
): Tensor {
  const normal = normalizeAxes(op.name, axes, x.shape);
  const shape = normal.map((axis) => x.shape[axis]);
  if (normal.length === 0) throw new ShapeError(op.name, 'at least one axis', 'none');
  checkAffine(op.name, x, { weight, bias }, shape);
  const attributes = { length: sizeOf(shape), shape, eps };
  if (normal.every((axis, i) => axis === x.rank - normal.length + i)) return normalise(op, x, weight, bias, attributes);
  const order = [...x.shape.keys()].filter((axis) => !normal.includes(axis)).concat(normal);
  const back = order.map((_, axis) => order.indexOf(axis));
  return scope(() => permute(normalise(op, permute(x, order), weight, bias, attributes), back));
}

/**
 * Normalises the elements along the last axis, or those named, to mean 0 and variance 1, then applies weight and bias.
 * If squares of the differences overflow, the result is NaN (PyTorch: zeros).
 *
 * Source: Ba, Kiros and Hinton, Layer Normalization (2016).
 * @param x f32, or on CUDA bf16; axes that are not the last ones are moved there and back by copies
 * @example
 * layerNorm(tensor([[1, 2, 3]])); // [[-1.225, 0, 1.225]]
 * layerNorm(ones([2, 4, 4, 3]), { axes: [1, 2, 3] }).shape; // [2, 4, 4, 3]
 */
export function layerNorm(x: Tensor, options: LayerNormOptions = {}): Tensor {
  checkActivations('layerNorm', [x]);
  const { eps = 1e-5, ...rest } = checkOptions('layerNorm', options, layerNormOptions);
  return overAxes(layerNormOp, x, { ...rest, eps });
}

export interface RmsNormOptions {
  /** The axes that are normalised together; default: the last. Negative ones count from the end. */
  axes?: number | readonly number[];
  /** Added to the mean of the squares, not negative; default 2^-23, as in PyTorch for f32. */
  eps?: number;
}

const rmsNormOptions: OptionKinds<RmsNormOptions> = { axes: axesKind, eps: kinds.notNegative };

/**
 * x / sqrt(mean of x^2 + eps) along the last axis, or those named, times a weight. If squares overflow, the result is
 * NaN (PyTorch: zeros).
 *
 * Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019).
 * @param x f32, or on CUDA bf16; axes that are not the last ones are moved there and back by copies
 * @param weight f32, of the shape of those axes
 * @example rmsNorm(tensor([[3, 4]]), ones([2])); // [[0.8485, 1.131]]
 */
export function rmsNorm(x: Tensor, weight: Tensor, options: RmsNormOptions = {}): Tensor {
  checkActivations('rmsNorm', [x]);
  checkOperands('rmsNorm', [weight]);
  const { eps = 2 ** -23, axes } = checkOptions('rmsNorm', options, rmsNormOptions);
  return overAxes(rmsNormOp, x, { axes, weight, eps });
}
