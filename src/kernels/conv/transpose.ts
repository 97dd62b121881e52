// Transposed convolution of [N, H, W, Cin]: the input gradient of a convolution as a function of its own. It shares the
// kernels of conv2d, whose shape here has the larger image as input.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { formatShape, ShapeError, ValueError } from '../../errors.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import { sameShape } from '../../tensor/shape.ts';
import { requireTensor, type Tensor, tensorKind } from '../../tensor/tensor.ts';
import { cast } from '../cast.ts';
import { add } from '../elementwise.ts';
import { convertDtype } from '../inner/conversion.ts';
import { requireTrained, withSavedWeight, withWeight } from '../inner/weight.ts';
import { type Extent, extentKind, extents } from '../inner/window.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, declareOp } from '../op.ts';
import { launchersOf } from './conv.ts';
import { convKernels } from './direct.ts';
import { convCuda } from './modules.ts';
import { type ConvShape, convShapeOf } from './shape.ts';

export interface ConvTranspose2dOptions {
  /** [Cout] f32 */
  bias?: Tensor;
  /** Distance of neighbouring input pixels in the output; one number or [vertical, horizontal]; default 1. */
  stride?: Extent;
  /** Rows and columns that are cut off on each side of the output; default 0. */
  padding?: Extent;
  /** Rows added at the bottom of the output and columns at its right, below the stride; default 0. */
  outputPadding?: Extent;
  /** Distance between the taps of the kernel; default 1. */
  dilation?: Extent;
  /** Divides the channels of both sides, as in conv2d; default 1. */
  groups?: number;
}

const options2d: OptionKinds<ConvTranspose2dOptions> = {
  bias: tensorKind,
  stride: extentKind,
  padding: extentKind,
  outputPadding: extentKind,
  dilation: extentKind,
  groups: kinds.int32Count,
};

export const convTranspose2dOp = declareOp<{ shape: ConvShape; weightDtype: Dtype }>({
  name: 'convTranspose2d',
  cpu: convKernels,
  cuda: convCuda,
  backward({ grad, saved: [x, weight], attributes: { shape, weightDtype }, needs }) {
    const { convForward, convWeightGradient } = launchersOf(grad.device);
    const weightGradient = () => {
      requireTrained('convTranspose2d', weightDtype, grad);
      return convertDtype(convWeightGradient(grad, x, shape, 1), weightDtype);
    };
    return [
      needs[0] ? withSavedWeight(weight, grad, (wide) => convForward(grad, wide, shape, { scale: 1 })) : null,
      needs[1] ? weightGradient() : null,
    ];
  },
  tangent({ parents: [x, weight], tangents: [tx, tWeight], attributes: { shape } }) {
    const first = tx && transposed('convTranspose2d', tx, weight as Tensor, shape);
    const second = tWeight && transposed('convTranspose2d', x as Tensor, tWeight, shape);
    return first && second ? add(first, second) : ((first ?? second) as Tensor);
  },
});

function transposed(op: string, x: Tensor, weight: Tensor, shape: ConvShape): Tensor {
  return withWeight(op, weight, x, (prepared, kept) => {
    const y = launchersOf(x.device).convInputGradient(x, prepared, shape, 1);
    const attributes = { shape, weightDtype: weight.dtype };
    return apply(convTranspose2dOp, y, { parents: [x, weight], saved: [x, kept], attributes });
  });
}

/**
 * The transposed convolution, or "deconvolution": each pixel of x adds its channels times the kernel to the output, at
 * `stride` times its position. It is the gradient of conv2d with respect to its image, for a convolution with the same
 * weight and options. For bf16 tensors the bias is rounded to bf16 and added to the rounded sum.
 * @param x [N, H, W, Cin], f32, or on CUDA bf16; H and W at least 1
 * @param weight [Cin, kh, kw, Cout / groups], of x's dtype, or f32 (PyTorch: [Cin, Cout / groups, kh, kw])
 * @returns [N, H', W', Cout], H' = (H - 1) stride - 2 padding + dilation (kh - 1) + outputPadding + 1
 * @throws ValueError for an outputPadding that is not below the stride
 * @example convTranspose2d(ones([1, 4, 4, 8]), ones([8, 2, 2, 3]), { stride: 2 }).shape; // [1, 8, 8, 3]
 */
export function convTranspose2d(x: Tensor, weight: Tensor, options: ConvTranspose2dOptions = {}): Tensor {
  requireTensor('convTranspose2d', x);
  requireTensor('convTranspose2d', weight, 'a weight tensor');
  return transposedConvolution('convTranspose2d', x, weight, checkOptions('convTranspose2d', options, options2d));
}

/** convTranspose2d of checked options, under the name of another function in messages. */
export function transposedConvolution(op: string, x: Tensor, weight: Tensor, checked: ConvTranspose2dOptions): Tensor {
  const { bias } = checked;
  checkActivations(op, [x]);
  if (bias) {
    checkOperands(op, [bias]);
    checkSameDevice(op, x, bias);
  }
  const shape = shapeOf(op, x, weight, checked);
  if (bias && !sameShape(bias.shape, [shape.channels]))
    throw new ShapeError(op, `a bias ${formatShape([shape.channels])}`, formatShape(bias.shape));
  if (!bias) return transposed(op, x, weight, shape);
  using y = transposed(op, x, weight, shape);
  using added = cast(bias, y.dtype);
  return add(y, added);
}

/** The convolution whose input gradient this is: its outputs are x. */
function shapeOf(op: string, x: Tensor, weight: Tensor, options: ConvTranspose2dOptions): ConvShape {
  const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1 } = options;
  const both = `${formatShape(x.shape)} and ${formatShape(weight.shape)}`;
  const [batch, height, width, inputs] = x.shape;
  const fits = x.rank === 4 && weight.rank === 4 && weight.shape[0] === inputs && height > 0 && width > 0;
  if (!fits || inputs % groups !== 0)
    throw new ShapeError(
      op,
      `non-empty images x [N, H, W, Cin] and a weight [Cin, kh, kw, Cout${groups === 1 ? '' : ` / ${groups}`}]`,
      both,
    );
  const strides = extents(op, 'stride', stride, 1);
  const paddings = extents(op, 'padding', padding, 0);
  const added = extents(op, 'outputPadding', outputPadding, 0);
  const dilations = extents(op, 'dilation', dilation, 1);
  if (added.some((rows, axis) => rows >= strides[axis]))
    throw new ValueError(`[${op}] expected an outputPadding below the stride, got ${added} and ${strides}`);
  const [, kernelHeight, kernelWidth, outputs] = weight.shape;
  const kernel = [kernelHeight, kernelWidth];
  const image = [height, width].map(
    (extent, axis) =>
      (extent - 1) * strides[axis] - 2 * paddings[axis] + dilations[axis] * (kernel[axis] - 1) + added[axis] + 1,
  );
  if (image.some((extent) => extent < 1) || kernelHeight * kernelWidth === 0)
    throw new ShapeError(op, `an output of at least one pixel with padding ${formatShape(paddings)}`, both);
  const steps = { strides, paddings, dilations, groups };
  return convShapeOf([batch, ...image, outputs * groups], weight.shape, steps);
}
