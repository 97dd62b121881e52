// Pooling of sequences [N, L, C], which are images with one row, and of whole images.
import { checkOptions, kinds, type OptionKinds, refuseExtra } from '../../arguments.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkActivations, checkOperands } from '../op.ts';
import { averages, maxima, type PoolShape, prepare } from '../pooling.ts';
import { mean } from '../reduce.ts';
import { withoutRow, withRow } from './rows.ts';

export interface Pool1dOptions {
  /** Length of the window. */
  kernel: number;
  /** Default: the kernel, so that windows do not overlap. */
  stride?: number;
  /** Padding on each side, at most half the kernel; default 0. */
  padding?: number;
}

export interface AveragePool1dOptions extends Pool1dOptions {
  /** Whether the mean counts the padding as zeros; default true, as in PyTorch. */
  countIncludePad?: boolean;
}

const pool1dOptions: OptionKinds<Pool1dOptions> = {
  kernel: kinds.number,
  stride: kinds.number,
  padding: kinds.number,
};

/**
 * The maximum of every window of sequences: see maxPool2d.
 * @param x [N, L, C]
 * @returns [N, L', C], L' = floor((L + 2 padding - kernel) / stride) + 1
 * @example maxPool1d(tensor([[[1], [3], [5], [7]]]), { kernel: 2, stride: 2 }); // [[[3], [7]]]
 */
export function maxPool1d(x: Tensor, options: Pool1dOptions): Tensor {
  const checked = checkOptions('maxPool1d', options, pool1dOptions, ['kernel']);
  return onRow('maxPool1d', x, checked, true, maxima);
}

/**
 * The mean of every window of sequences: see averagePool2d.
 * @param x [N, L, C]
 * @returns [N, L', C], L' = floor((L + 2 padding - kernel) / stride) + 1
 * @example averagePool1d(tensor([[[1], [3], [5], [7]]]), { kernel: 2, stride: 2 }); // [[[2], [6]]]
 */
export function averagePool1d(x: Tensor, options: AveragePool1dOptions): Tensor {
  const known: OptionKinds<AveragePool1dOptions> = { ...pool1dOptions, countIncludePad: kinds.boolean };
  const { countIncludePad = true, ...window } = checkOptions('averagePool1d', options, known, ['kernel']);
  return onRow('averagePool1d', x, window, countIncludePad, averages);
}

function onRow(
  op: string,
  x: Tensor,
  { kernel, stride = kernel, padding = 0 }: Pool1dOptions,
  withBorder: boolean,
  pool: (x: Tensor, shape: PoolShape) => Tensor,
): Tensor {
  checkOperands(op, [x]);
  if (x.rank !== 3) throw new ShapeError(op, 'sequences [N, L, C]', formatShape(x.shape));
  const window = { kernel: [1, kernel], stride: [1, stride], padding: [0, padding] } as const;
  return scope(() => {
    const image = withRow(x);
    return withoutRow(pool(image, prepare(op, image, window, withBorder)));
  });
}

/**
 * The mean over all pixels of each image.
 * @param x [N, H, W, C], f32, or on CUDA bf16; NaN if there are no pixels
 * @returns [N, C]
 * @example globalAveragePool2d(reshape(arange(0, 8), [1, 2, 2, 2])); // [[3, 4]]
 */
export function globalAveragePool2d(x: Tensor): Tensor;
export function globalAveragePool2d(x: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('globalAveragePool2d', extra);
  checkActivations('globalAveragePool2d', [x]);
  if (x.rank !== 4) throw new ShapeError('globalAveragePool2d', 'images [N, H, W, C]', formatShape(x.shape));
  return mean(x, { axes: [1, 2] });
}
