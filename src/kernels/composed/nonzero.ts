// nonzero(), and where() with a condition alone: where the elements are that are not zero.
import { refuseExtra } from '../../arguments.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { type Operand, where as select } from '../elementwise.ts';
import { positionsCuda, positionsKernels, positionsOf, writeCoordinates } from '../inner/positions.ts';
import { apply, checkOperands, checkSameDtype, declareOp, notDifferentiable } from '../op.ts';

export const nonzeroOp = declareOp({
  name: 'nonzero',
  cpu: positionsKernels,
  cuda: positionsCuda,
  ...notDifferentiable('positions are whole numbers'),
});

/**
 * The coordinates of the elements of x that are not zero, in row-major order; NaN is not zero, -0 is.
 * @param x any dtype
 * @returns i32 [count, rank of x]
 * @throws RecordingError while work is recorded, because the shape of the result depends on the values
 * @example nonzero(tensor([[0, 7], [8, 9]])); // [[0, 1], [1, 0], [1, 1]]
 */
export function nonzero(x: Tensor): Tensor;
export function nonzero(x: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('nonzero', extra);
  const device = checkSameDtype('nonzero', [x]);
  using positions = positionsOf('nonzero', x);
  const y = allocate([positions.size, x.rank], { device, dtype: 'i32' });
  writeCoordinates(positions, x, y, { byAxis: false });
  return apply(nonzeroOp, y, { parents: [x] });
}

/**
 * The coordinates of the true elements of a condition, one list i32 [count] for each axis, as `numpy.where` and
 * `torch.where` give them with a condition alone.
 * @param condition bool
 * @throws RecordingError while work is recorded, because the shape of the result depends on the values
 * @example where(greater(tensor([[1, 5], [7, 0]]), 4)); // [[0, 1], [1, 0]]
 */
export function where(condition: Tensor): Tensor[];
/**
 * condition ? a : b, broadcast together.
 * @param condition bool
 * @param a f32, or on CUDA bf16; a number stands for a tensor, as for `b`
 * @example where(greater(tensor([-1, 2]), 0), tensor([-1, 2]), 0); // [0, 2]
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor;
export function where(condition: Tensor, ...operands: unknown[]): Tensor | Tensor[] {
  if (operands.length > 0)
    return (select as (condition: Tensor, ...operands: unknown[]) => Tensor)(condition, ...operands);
  const device = checkOperands('where', [condition], 'bool');
  using positions = positionsOf('where', condition);
  const count = positions.size;
  using all = allocate([condition.rank, count], { device, dtype: 'i32' });
  writeCoordinates(positions, condition, all, { byAxis: true });
  const coordinates = condition.shape.map((_, axis) => view(all, [count], axis * count));
  return apply(nonzeroOp, coordinates, { parents: [condition] });
}
