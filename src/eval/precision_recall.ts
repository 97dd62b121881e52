// Precision and recall of samples: precision is the share of samples in the manifold of the real images, recall the
// share of real images in the manifold of the samples.
//
// The manifold of a set is the union of balls around its members, each reaching to the member's k-th nearest neighbour.
// Source: Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models (2019).
//
// Distances are |x|^2 + |y|^2 - 2 x . y, computed for blocks of rows, so that the matrix of all pairs is never in
// memory. The sums of a pair have the same bits in either order, so that a distance equals the radius derived from it.
import { checkOptions, kinds } from '../arguments.ts';
import { checkPair, type FeatureRows, rowsAsFloat64 } from './features.ts';
import { addProductOfRows, squaredLengths } from './matrix.ts';

const BLOCK_ROWS = 512;

export interface PrecisionRecall {
  precision: number;
  recall: number;
}

/**
 * Precision and recall of `fake` with respect to `real`: the share of samples within the manifold of the data, and of data within
 * that of the samples, by the distances to the k-th neighbours. Source: Kynkaanniemi et al., Improved Precision and Recall Metric (2019).
 * @param options.neighbours k; default 3, as in the paper
 * @throws ValueError for sets of k or fewer rows or non-finite values
 * @example
 * const points = (seed) => ({ values: samplePoints('two_moons', 200, seed), rows: 200, columns: 2 });
 * const { precision, recall } = precisionRecall(points(1), points(2));
 * precision > 0.9 && recall > 0.9; // true
 * precisionRecall(points(1), points(1)); // { precision: 1, recall: 1 }
 */
export function precisionRecall(
  real: FeatureRows,
  fake: FeatureRows,
  options: { neighbours?: number } = {},
): PrecisionRecall {
  const { neighbours = 3 } = checkOptions<{ neighbours?: number }>('precisionRecall', options, {
    neighbours: kinds.count,
  });
  checkPair(real, fake, neighbours + 1);
  const [x, y] = [pointsOf(real), pointsOf(fake)];
  const [ofReal, ofFake] = [squaredRadii(x, neighbours), squaredRadii(y, neighbours)];
  const realInside = new Uint8Array(x.rows);
  const fakeInside = new Uint8Array(y.rows);
  forEachPair(x, y, false, (i, j, distance) => {
    if (distance <= ofReal[i]) fakeInside[j] = 1;
    if (distance <= ofFake[j]) realInside[i] = 1;
  });
  const share = (inside: Uint8Array) => inside.reduce((sum, one) => sum + one, 0) / inside.length;
  return { precision: share(fakeInside), recall: share(realInside) };
}

interface Points {
  values: Float64Array;
  squares: Float64Array;
  rows: number;
  columns: number;
}

function pointsOf(features: FeatureRows): Points {
  const { rows, columns } = features;
  const values = rowsAsFloat64(features, 0, rows);
  return { values, squares: squaredLengths(values, rows, columns), rows, columns };
}

/** The squared distance of each point to its k-th nearest neighbour. */
function squaredRadii(x: Points, k: number): Float64Array {
  // The k smallest distances of each point, in ascending order.
  const nearest = new Float64Array(x.rows * k).fill(Number.POSITIVE_INFINITY);
  const insert = (point: number, distance: number) => {
    let at = point * k + k - 1;
    if (distance >= nearest[at]) return;
    for (; at > point * k && nearest[at - 1] > distance; at--) nearest[at] = nearest[at - 1];
    nearest[at] = distance;
  };
  forEachPair(x, x, true, (i, j, distance) => {
    insert(i, distance);
    insert(j, distance);
  });
  return Float64Array.from({ length: x.rows }, (_, point) => nearest[point * k + k - 1]);
}

/**
 * Calls `visit` with the squared distance of each pair. With `within`, x and y are one set and each pair is visited
 * once.
 */
function forEachPair(
  x: Points,
  y: Points,
  within: boolean,
  visit: (i: number, j: number, distance: number) => void,
): void {
  const { columns } = x;
  const rowsOf = (points: Points, start: number) =>
    points.values.subarray(start * columns, Math.min(start + BLOCK_ROWS, points.rows) * columns);
  for (let top = 0; top < x.rows; top += BLOCK_ROWS)
    for (let left = 0; left < (within ? top + 1 : y.rows); left += BLOCK_ROWS) {
      const [m, n] = [Math.min(BLOCK_ROWS, x.rows - top), Math.min(BLOCK_ROWS, y.rows - left)];
      const products = new Float64Array(m * n);
      addProductOfRows(rowsOf(x, top), rowsOf(y, left), products, { m, n, k: columns });
      for (let i = 0; i < m; i++)
        for (let j = 0; j < (within && left === top ? i : n); j++) {
          const distance = x.squares[top + i] + y.squares[left + j] - 2 * products[i * n + j];
          visit(top + i, left + j, Math.max(distance, 0));
        }
    }
}
