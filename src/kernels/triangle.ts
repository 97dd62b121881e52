// The lower and the upper triangle of matrices: the other elements become 0.
import { refuseExtra } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { dtypes } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type DiagonalOptions, offsetOf } from './inner/diagonal_options.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkSameDtype, declareOp } from './op.ts';

const signatures = { triangle_keep: 'ptr ptr i32 i32 i32 i32 i32 i32' };
const kernels = kernelModule('kernels/triangle.c', signatures);
const cudaKernels = cudaModule('kernels/triangle.cu', signatures);

/** x where column - row <= offset, or with `upper` where it is >= offset, and 0 elsewhere. */
function kept(x: Tensor, offset: number, upper: boolean): Tensor {
  const { device, dtype, size } = x;
  const y = allocate(x.shape, { device, dtype });
  if (size === 0) return y;
  const [rows, columns] = x.shape.slice(-2);
  // Offsets beyond the matrix keep everything or nothing.
  const diagonal = Math.max(-rows, Math.min(offset, columns));
  const operands = [x.address, y.address, size, rows, columns, diagonal, Number(upper), dtypes[dtype].bytes];
  if (device.kind === 'cuda') device.load(cudaKernels).triangle_keep(perElement(size), ...operands);
  else device.load(kernels).triangle_keep(...operands);
  return y;
}

function triangleOp(name: 'tril' | 'triu') {
  return declareOp<number>({
    name,
    cpu: kernels,
    cuda: cudaKernels,
    backward: ({ grad, attributes: offset }) => [kept(grad, offset, name === 'triu')],
    tangent: ({ tangents: [t], attributes: offset }) => (name === 'triu' ? triu : tril)(t as Tensor, { offset }),
  });
}

function triangle(op: ReturnType<typeof triangleOp>, x: Tensor, options: DiagonalOptions): Tensor {
  const { name } = op;
  checkSameDtype(name, [x]);
  if (x.rank < 2) throw new ShapeError(name, 'matrices [..., R, C]', formatShape(x.shape));
  const offset = offsetOf(name, options);
  return apply(op, kept(x, offset, name === 'triu'), { parents: [x], attributes: offset });
}

export const trilOp = triangleOp('tril');

/**
 * The lower triangle of each matrix: the elements on the diagonal and below it; the others are 0, even where x is NaN.
 * @param x [..., R, C] of any dtype
 * @example tril(ones([3, 3])); // [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
 */
export function tril(x: Tensor, options?: DiagonalOptions): Tensor;
export function tril(x: Tensor, options: DiagonalOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('tril', extra);
  return triangle(trilOp, x, options);
}

export const triuOp = triangleOp('triu');

/**
 * The upper triangle of each matrix: the elements on the diagonal and above it; the others are 0, even where x is NaN.
 * @param x [..., R, C] of any dtype
 * @example triu(ones([3, 3]), { offset: 1 }); // [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
 */
export function triu(x: Tensor, options?: DiagonalOptions): Tensor;
export function triu(x: Tensor, options: DiagonalOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('triu', extra);
  return triangle(triuOp, x, options);
}
