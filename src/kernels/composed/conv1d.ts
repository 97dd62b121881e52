// Convolutions of sequences [N, L, C]: those of images with one row.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { scope } from '../../tensor/scope.ts';
import { requireTensor, type Tensor, tensorKind } from '../../tensor/tensor.ts';
import { convolution } from '../conv/conv.ts';
import { transposedConvolution } from '../conv/transpose.ts';
import { checkActivations, checkOperands } from '../op.ts';
import { withoutRow, withRow } from './rows.ts';

export interface Conv1dOptions {
  /** [Cout] f32 */
  bias?: Tensor;
  /** Default 1. */
  stride?: number;
  /** Zeros on each side; default 0. */
  padding?: number;
  /** Distance between the taps of the kernel; default 1. */
  dilation?: number;
  /** Divides the channels of both sides, as in conv2d; default 1. */
  groups?: number;
}

const conv1dOptions: OptionKinds<Conv1dOptions> = {
  bias: tensorKind,
  stride: kinds.number,
  padding: kinds.number,
  dilation: kinds.number,
  groups: kinds.int32Count,
};

/**
 * The convolution of sequences.
 * @param x [N, L, Cin], f32, or on CUDA bf16
 * @param weight [Cout, k, Cin / groups], of x's dtype, or f32
 * @returns [N, L', Cout], L' = floor((L + 2 padding - dilation (k - 1) - 1) / stride) + 1
 * @example conv1d(tensor([[[1], [2], [3]]]), tensor([[[1], [1]]])); // [[[3], [5]]]
 */
export function conv1d(x: Tensor, weight: Tensor, options: Conv1dOptions = {}): Tensor {
  checkSequences('conv1d', x, weight);
  const { stride = 1, padding = 0, dilation = 1, groups = 1, bias } = checkOptions('conv1d', options, conv1dOptions);
  if (x.rank !== 3 || weight.rank !== 3 || x.shape[2] !== weight.shape[2] * groups)
    throw new ShapeError(
      'conv1d',
      `x [N, L, Cin] and a weight [Cout, k, Cin${groups === 1 ? '' : ` / ${groups}`}]`,
      `${formatShape(x.shape)} and ${formatShape(weight.shape)}`,
    );
  const window = { stride: [1, stride], padding: [0, padding], dilation: [1, dilation] } as const;
  return scope(() => withoutRow(convolution('conv1d', withRow(x), withRow(weight), { ...window, bias, groups })));
}

export interface ConvTranspose1dOptions extends Conv1dOptions {
  /** Elements that are cut off on each side of the output; default 0. */
  padding?: number;
  /** Elements added at the end of the output, below the stride; default 0. */
  outputPadding?: number;
}

const convTranspose1dOptions: OptionKinds<ConvTranspose1dOptions> = { ...conv1dOptions, outputPadding: kinds.number };

/**
 * The transposed convolution of sequences: see convTranspose2d.
 * @param x [N, L, Cin], f32, or on CUDA bf16; L at least 1
 * @param weight [Cin, k, Cout / groups], of x's dtype, or f32
 * @returns [N, L', Cout], L' = (L - 1) stride - 2 padding + dilation (k - 1) + outputPadding + 1
 * @example convTranspose1d(tensor([[[1], [2]]]), ones([1, 2, 1]), { stride: 2 }); // [[[1], [1], [2], [2]]]
 */
export function convTranspose1d(x: Tensor, weight: Tensor, options: ConvTranspose1dOptions = {}): Tensor {
  checkSequences('convTranspose1d', x, weight);
  const checked = checkOptions('convTranspose1d', options, convTranspose1dOptions);
  const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1, bias } = checked;
  if (x.rank !== 3 || weight.rank !== 3 || x.shape[2] !== weight.shape[0])
    throw new ShapeError(
      'convTranspose1d',
      `x [N, L, Cin] and a weight [Cin, k, Cout${groups === 1 ? '' : ` / ${groups}`}]`,
      `${formatShape(x.shape)} and ${formatShape(weight.shape)}`,
    );
  const window = { stride: [1, stride], padding: [0, padding], dilation: [1, dilation] } as const;
  const all = { ...window, outputPadding: [0, outputPadding], bias, groups } as const;
  return scope(() => withoutRow(transposedConvolution('convTranspose1d', withRow(x), withRow(weight), all)));
}

function checkSequences(op: string, x: Tensor, weight: Tensor): void {
  checkActivations(op, [x]);
  requireTensor(op, weight, 'a weight tensor');
  checkOperands(op, [weight], weight.dtype);
}
