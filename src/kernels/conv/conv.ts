// Two-dimensional convolution of [N, H, W, Cin] with weights [Cout, kh, kw, Cin / groups], for any kernel, stride,
// padding and dilation, with a fused epilogue: y = scale (conv(x, w) + bias + add + residual).
import { checkOptions, copyOfList, either, isWhole, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { type PixelSums, ScaledGradient, SumOfRows, SumOfTerms, WeightProduct } from '../../autograd/gradient_parts.ts';
import type { Device } from '../../device/device.ts';
import { formatShape, ShapeError, ValueError } from '../../errors.ts';
import { zeros } from '../../tensor/create.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import { type Shape, sameShape } from '../../tensor/shape.ts';
import { requireTensor, type Tensor, tensorKind } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { cast } from '../cast.ts';
import { mul, add as plus } from '../elementwise.ts';
import { convertDtype } from '../inner/conversion.ts';
import { sumAxes } from '../inner/reduction.ts';
import { requireTrained, withSavedWeight, withWeight } from '../inner/weight.ts';
import { type Extent, extentKind, extents, LARGEST } from '../inner/window.ts';
import { broadcastTo, concat, reshape } from '../movement.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, declareOp } from '../op.ts';
import { repeatPixels, sumPixels, upsampleNearest } from '../resample.ts';
import * as cpu from './cpu.ts';
import * as cuda from './cuda.ts';
import { convKernels } from './direct.ts';
import { convCuda } from './modules.ts';
import {
  type ConvEpilogue,
  type ConvShape,
  convShapeOf,
  isDense,
  outputShape,
  type Paddings,
  paddingsOf,
} from './shape.ts';

export interface Conv2dOptions {
  /** [Cout] f32 */
  bias?: Tensor;
  /** One number or [vertical, horizontal]; default 1. */
  stride?: Extent;
  /** Zeros on each side: one number, [vertical, horizontal] or [top, bottom, left, right]; default 0. */
  padding?: Extent | Paddings;
  /** Distance between the taps of the kernel; default 1. */
  dilation?: Extent;
  /**
   * How many times each pixel of x is repeated in both directions, as by `upsampleNearest`; default 1. On the CPU and in
   * WebAssembly the larger image is never in memory.
   */
  upsample?: number;
  /**
   * Divides the channels of both sides: each group of outputs reads the same group of the input; default 1. With as many
   * groups as channels the convolution is depthwise.
   */
  groups?: number;
  /** [N, Cout], added to every pixel of a sample, such as a time embedding. */
  add?: Tensor;
  /** A tensor of the output's shape that is added to it, such as the shortcut of a residual block. */
  residual?: Tensor;
  /** Factor applied to the whole sum; default 1. */
  scale?: number;
}

const convOptions: OptionKinds<Conv2dOptions> = {
  bias: tensorKind,
  stride: extentKind,
  padding: either(extentKind, listOf(kinds.number, 'numbers', 4)),
  upsample: kinds.int32Count,
  dilation: extentKind,
  groups: kinds.int32Count,
  add: tensorKind,
  residual: tensorKind,
  scale: kinds.number,
};

export interface ConvAttributes {
  shape: ConvShape;
  scale: number;
  /** The dtype of the weight and of its gradient: the weight may be f32 where activations are bf16. */
  weightDtype: Dtype;
}

export const conv2dOp = declareOp<ConvAttributes>({
  name: 'conv2d',
  cpu: convKernels,
  cuda: convCuda,
  takesScaled: true,
  backward({ grad, scaled, saved: [image, weight, second], attributes, needs, defers }) {
    const { scale, weightDtype } = attributes;
    const { repeat = 1, ...shape } = attributes.shape;
    const [needsX, needsWeight, needsBias, needsAdd, needsResidual, needsSecond = false] = needs;
    const [n, height, width, channels] = grad.shape;
    const { factor, pixelSums } = scaled[0] as ScaledGradient;
    const whole = scale * factor;
    const { convInputGradient, convWeightGradient } = launchersOf(grad.device);
    // The producer of the gradient may already have computed its sums over pixels.
    const perSample =
      needsAdd && !(pixelSums && whole === 1)
        ? sumAxes(view(grad, [n, height * width, channels]), [1], whole, 'f32')
        : null;
    const bias = () => {
      if (defers[2] && perSample) return new SumOfTerms(perSample);
      if (defers[2]) return pixelSums ? new SumOfTerms(pixelSums.exact, whole) : new SumOfRows(grad, whole);
      return perSample
        ? sumAxes(perSample, [0])
        : sumAxes(view(grad, [n * height * width, channels]), [0], whole, 'f32');
    };
    const weightGradient = () => {
      requireTrained('conv2d', weightDtype, grad);
      if (defers[1] && isDense(shape) && repeat === 1) return new WeightProduct(image, grad, shape, whole, second);
      if (second) return convertDtype(cuda.convWeightGradient(image, grad, shape, whole, second), weightDtype);
      const x = repeat === 1 ? image : repeatPixels(image, repeat, 1);
      const made = convWeightGradient(x, grad, shape, whole);
      if (x !== image) x.dispose();
      return convertDtype(made, weightDtype);
    };
    const residual = () => {
      if (whole === 1) return grad;
      return grad.device.kind === 'cuda' ? new ScaledGradient(grad, { factor: whole, pixelSums }) : mul(grad, scale);
    };
    const dx =
      needsX || needsSecond
        ? withSavedWeight(weight, grad, (wide) => summed(convInputGradient(grad, wide, shape, whole), repeat))
        : null;
    // Each part of the image gets its columns of the gradient.
    const columns = (offset: number, { shape: part }: Tensor) =>
      new ScaledGradient(dx as Tensor, { columns: { offset, count: part[3] } });
    return [
      dx && needsX ? (second ? columns(0, image) : dx) : null,
      needsWeight ? weightGradient() : null,
      needsBias ? bias() : null,
      needsAdd ? (perSample ? convertDtype(perSample, grad.dtype) : (pixelSums as PixelSums).rounded) : null,
      needsResidual ? residual() : null,
      ...(second ? [needsSecond ? columns(image.shape[3], second) : null] : []),
    ];
  },
  tangent({ parents: [first, weight, , , , second], tangents, output, attributes: { shape, scale } }) {
    const [tFirst, tWeight, bias, add, residual, tSecond] = tangents.map((t) => t ?? undefined);
    const x = second ? concat([first as Tensor, second], 3) : first;
    const zerosFor = ({ shape: dims, dtype, device }: Tensor) => zeros(dims, { device, dtype });
    const tx =
      second && (tFirst || tSecond)
        ? concat([tFirst ?? zerosFor(first as Tensor), tSecond ?? zerosFor(second)], 3)
        : tFirst;
    const window = {
      stride: [shape.strideY, shape.strideX] as const,
      padding: paddingsOf(shape),
      upsample: shape.repeat ?? 1,
      dilation: [shape.dilationY, shape.dilationX] as const,
      groups: shape.groups,
      scale,
    };
    const rest = { ...window, bias, add, residual };
    if (tx && tWeight)
      return conv2d(tx, weight as Tensor, {
        ...rest,
        residual: sumOf(residual, conv2d(x as Tensor, tWeight, { ...window, scale: 1 })),
      });
    if (tx) return conv2d(tx, weight as Tensor, rest);
    if (tWeight) return conv2d(x as Tensor, tWeight, rest);
    const { dtype, shape: outputs } = output;
    const terms = [bias && cast(bias, dtype), add && reshape(add, [outputs[0], 1, 1, outputs[3]]), residual];
    return mul(broadcastTo(terms.filter((t) => t !== undefined).reduce(plus), outputs), scale);
  },
});

/** The sums of repeat x repeat pixels; x itself, or without it. */
function summed(x: Tensor, repeat: number): Tensor {
  if (repeat === 1) return x;
  const sums = sumPixels(x, repeat, 1);
  x.dispose();
  return sums;
}

function sumOf(a: Tensor | undefined, b: Tensor): Tensor {
  return a ? plus(a, b) : b;
}

/**
 * y = scale (conv(x, weight) + bias + add + residual). On the CPU and in WebAssembly, 3 x 3 convolutions and their
 * gradients may use Winograd's algorithm. Results are then within 8e-6 of direct sums (relative root mean square), and
 * an infinity or NaN in a pixel makes its whole tile of 4 x 4 outputs NaN, up to 3 pixels away; a direct sum spreads it
 * by 1 pixel and keeps infinity. A device opened with `exact` always uses direct sums, and so do convolutions with
 * groups or a dilation.
 * @param x [N, H, W, Cin], f32, or on CUDA bf16
 * @param weight [Cout, kh, kw, Cin / groups], of x's dtype, or f32, in which case a copy in x's dtype is used; on the CPU and in
 * WebAssembly also f16 or bf16, which then has no gradient
 * @returns [N, H', W', Cout], H' = floor((upsample H + top + bottom - dilation (kh - 1) - 1) / stride) + 1
 * @example
 * const x = ones([1, 8, 8, 3]);
 * const y = conv2d(x, ones([16, 3, 3, 3]), { bias: zeros([16]), padding: 1 });
 * y.shape; // [1, 8, 8, 16]
 * const filters = ones([3, 3, 3, 1]); // a filter for each channel
 * conv2d(x, filters, { groups: 3, padding: 1, stride: 2 }).shape; // [1, 4, 4, 3]
 * conv2d(x, ones([16, 3, 3, 3]), { padding: [0, 1, 0, 1], stride: 2 }).shape; // [1, 4, 4, 16]
 * conv2d(x, ones([16, 3, 3, 3]), { padding: 1, upsample: 2 }).shape; // [1, 16, 16, 16]
 */
export function conv2d(x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor {
  requireTensor('conv2d', x);
  requireTensor('conv2d', weight, 'a weight tensor');
  return convolution('conv2d', x, weight, checkOptions('conv2d', options, convOptions));
}

/**
 * conv2d of an image in one or more parts, which stand for their concatenation along channels. On CUDA two parts are not
 * copied.
 */
export function conv2dOfParts(parts: readonly Tensor[], weight: Tensor, options: Conv2dOptions = {}): Tensor {
  const checked = checkOptions('conv2d', options, convOptions);
  for (const part of parts) requireTensor('conv2d', part);
  requireTensor('conv2d', weight, 'a weight tensor');
  const [first, second] = parts;
  const fits =
    parts.length === 2 &&
    first.device.kind === 'cuda' &&
    [first, second].every(({ shape, size }) => shape.length === 4 && size > 0) &&
    sameShape(first.shape.slice(0, 3), second.shape.slice(0, 3)) &&
    [checked.dilation, checked.groups, checked.upsample].every((option) => option === undefined);
  if (fits) return convolution('conv2d', first, weight, checked, second);
  return convolution('conv2d', parts.length === 1 ? first : concat(parts, 3), weight, checked);
}

/**
 * conv2d of checked options, under the name of another function in messages.
 * @param second on CUDA the last channels of the image of a dense convolution, if x has the first only
 */
export function convolution(op: string, x: Tensor, weight: Tensor, checked: Conv2dOptions, second?: Tensor): Tensor {
  const { bias, add, residual, scale = 1, upsample = 1 } = checked;
  checkActivations(
    op,
    [x, second, add, residual].filter((t) => t !== undefined),
  );
  // Kernels of cards read whole pieces of images, which repeated pixels are not.
  if (upsample > 1 && (x.device.kind === 'cuda' || x.size === 0)) {
    using repeated = upsampleNearest(x, upsample);
    return convolution(op, repeated, weight, { ...checked, upsample: 1 });
  }
  if (bias) {
    checkOperands(op, [bias]);
    checkSameDevice(op, x, bias);
  }
  const image = second ? [...x.shape.slice(0, 3), x.shape[3] + second.shape[3]] : x.shape;
  const shape = checkShapes(op, image, weight.shape, checked);
  const expect = (what: string, t: Tensor | undefined, expected: Shape) => {
    if (t && !sameShape(t.shape, expected))
      throw new ShapeError(op, `${what} ${formatShape(expected)}`, formatShape(t.shape));
  };
  expect('a bias', bias, [shape.outputs]);
  expect('an addend', add, [shape.batch, shape.outputs]);
  expect('a residual', residual, outputShape(shape));
  if (!Number.isFinite(scale)) throw new ValueError(`[${op}] expected a finite scale, got ${scale}`);
  return withWeight(op, weight, x, (prepared, kept) => {
    const epilogue = { bias, add, residual, scale };
    const y = second
      ? cuda.convForward(x, prepared, shape, epilogue, second)
      : launchersOf(x.device).convForward(x, prepared, shape, epilogue);
    return apply(conv2dOp, y, {
      parents: [x, weight, bias, add, residual, ...(second ? [second] : [])],
      saved: [x, kept, ...(second ? [second] : [])],
      attributes: { shape, scale, weightDtype: weight.dtype },
    });
  });
}

/** What the launch code of every device has. */
interface ConvLaunchers {
  convForward(x: Tensor, weight: Tensor, shape: ConvShape, epilogue: ConvEpilogue): Tensor;
  convInputGradient(dy: Tensor, weight: Tensor, shape: ConvShape, scale: number): Tensor;
  convWeightGradient(x: Tensor, dy: Tensor, shape: ConvShape, scale: number): Tensor;
}

/** The launch code of the device. */
export function launchersOf(device: Device): ConvLaunchers {
  return device.kind === 'cuda' ? cuda : cpu;
}

/** @throws ValueError unless they are whole numbers from 0 to 2^28 */
function paddingsFrom(op: string, padding: Extent | Paddings): [number, number] | Paddings {
  if (typeof padding === 'number' || padding.length !== 4) return extents(op, 'padding', padding as Extent, 0);
  const edges = copyOfList(padding) as number[];
  if (!edges.every((edge) => isWhole(edge, 0, LARGEST)))
    throw new ValueError(`[${op}] expected a padding of whole numbers >= 0 and <= 2^28, got ${edges.join(', ')}`);
  return edges as unknown as Paddings;
}

function checkShapes(op: string, x: Shape, weight: Shape, options: Conv2dOptions): ConvShape {
  const { stride = 1, padding = 0, dilation = 1, groups = 1, upsample = 1 } = options;
  const both = `${formatShape(x)} and ${formatShape(weight)}`;
  if (x.length !== 4 || weight.length !== 4 || x[3] !== weight[3] * groups)
    throw new ShapeError(
      op,
      `x [N, H, W, Cin] and a weight [Cout, kh, kw, ${groups === 1 ? 'Cin' : `Cin / ${groups}`}]`,
      both,
    );
  if (weight[0] % groups !== 0) throw new ShapeError(op, `a weight whose Cout is a multiple of ${groups} groups`, both);
  const strides = extents(op, 'stride', stride, 1);
  const paddings = paddingsFrom(op, padding);
  const dilations = extents(op, 'dilation', dilation, 1);
  const [n, height, width, channels] = x;
  const image = [n, height * upsample, width * upsample, channels];
  if (image.some((extent) => extent > LARGEST))
    throw new ShapeError(
      op,
      'an image of at most 2^28 pixels in each direction',
      `${formatShape(x)} times ${upsample}`,
    );
  const shape = convShapeOf(image, weight, { strides, paddings, dilations, groups });
  if (upsample > 1) shape.repeat = upsample;
  if (shape.outputHeight < 1 || shape.outputWidth < 1 || shape.kernelHeight * shape.kernelWidth === 0)
    throw new ShapeError(op, `a kernel that fits the image with padding ${formatShape(paddings)}`, both);
  return shape;
}
