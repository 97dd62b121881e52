// Elements chosen by a mask of booleans.
import { checkOptions, refuseExtra } from '../../arguments.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { scope } from '../../tensor/scope.ts';
import { type AxisOptions, axisOf, axisOptions, sameShape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Operand, where } from '../elementwise.ts';
import { takeChecked } from '../indexing.ts';
import { tensorsOf } from '../inner/elementwise_kernels.ts';
import { positionsOf } from '../inner/positions.ts';
import { reshape } from '../movement.ts';
import { checkActivations, checkOperands, checkSameDevice, checkSameDtype } from '../op.ts';

/**
 * x with `value` where the mask is true.
 * @param x f32, or on CUDA bf16
 * @param mask bool, in a shape that broadcasts to x's
 * @param value a number, or a tensor of x's dtype in a shape that broadcasts to x's
 * @throws ShapeError for a mask or a value that would stretch x
 * @example maskedFill(tensor([1, 2, 3]), tensor([true, false, true], { dtype: 'bool' }), 0); // [0, 2, 0]
 */
export function maskedFill(x: Tensor, mask: Tensor, value: Operand): Tensor;
export function maskedFill(x: Tensor, mask: Tensor, value: Operand, ...extra: unknown[]): Tensor {
  refuseExtra('maskedFill', extra);
  const values = tensorsOf('maskedFill', [value]);
  checkActivations('maskedFill', [x, ...values]);
  checkOperands('maskedFill', [mask], 'bool');
  checkSameDevice('maskedFill', x, mask);
  for (const t of [mask, ...values])
    if (!stretchesTo(t, x))
      throw new ShapeError(
        'maskedFill',
        `a mask and a value that broadcast to ${formatShape(x.shape)}`,
        formatShape(t.shape),
      );
  return where(mask, value, x);
}

function stretchesTo({ shape, rank }: Tensor, x: Tensor): boolean {
  const lead = x.rank - rank;
  return lead >= 0 && shape.every((dim, axis) => dim === 1 || dim === x.shape[axis + lead]);
}

/**
 * The elements of x where the mask is true, in order: `x[mask]` of NumPy and PyTorch for axis 0.
 * @param x any dtype
 * @param mask bool, of one axis or several; its shape is that of as many axes of x from the named one on (default 0)
 * @returns x's shape with those axes replaced by one, of as many elements as are true
 * @throws RecordingError while work is recorded, because the shape of the result depends on the values
 * @example booleanMask(tensor([1, 2, 3]), tensor([true, false, true], { dtype: 'bool' })); // [1, 3]
 */
export function booleanMask(x: Tensor, mask: Tensor, options: AxisOptions = {}): Tensor {
  checkSameDtype('booleanMask', [x]);
  checkOperands('booleanMask', [mask], 'bool');
  checkSameDevice('booleanMask', x, mask);
  const given = checkOptions('booleanMask', options, axisOptions);
  const axis = x.rank === 0 ? 0 : axisOf('booleanMask', x.shape, given, 0);
  const end = axis + mask.rank;
  if (mask.rank === 0 || !sameShape(x.shape.slice(axis, end), mask.shape))
    throw new ShapeError(
      'booleanMask',
      `a mask of the shape of some axes of x from ${axis} on`,
      `${formatShape(mask.shape)} for ${formatShape(x.shape)}`,
    );
  return scope(() => {
    const merged = reshape(x, [...x.shape.slice(0, axis), sizeOf(mask.shape), ...x.shape.slice(end)]);
    return takeChecked(merged, positionsOf('booleanMask', mask), axis);
  });
}
