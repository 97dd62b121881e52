// roll(): elements move along axes, and those beyond the end return at the beginning.
import { refuseExtra, wholeNumbers } from '../../arguments.ts';
import { ArgumentError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import { stridesOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { copyStrided, movementCuda, movementKernels } from '../inner/strided.ts';
import { reshape } from '../movement.ts';
import { apply, checkSameDtype, declareOp } from '../op.ts';
import { type AxesOptions, axesOf } from './shapes.ts';

/** The shift of one axis, from 1 to its extent - 1. */
export interface Shift {
  axis: number;
  by: number;
}

/** Each piece of the result is one copy; n axes cut it into 2^n pieces, so more axes take several passes. */
const MOST_AXES_AT_ONCE = 3;

function rolled(x: Tensor, shifts: readonly Shift[]): Tensor {
  if (shifts.length > MOST_AXES_AT_ONCE) {
    using half = rolled(x, shifts.slice(MOST_AXES_AT_ONCE));
    return rolled(half, shifts.slice(0, MOST_AXES_AT_ONCE));
  }
  const y = allocate(x.shape, { device: x.device, dtype: x.dtype });
  const strides = stridesOf(x.shape);
  for (let piece = 0; piece < 2 ** shifts.length; piece++) {
    const dims = [...x.shape];
    let [from, to] = [0, 0];
    shifts.forEach(({ axis, by }, i) => {
      // The elements before the cut move up by the shift, those behind it come to the beginning.
      const cut = x.shape[axis] - by;
      const behind = (piece >> i) & 1;
      dims[axis] = behind ? by : cut;
      from += behind ? cut * strides[axis] : 0;
      to += behind ? 0 : by * strides[axis];
    });
    copyStrided(dims, { tensor: x, offset: from, strides }, { tensor: y, offset: to, strides });
  }
  return y;
}

export const rollOp = declareOp<readonly Shift[]>({
  name: 'roll',
  cpu: movementKernels,
  cuda: movementCuda,
  backward: ({ grad, attributes: shifts }) => [
    rolled(
      grad,
      shifts.map(({ axis, by }) => ({ axis, by: grad.shape[axis] - by })),
    ),
  ],
  tangent: ({ tangents: [t], attributes: shifts }) => rollBy(t as Tensor, shifts),
});

function rollBy(x: Tensor, shifts: readonly Shift[]): Tensor {
  return apply(rollOp, rolled(x, shifts), { parents: [x], attributes: shifts });
}

/**
 * Moves the elements along axes, in a circle: y[(i + shift) mod extent] = x[i].
 * @param shifts one whole number for each axis, or one for all of them; a negative one moves towards the beginning
 * @param options.axes default: x is flattened, rolled and given its shape again
 * @example
 * roll(tensor([1, 2, 3, 4]), 1); // [4, 1, 2, 3]
 * roll(tensor([[1, 2], [3, 4]]), [0, 1], { axes: [0, 1] }); // [[2, 1], [4, 3]]
 */
export function roll(x: Tensor, shifts: number | readonly number[], options?: AxesOptions): Tensor;
export function roll(
  x: Tensor,
  shifts: number | readonly number[],
  options: AxesOptions = {},
  ...extra: unknown[]
): Tensor {
  refuseExtra('roll', extra);
  checkSameDtype('roll', [x]);
  const list = wholeNumbers('roll', 'shifts', typeof shifts === 'number' ? [shifts] : shifts);
  const axes = axesOf('roll', x.shape, options);
  if (!axes) {
    using flat = reshape(x, [x.size]);
    using moved = rollAxes(flat, list, [0]);
    return reshape(moved, x.shape);
  }
  return rollAxes(x, list, axes);
}

function rollAxes(x: Tensor, shifts: readonly number[], axes: readonly number[]): Tensor {
  if (shifts.length !== axes.length && shifts.length !== 1)
    throw new ArgumentError('roll', 'a shift for each axis', `${shifts.length} shifts for ${axes.length} axes`);
  const moves = axes.flatMap((axis, i) => {
    const extent = x.shape[axis];
    const by = (((shifts[i] ?? shifts[0]) % extent) + extent) % extent;
    return by > 0 ? [{ axis, by }] : [];
  });
  return moves.length === 0 ? reshape(x, x.shape) : rollBy(x, moves);
}
