// Products and factorisations of row-major float64 matrices. They are in JavaScript, because scores must not depend on
// a device. Tiles of 4 x 2 sums stay in registers, so that each multiplication takes one scalar instruction.
import { interruptionPoint } from '../device/interruption.ts';

const TILE_ROWS = 4;
const TILE_COLUMNS = 2;
// A block of b stays in the L2 cache while all rows of a are multiplied with it.
const BLOCK_COLUMNS = 64;
const BLOCK_DEPTH = 512;

export interface ProductOptions {
  /** Rows of a, rows of b, and the length of their rows. */
  m: number;
  n: number;
  k: number;
  /** Skips the elements above the diagonal of a square c, except at the edges of tiles. */
  lower?: boolean;
}

/** c [m, n] += a [m, k] b^T, b [n, k]: c[i, j] gains the product of row i of a and row j of b. */
export function addProductOfRows(
  a: Float64Array,
  b: Float64Array,
  c: Float64Array,
  { m, n, k, lower = false }: ProductOptions,
): void {
  for (let depth = 0; depth < k; depth += BLOCK_DEPTH) {
    const end = Math.min(depth + BLOCK_DEPTH, k);
    for (let left = 0; left < n; left += BLOCK_COLUMNS) {
      interruptionPoint();
      const right = Math.min(left + BLOCK_COLUMNS, n);
      for (let i = lower ? left - (left % TILE_ROWS) : 0; i < m; i += TILE_ROWS) {
        const last = lower ? Math.min(right, i + TILE_ROWS) : right;
        let j = left;
        if (i + TILE_ROWS <= m)
          for (; j + TILE_COLUMNS <= last; j += TILE_COLUMNS) addTile(a, b, c, i, j, { n, k, start: depth, end });
        for (; j < last; j++)
          for (let r = i; r < Math.min(i + TILE_ROWS, m); r++) c[r * n + j] += dot(a, r * k, b, j * k, depth, end);
      }
    }
  }
}

/** The squared length of each row, with the same bits as the diagonal from addProductOfRows. */
export function squaredLengths(a: Float64Array, rows: number, k: number): Float64Array {
  return Float64Array.from({ length: rows }, (_, i) => {
    let sum = 0;
    for (let depth = 0; depth < k; depth += BLOCK_DEPTH)
      sum += dot(a, i * k, a, i * k, depth, Math.min(depth + BLOCK_DEPTH, k));
    return sum;
  });
}

function dot(a: Float64Array, atA: number, b: Float64Array, atB: number, start: number, end: number): number {
  let sum = 0;
  for (let p = start; p < end; p++) sum += a[atA + p] * b[atB + p];
  return sum;
}

function addTile(
  a: Float64Array,
  b: Float64Array,
  c: Float64Array,
  i: number,
  j: number,
  { n, k, start, end }: { n: number; k: number; start: number; end: number },
): void {
  const [a0, a1, a2, a3] = [i * k, (i + 1) * k, (i + 2) * k, (i + 3) * k];
  const [b0, b1] = [j * k, (j + 1) * k];
  let [s00, s01, s10, s11, s20, s21, s30, s31] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let p = start; p < end; p++) {
    const y0 = b[b0 + p];
    const y1 = b[b1 + p];
    const x0 = a[a0 + p];
    s00 += x0 * y0;
    s01 += x0 * y1;
    const x1 = a[a1 + p];
    s10 += x1 * y0;
    s11 += x1 * y1;
    const x2 = a[a2 + p];
    s20 += x2 * y0;
    s21 += x2 * y1;
    const x3 = a[a3 + p];
    s30 += x3 * y0;
    s31 += x3 * y1;
  }
  const at = i * n + j;
  c[at] += s00;
  c[at + 1] += s01;
  c[at + n] += s10;
  c[at + n + 1] += s11;
  c[at + 2 * n] += s20;
  c[at + 2 * n + 1] += s21;
  c[at + 3 * n] += s30;
  c[at + 3 * n + 1] += s31;
}

/** Copies the lower triangle of a square matrix to the upper triangle. */
export function mirrorLower(a: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) a[j * n + i] = a[i * n + j];
}

/**
 * The pivoted Cholesky factor of a positive semi-definite matrix: a = r^T r, r [rank, n].
 * The next pivot is the largest remaining diagonal element. The factorisation stops once that is mere rounding error,
 * so that it works for singular matrices.
 * Source: Higham, Analysis of the Cholesky decomposition of a semi-definite matrix (1990).
 */
export function choleskyRows(a: Float64Array, n: number): { r: Float64Array; rank: number } {
  const r = new Float64Array(n * n);
  const rest = Float64Array.from({ length: n }, (_, i) => a[i * n + i]);
  const negligible = n * Number.EPSILON * (rest[placeOfLargest(rest)] ?? 0);
  let rank = 0;
  for (; rank < n; rank++) {
    interruptionPoint();
    const pivot = placeOfLargest(rest);
    if (!(rest[pivot] > negligible)) break;
    const row = r.subarray(rank * n, (rank + 1) * n);
    row.set(a.subarray(pivot * n, (pivot + 1) * n));
    subtractRows(row, r, rank, n, pivot);
    const root = Math.sqrt(rest[pivot]);
    for (let i = 0; i < n; i++) {
      row[i] /= root;
      rest[i] -= row[i] * row[i];
    }
    rest[pivot] = 0;
  }
  return { r: r.subarray(0, rank * n), rank };
}

function placeOfLargest(values: Float64Array): number {
  let place = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[place]) place = i;
  return place;
}

/** row -= sum over j < rank of r[j, pivot] r[j, :], four rows at a time. */
function subtractRows(row: Float64Array, r: Float64Array, rank: number, n: number, pivot: number): void {
  let j = 0;
  for (; j + 4 <= rank; j += 4) {
    const [r0, r1, r2, r3] = [j * n, (j + 1) * n, (j + 2) * n, (j + 3) * n];
    const [f0, f1, f2, f3] = [r[r0 + pivot], r[r1 + pivot], r[r2 + pivot], r[r3 + pivot]];
    for (let i = 0; i < n; i++) row[i] -= f0 * r[r0 + i] + f1 * r[r1 + i] + f2 * r[r2 + i] + f3 * r[r3 + i];
  }
  for (; j < rank; j++) {
    const factor = r[j * n + pivot];
    for (let i = 0; i < n; i++) row[i] -= factor * r[j * n + i];
  }
}
