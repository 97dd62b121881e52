// The median, written in ops: the element in the middle of the sorted ones.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { scope } from '../../tensor/scope.ts';
import { type AxisOptions, axisOf, axisOptions } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { notEqual, where } from '../elementwise.ts';
import { reshape, slice } from '../movement.ts';
import { checkOperands } from '../op.ts';
import { sort } from '../sort.ts';

export interface MedianOptions extends AxisOptions {
  /** Keep the reduced axes with extent 1. */
  keepDims?: boolean;
}

const medianOptions: OptionKinds<MedianOptions> = { ...axisOptions, keepDims: kinds.boolean };

/**
 * The median along an axis, or of all elements if none is given. For an even number of elements it is the lower one of
 * the two in the middle, as in `torch.median` (NumPy takes their mean). The gradient goes to that element. The result is
 * NaN if any element is NaN.
 * @param x f32
 * @throws ShapeError if there are no elements, or for an axis that does not exist
 * @example median(tensor([3, 1, 2])); // 2
 */
export function median(x: Tensor, options: MedianOptions = {}): Tensor {
  checkOperands('median', [x]);
  const { keepDims = false, ...rest } = checkOptions('median', options, medianOptions);
  const all = rest.axis === undefined && rest.axes === undefined;
  const axis = all ? 0 : axisOf('median', x.shape, rest);
  const reduced = (_: number, a: number) => all || a === axis;
  const shape = keepDims
    ? x.shape.map((dim, a) => (reduced(dim, a) ? 1 : dim))
    : x.shape.filter((dim, a) => !reduced(dim, a));
  const count = all ? x.size : x.shape[axis];
  if (count === 0) throw new ShapeError('median', 'at least one element along the reduced axes', formatShape(x.shape));
  return scope(() => {
    const { values } = sort(all ? reshape(x, [x.size]) : x, { axis });
    const at = (place: number) => {
      const along = (other: (dim: number) => number, own: number) =>
        values.shape.map((dim, a) => (a === axis ? own : other(dim)));
      return slice(
        values,
        along(() => 0, place),
        along((dim) => dim, place + 1),
      );
    };
    // NaN comes last.
    const last = at(count - 1);
    return reshape(where(notEqual(last, last), last, at(Math.floor((count - 1) / 2))), shape);
  });
}
