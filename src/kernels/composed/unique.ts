// The distinct elements of a tensor: sorted on the device, then compared by the host, since their number is needed there.
import { refuseExtra } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import type { HostArray } from '../../device/device.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { readBack } from '../inner/read_back.ts';
import { reshape } from '../movement.ts';
import { apply, declareOp, notDifferentiable } from '../op.ts';
import { checkSortable, sort, sortCuda, sortKernels } from '../sort.ts';

export const uniqueOp = declareOp({
  name: 'unique',
  cpu: sortKernels,
  cuda: sortCuda,
  ...notDifferentiable('which elements are distinct is piecewise constant'),
});

export interface Unique {
  /** The distinct elements in ascending order, [distinct]. */
  values: Tensor;
  /** For each element of x its position in `values`; i32 in the shape of x. */
  inverse: Tensor;
  /** How often each of `values` occurs; i32 [distinct]. */
  counts: Tensor;
}

/**
 * The distinct elements of x, not slices along an axis. All NaN count as one element, which comes last, as in NumPy
 * (PyTorch keeps each), and -0 equals 0. The call reads the elements back, since the shape of its results depends on
 * them, and so it cannot be recorded.
 * @param x f32 or i32 of any shape
 * @throws RecordingError while work is recorded; DtypeError for another dtype
 * @example unique(tensor([3, 1, 3, 2])); // { values: [1, 2, 3], inverse: [2, 0, 2, 1], counts: [1, 1, 2] }
 */
export function unique(x: Tensor): Unique;
export function unique(x: Tensor, ...extra: unknown[]): Unique {
  refuseExtra('unique', extra);
  checkSortable('unique', x);
  const { device, dtype } = x;
  const [sorted, order] = scope(() => {
    const { values, indices } = noGrad(() => sort(reshape(x, [x.size])));
    const read = () => [values.dataSync(), indices.dataSync()];
    return readBack('unique', 'the shape of its result depends on the values', read);
  });
  const { first, counts, inverse } = groupsOf(sorted, order);
  const whole = { device, dtype: 'i32' } as const;
  const distinct = sorted.filter((_, i) => first[i] === 1);
  const results = [
    tensor(distinct, { device, dtype }),
    tensor(inverse, { ...whole, shape: x.shape }),
    tensor(counts, whole),
  ];
  const [values, places, numbers] = results.map((t) => apply(uniqueOp, t, { parents: [x] }));
  return { values, inverse: places, counts: numbers };
}

/** Which of the sorted elements begin a group of equal ones, how many each group has, and the group of each element. */
function groupsOf(sorted: HostArray, order: HostArray): { first: Uint8Array; counts: Int32Array; inverse: Int32Array } {
  const first = new Uint8Array(sorted.length);
  const counts = new Int32Array(sorted.length);
  const inverse = new Int32Array(sorted.length);
  let group = -1;
  sorted.forEach((value, i) => {
    const before = sorted[i - 1];
    const same = i > 0 && (value === before || (Number.isNaN(value) && Number.isNaN(before)));
    if (!same) first[i] = 1;
    group += first[i];
    counts[group]++;
    inverse[order[i]] = group;
  });
  return { first, counts: counts.subarray(0, group + 1), inverse };
}
