// Eigenvalues of a symmetric float64 matrix: Householder reflections to tridiagonal form, then QL with implicit shifts.
//
//   step k: v from row k, p = A v / h, h = v^T v / 2, q = p - (v^T p / 2h) v, A <- A - v q^T - q v^T
//
// The update of a step is applied in the next step's pass over the matrix, which needs every element for its own p. So
// there is one pass per step instead of two, over the lower triangle only.
//
// Source: Golub, Van Loan, Matrix Computations (2013), 8.3; Bowdler, Martin, Reinsch,
// Wilkinson, The QR and QL algorithms for symmetric matrices (1968).
import { interruptionPoint } from '../device/interruption.ts';
import { ValueError } from '../errors.ts';

const MOST_SWEEPS = 60;

/**
 * The eigenvalues of a symmetric matrix.
 * @param a [n, n] row-major; only the lower triangle is read, and it is overwritten
 * @returns [n], in no particular order
 * @throws ValueError if the iteration does not converge, as for non-finite values
 */
export function symmetricEigenvalues(a: Float64Array, n: number): Float64Array {
  const diagonal = new Float64Array(n);
  const below = new Float64Array(n);
  if (n > 0) {
    tridiagonalize(a, n, diagonal, below);
    diagonalize(diagonal, below);
  }
  return diagonal;
}

/** Reduces `a` to tridiagonal form: diagonal[k], and below[k], the element to its left. */
function tridiagonalize(a: Float64Array, n: number, diagonal: Float64Array, below: Float64Array): void {
  // u and q are v and q of the previous step, whose update has not been applied to a.
  let [u, q, v, p] = Array.from({ length: 4 }, () => new Float64Array(n));
  for (let k = n - 1; k > 0; k--) {
    interruptionPoint();
    const row = k * n;
    for (let j = 0; j <= k; j++) a[row + j] -= q[k] * u[j] + u[k] * q[j];
    diagonal[k] = a[row + k];
    const h = reflector(a.subarray(row, row + k), v, below, k);
    updateAndMultiply(a, n, k, u, q, v, p);
    let overlap = 0;
    for (let i = 0; i < k; i++) overlap += v[i] * p[i];
    for (let i = 0; i < k; i++) p[i] = h === 0 ? 0 : (p[i] - (overlap / (2 * h)) * v[i]) / h;
    [u, v] = [v, u];
    [q, p] = [p, q];
  }
  diagonal[0] = a[0] - 2 * q[0] * u[0];
}

/** Computes v with (1 - v v^T / h) x = (0, .., 0, below[k]). Returns h, which is 0 if x has that form already. */
function reflector(x: Float64Array, v: Float64Array, below: Float64Array, k: number): number {
  let largest = 0;
  for (let j = 0; j < k - 1; j++) largest = Math.max(largest, Math.abs(x[j]));
  if (largest === 0) {
    below[k] = x[k - 1];
    v.fill(0, 0, k);
    return 0;
  }
  largest = Math.max(largest, Math.abs(x[k - 1]));
  let squares = 0;
  for (let j = 0; j < k; j++) {
    v[j] = x[j] / largest;
    squares += v[j] * v[j];
  }
  const length = v[k - 1] > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
  const h = squares - v[k - 1] * length;
  v[k - 1] -= length;
  below[k] = length * largest;
  return h;
}

/** Computes a <- a - u q^T - q u^T and p = a v in one pass over the leading k rows. */
function updateAndMultiply(
  a: Float64Array,
  n: number,
  k: number,
  u: Float64Array,
  q: Float64Array,
  v: Float64Array,
  p: Float64Array,
): void {
  p.fill(0, 0, k);
  for (let i = 0; i < k; i++) {
    const row = i * n;
    const [ui, qi, vi] = [u[i], q[i], v[i]];
    let sum = 0;
    for (let j = 0; j < i; j++) {
      const value = a[row + j] - qi * u[j] - ui * q[j];
      a[row + j] = value;
      sum += value * v[j];
      p[j] += value * vi;
    }
    a[row + i] -= 2 * qi * ui;
    p[i] += sum + a[row + i] * vi;
  }
}

/** Replaces `d` by the eigenvalues of the tridiagonal matrix; e[i] is the element between d[i - 1] and d[i]. */
function diagonalize(d: Float64Array, e: Float64Array): void {
  const n = d.length;
  e.copyWithin(0, 1);
  e[n - 1] = 0;
  for (let l = 0; l < n; l++)
    for (let sweep = 0; ; sweep++) {
      let m = l;
      // The negated comparison treats NaN as not small.
      while (m < n - 1 && !(Math.abs(e[m]) <= Number.EPSILON * (Math.abs(d[m]) + Math.abs(d[m + 1])))) m++;
      if (m === l) break;
      if (sweep === MOST_SWEEPS) throw new ValueError('eigenvalues do not converge; are all values finite?');
      sweepDown(d, e, l, m);
    }
}

/** One QL sweep over rows l..m with Wilkinson's shift. */
function sweepDown(d: Float64Array, e: Float64Array, l: number, m: number): void {
  const half = (d[l + 1] - d[l]) / (2 * e[l]);
  let g = d[m] - d[l] + e[l] / (half + (half < 0 ? -1 : 1) * Math.hypot(half, 1));
  let [s, c, shift] = [1, 1, 0];
  for (let i = m - 1; i >= l; i--) {
    const f = s * e[i];
    const b = c * e[i];
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      // Underflow splits the matrix here.
      d[i + 1] -= shift;
      e[m] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1] - shift;
    const t = (d[i] - g) * s + 2 * c * b;
    shift = s * t;
    d[i + 1] = g + shift;
    g = c * t - b;
  }
  d[l] -= shift;
  e[l] = g;
  e[m] = 0;
}
