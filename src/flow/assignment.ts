// The optimal assignment between two clouds of points: the permutation a of least mean c(x1_a(i) - x0_i), c = |.|^p. It is the optimal
// transport between the two clouds, and the least cost that any coupling of them can have.
//
// Shortest augmenting paths with reductions (Jonker, Volgenant, A shortest augmenting path algorithm for dense and sparse linear
// assignment problems, Computing 38, 1987): prices v of the columns such that each row's assigned column is cheapest after prices.
import { checkArgument, checkOptions, kind, kinds, type OptionKinds, refuseExtra } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { hostPairs } from './host_points.ts';
import { atOnce, type Pieces } from './pieces.ts';

/** The most points that `optimalAssignment` takes: its table of costs has their square. */
export const MOST_ASSIGNED = 2000;

export interface TransportCostOptions {
  /** p of the cost |x1 - x0|^p; default 2. */
  power?: number;
  /** How many numbers a point has; default 2. */
  dim?: number;
}

export interface Assignment {
  /** For each point of x0 the number of its point of x1. */
  partner: Int32Array;
  /** Mean of |x1 - x0|^p over the pairs. */
  cost: number;
}

export const transportCostOptions: OptionKinds<TransportCostOptions> = {
  power: kind('a finite number >= 1, with which the cost is convex', (v) => Number.isFinite(v) && (v as number) >= 1),
  dim: kinds.count,
};

/**
 * The permutation of least transport cost between two clouds, exact up to rounding. It takes milliseconds for 300 points, and about a
 * second for 2,000.
 * Source: Jonker, Volgenant, A shortest augmenting path algorithm (1987).
 * @param x0 at most 2,000 points, one after the other
 * @param x1 as many points
 * @throws ValueError for more points, for clouds of different sizes, and for numbers that are not finite
 * @example
 * const { partner, cost } = optimalAssignment([0, 0, 5, 0], [5, 1, 0, 1]);
 * Array.from(partner); // [1, 0]
 * cost; // 1
 */
export function optimalAssignment(
  x0: ArrayLike<number>,
  x1: ArrayLike<number>,
  options: TransportCostOptions = {},
): Assignment {
  return atOnce(assignmentInPieces(x0, x1, options));
}

/** `optimalAssignment` in pieces. */
export function* assignmentInPieces(
  x0: ArrayLike<number>,
  x1: ArrayLike<number>,
  options: TransportCostOptions = {},
): Pieces<Assignment> {
  const { power = 2, dim = 2 } = checkOptions('optimalAssignment', options, transportCostOptions);
  const [from, to] = hostPairs('optimalAssignment', x0, x1, dim);
  const n = from.length / dim;
  if (n > MOST_ASSIGNED)
    throw new ValueError(
      `[optimalAssignment] expected at most ${MOST_ASSIGNED} points, got ${n}; assign a part of them`,
    );
  const costs = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) costs[i * n + j] = costOf(from, i, to, j, dim, power);
  const partner = yield* assign(costs, n);
  let cost = 0;
  for (let i = 0; i < n; i++) cost += costs[i * n + partner[i]];
  return { partner, cost: cost / n };
}

/**
 * The transport cost of pairs, the mean of |x1 - x0|^p.
 * @param x0 points, one after the other
 * @param x1 as many points
 * @throws ValueError for clouds of different sizes, and for numbers that are not finite
 * @example
 * transportCost([0, 0, 1, 1], [3, 4, 1, 1]); // 12.5
 * transportCost([0, 0, 1, 1], [3, 4, 1, 1], { power: 1 }); // 2.5
 */
export function transportCost(
  x0: ArrayLike<number>,
  x1: ArrayLike<number>,
  options: TransportCostOptions = {},
): number {
  const { power = 2, dim = 2 } = checkOptions('transportCost', options, transportCostOptions);
  const [from, to] = hostPairs('transportCost', x0, x1, dim);
  const n = from.length / dim;
  let total = 0;
  for (let i = 0; i < n; i++) total += costOf(from, i, to, i, dim, power);
  return total / n;
}

/** |to_j - from_i|^power. */
function costOf(from: Float64Array, i: number, to: Float64Array, j: number, dim: number, power: number): number {
  let square = 0;
  for (let k = 0; k < dim; k++) {
    const difference = to[j * dim + k] - from[i * dim + k];
    square += difference * difference;
  }
  return power === 2 ? square : square ** (power / 2);
}

/** Lines that cross, and pairs that could swap partners at a gain. */
export interface Crossings {
  /** How many of the pairs of lines cross in the plane. */
  crossings: number;
  /**
   * How many pairs of lines would cost less with their ends swapped, at cost |.|^2: 0 for an optimal assignment, which may still have lines
   * that cross at different times.
   */
  swaps: number;
  /** Pairs of lines that were compared, n (n - 1) / 2. */
  compared: number;
}

const MOST_LINES = 10_000;

/**
 * Counts crossings among the lines from x0 to x1 of a coupling in the plane. A flow's paths cannot cross at one time, so a coupling with
 * crossing lines is one that its flow must change (Liu, Gong, Liu 2023, figure 2).
 * @param x0 at most 10,000 points [x, y], one after the other
 * @param x1 as many points
 * @throws ValueError for more points, for clouds of different sizes, and for numbers that are not finite
 * @example
 * countCrossings([0, 0, 2, 0], [2, 2, 0, 2]); // { crossings: 1, swaps: 1, compared: 1 }
 * countCrossings([0, 0, 2, 0], [0, 2, 2, 2]); // { crossings: 0, swaps: 0, compared: 1 }
 */
export function countCrossings(x0: ArrayLike<number>, x1: ArrayLike<number>): Crossings;
export function countCrossings(x0: ArrayLike<number>, x1: ArrayLike<number>, ...extra: unknown[]): Crossings {
  refuseExtra('countCrossings', extra);
  const [a, b] = hostPairs('countCrossings', x0, x1, 2);
  const n = a.length / 2;
  checkArgument('countCrossings', 'the number of lines', n, mostLines);
  let [crossings, swaps] = [0, 0];
  for (let i = 0; i < 2 * n; i += 2)
    for (let j = i + 2; j < 2 * n; j += 2) {
      if ((a[i] - a[j]) * (b[i] - b[j]) + (a[i + 1] - a[j + 1]) * (b[i + 1] - b[j + 1]) < 0) swaps++;
      if (side(a, i, b, i, a, j) * side(a, i, b, i, b, j) < 0 && side(a, j, b, j, a, i) * side(a, j, b, j, b, i) < 0)
        crossings++;
    }
  return { crossings, swaps, compared: (n * (n - 1)) / 2 };
}

const mostLines = kind(`at most ${MOST_LINES}`, (v) => (v as number) <= MOST_LINES);

/** On which side of the line from p to q the point r lies: positive, negative, or 0 on the line. */
function side(p: Float64Array, i: number, q: Float64Array, j: number, r: Float64Array, k: number): number {
  return (q[j] - p[i]) * (r[k + 1] - p[i + 1]) - (q[j + 1] - p[i + 1]) * (r[k] - p[i]);
}

/** Rows of the table that are read between two pieces. */
const ROWS_A_PIECE = 64;

/** The columns of the rows of least total cost. @param costs [n, n] */
function* assign(costs: Float64Array, n: number): Pieces<Int32Array> {
  const columnOf = new Int32Array(n).fill(-1);
  const rowOf = new Int32Array(n).fill(-1);
  const price = new Float64Array(n);
  let free = reduceColumns(costs, n, columnOf, rowOf, price);
  yield;
  for (let pass = 0; pass < 2 && free.length > 0; pass++) {
    free = reduceRows(costs, n, columnOf, rowOf, price, free);
    yield;
  }
  let read = 0;
  for (const row of free) {
    read += augment(costs, n, columnOf, rowOf, price, row);
    if (read < ROWS_A_PIECE) continue;
    read = 0;
    yield;
  }
  return columnOf;
}

/** Gives each column to its cheapest row, the first time to each row, and lowers prices of uncontested columns. @returns free rows */
function reduceColumns(
  costs: Float64Array,
  n: number,
  columnOf: Int32Array,
  rowOf: Int32Array,
  price: Float64Array,
): number[] {
  const won = new Int32Array(n);
  for (let j = n - 1; j >= 0; j--) {
    let row = 0;
    for (let i = 1; i < n; i++) if (costs[i * n + j] < costs[row * n + j]) row = i;
    price[j] = costs[row * n + j];
    if (won[row]++ > 0) continue;
    columnOf[row] = j;
    rowOf[j] = row;
  }
  const free: number[] = [];
  for (let i = 0; i < n; i++) {
    if (won[i] === 0) free.push(i);
    if (won[i] !== 1) continue;
    let least = Number.POSITIVE_INFINITY;
    for (let j = 0; j < n; j++) if (j !== columnOf[i]) least = Math.min(least, costs[i * n + j] - price[j]);
    if (Number.isFinite(least)) price[columnOf[i]] -= least;
  }
  return free;
}

/** Gives each free row its cheapest column at the price of the second cheapest. @returns rows that are still free */
function reduceRows(
  costs: Float64Array,
  n: number,
  columnOf: Int32Array,
  rowOf: Int32Array,
  price: Float64Array,
  rows: readonly number[],
): number[] {
  const waiting = [...rows].reverse();
  const free: number[] = [];
  // Rows may outbid each other by ever less; the augmenting paths take those that are left.
  for (let bids = 0; waiting.length > 0; bids++) {
    const row = waiting.pop() as number;
    let [first, second] = [-1, -1];
    let [best, next] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let j = 0; j < n; j++) {
      const reduced = costs[row * n + j] - price[j];
      if (reduced < best) [second, next, first, best] = [first, best, j, reduced];
      else if (reduced < next) [second, next] = [j, reduced];
    }
    const lower = price[first] - (next - best);
    const falls = Number.isFinite(next) && lower < price[first];
    let column = first;
    if (falls) price[first] = lower;
    else if (rowOf[first] >= 0 && second >= 0 && next === best) column = second;
    const ousted = rowOf[column];
    columnOf[row] = column;
    rowOf[column] = row;
    if (ousted < 0) continue;
    columnOf[ousted] = -1;
    if (falls && bids < 10 * n) waiting.push(ousted);
    else free.push(ousted);
  }
  return free;
}

/** Assigns a free row along the shortest path of reassignments (Dijkstra's algorithm). @returns how many rows it read */
function augment(
  costs: Float64Array,
  n: number,
  columnOf: Int32Array,
  rowOf: Int32Array,
  price: Float64Array,
  free: number,
): number {
  const distance = Float64Array.from({ length: n }, (_, j) => costs[free * n + j] - price[j]);
  const before = new Int32Array(n).fill(free);
  const columns = Int32Array.from({ length: n }, (_, j) => j);
  // columns[0, scanned) have their final distance and were scanned; the others wait.
  let scanned = 0;
  for (;;) {
    let nearest = scanned;
    for (let k = scanned + 1; k < n; k++) if (distance[columns[k]] < distance[columns[nearest]]) nearest = k;
    const column = columns[nearest];
    const length = distance[column];
    const row = rowOf[column];
    if (row < 0) {
      for (let k = 0; k < scanned; k++) price[columns[k]] += distance[columns[k]] - length;
      swapAlong(column, free, before, columnOf, rowOf);
      return scanned + 1;
    }
    columns[nearest] = columns[scanned];
    columns[scanned++] = column;
    const offset = costs[row * n + column] - price[column] - length;
    for (let k = scanned; k < n; k++) {
      const j = columns[k];
      const through = costs[row * n + j] - price[j] - offset;
      if (through >= distance[j]) continue;
      distance[j] = through;
      before[j] = row;
    }
  }
}

/** Moves each row of the path that ends at a free column to the column after it. */
function swapAlong(end: number, free: number, before: Int32Array, columnOf: Int32Array, rowOf: Int32Array): void {
  for (let column = end; ; ) {
    const row = before[column];
    const earlier = columnOf[row];
    rowOf[column] = row;
    columnOf[row] = column;
    if (row === free) return;
    column = earlier;
  }
}
