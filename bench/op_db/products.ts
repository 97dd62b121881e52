// The rows of op_db/mapping.ts for matrix products. matmul takes matrices; a vector is given as one row or one column.
import type { Tensor } from '../../src/index.ts';
import * as ops from '../../src/index.ts';
import { argument, type Run } from './sample.ts';

function matmul(a: Tensor, b: Tensor): Tensor {
  if (a.rank === 1 && b.rank === 1) return ops.dot(a, b);
  const product = ops.matmul(a.rank === 1 ? ops.unsqueeze(a, 0) : a, b.rank === 1 ? ops.unsqueeze(b, 1) : b);
  if (a.rank === 1) return ops.squeeze(product, { axes: -2 });
  return b.rank === 1 ? ops.squeeze(product, { axes: -1 }) : product;
}

const product: Run = ({ input, args }) => matmul(input as Tensor, args[0] as Tensor);

export const productRows: Record<string, Run> = {
  __rmatmul__: ({ input, args }) => matmul(args[0] as Tensor, input as Tensor),
  bmm: product,
  inner: ({ input, args }) => {
    const [a, b] = [input as Tensor, args[0] as Tensor];
    return a.rank === 0 || b.rank === 0 ? ops.mul(a, b) : ops.tensordot(a, b, [-1, -1]);
  },
  matmul: product,
  mm: product,
  mv: product,
  'nn.functional.linear': (sample) => {
    const x = sample.input as Tensor;
    const weight = argument(sample, 0, 'weight', undefined as unknown as Tensor);
    const bias = argument<Tensor | undefined>(sample, 1, 'bias', undefined);
    const rows = x.rank === 1 ? ops.unsqueeze(x, 0) : x;
    const y = ops.matmul(rows, weight, { transposeB: true, bias });
    return x.rank === 1 ? ops.squeeze(y, { axes: 0 }) : y;
  },
  vdot: product,
};
