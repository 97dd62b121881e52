// What a convolution is to its launch code.
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Algorithm } from './algorithm.ts';

export interface Geometry {
  /** [N, H', W', Cout] */
  out: Shape;
  /** N, H, W, Cin, H', W', Cout, kh, kw, and stride and padding, vertical first: as the kernels read it. */
  table: readonly number[];
  /** On the CPU, in the place of the one that algorithm.ts chooses: to time it, to test it. */
  algorithm?: Algorithm;
}

/** What follows the sum in the same pass: y = scale (conv(x, w) + bias + add + residual). */
export interface Epilogue {
  bias?: Tensor;
  add?: Tensor;
  residual?: Tensor;
  scale: number;
}
