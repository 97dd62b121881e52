// Sequences as images with one row, for the functions that end in 1d.
import type { Tensor } from '../../tensor/tensor.ts';
import { reshape } from '../movement.ts';

/** [A, B, C] -> [A, 1, B, C] */
export function withRow(x: Tensor): Tensor {
  const [n, length, channels] = x.shape;
  return reshape(x, [n, 1, length, channels]);
}

/** [A, 1, B, C] -> [A, B, C] */
export function withoutRow(x: Tensor): Tensor {
  const [n, , length, channels] = x.shape;
  return reshape(x, [n, length, channels]);
}
