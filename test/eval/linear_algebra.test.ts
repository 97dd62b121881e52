// The linear algebra of the scores: products and factors of matrices, eigenvalues by LAPACK and by the built-in solver.
// Needs LAPACK.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { RectiflowError, ValueError } from '../../src/errors.ts';
import { findEigenSolver, lapackEigenSolver, ownEigenSolver } from '../../src/eval/index.ts';
import { addProductOfRows, choleskyRows, mirrorLower, squaredLengths } from '../../src/eval/matrix.ts';
import { normalRows } from './features.ts';

afterEach(() => vi.unstubAllEnvs());

const matrix = (rows: number, columns: number, seed: string) => normalRows(rows, columns, seed).values as Float64Array;

function naiveProduct(a: Float64Array, b: Float64Array, m: number, n: number, k: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) for (let p = 0; p < k; p++) c[i * n + j] += a[i * k + p] * b[j * k + p];
  return c;
}

function closeTo(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) expect(Math.abs(got[i] - want[i]), `element ${i}`).toBeLessThan(tolerance);
}

const sortAscending = (values: Float64Array) => values.slice().sort();

describe('products of rows', () => {
  it.each([
    [1, 1, 1],
    [4, 2, 5],
    [7, 67, 3],
    [9, 130, 515],
    [3, 5, 1030],
  ])('%i x %i over %i', (m, n, k) => {
    const [a, b] = [matrix(m, k, 'a'), matrix(n, k, 'b')];
    const c = new Float64Array(m * n).fill(2);
    addProductOfRows(a, b, c, { m, n, k });
    closeTo(
      c,
      naiveProduct(a, b, m, n, k).map((value) => value + 2),
      1e-11,
    );
  });

  it.each([1, 3, 4, 65, 131])('of the lower triangle, %i rows, whose diagonal has the bits of squaredLengths', (n) => {
    const k = 515;
    const a = matrix(n, k, 'lower');
    const c = new Float64Array(n * n);
    addProductOfRows(a, a, c, { m: n, n, k, lower: true });
    mirrorLower(c, n);
    closeTo(c, naiveProduct(a, a, n, n, k), 1e-10);
    expect(squaredLengths(a, n, k)).toEqual(c.filter((_, i) => i % (n + 1) === 0));
  });
});

describe('the pivoted Cholesky factor', () => {
  it.each([
    [1, 1],
    [6, 6],
    [20, 7],
    [5, 0],
  ])('of %i rows, rank %i', (n, rank) => {
    const x = matrix(n, Math.max(rank, 1), 'factor').map((value) => (rank === 0 ? 0 : value));
    const a = naiveProduct(x, x, n, n, Math.max(rank, 1));
    const factor = choleskyRows(a, n);
    expect(factor.rank).toBe(rank);
    const columns = Float64Array.from({ length: n * rank }, (_, i) => factor.r[(i % rank) * n + Math.floor(i / rank)]);
    closeTo(naiveProduct(columns, columns, n, n, rank), a, 1e-12);
  });
});

describe.each([ownEigenSolver, lapackEigenSolver()])('eigenvalues, $name', (solver) => {
  it('of the second difference: 2 - 2 cos(k pi / (n + 1))', () => {
    for (const n of [1, 2, 3, 40]) {
      const a = new Float64Array(n * n);
      for (let i = 0; i < n; i++) {
        a[i * n + i] = 2;
        if (i > 0) a[i * n + i - 1] = a[(i - 1) * n + i] = -1;
      }
      const want = Float64Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)));
      closeTo(sortAscending(solver.eigenvalues(a, n)), want, 1e-13);
    }
  });

  it.each([1, 1e150, 1e-150])('of a rotated plane, many of them equal, scale %d', (scale) => {
    const n = 12;
    // 1 + v v^T: 1 eleven times, and 1 + |v|^2.
    const v = matrix(1, n, 'direction');
    const a = naiveProduct(v, v, n, n, 1).map((value, i) => scale * (value + (i % (n + 1) === 0 ? 1 : 0)));
    const values = sortAscending(solver.eigenvalues(a, n)).map((value) => value / scale);
    closeTo(values, [...Array(n - 1).fill(1), 1 + squaredLengths(v, 1, n)[0]], 1e-13);
  });

  it('of zeros, of an empty matrix, of a diagonal matrix', () => {
    expect([...solver.eigenvalues(new Float64Array(9), 3)]).toEqual([0, 0, 0]);
    expect(solver.eigenvalues(new Float64Array(0), 0)).toHaveLength(0);
    expect([...sortAscending(solver.eigenvalues(Float64Array.of(3, 0, 0, 0, -1, 0, 0, 0, 2), 3))]).toEqual([-1, 2, 3]);
  });
});

it('both solvers agree on random matrices', () => {
  const lapack = lapackEigenSolver();
  for (const n of [2, 5, 33, 120]) {
    const x = matrix(n, n, `symmetric ${n}`);
    const a = x.map((value, i) => value + x[(i % n) * n + Math.floor(i / n)]);
    closeTo(
      sortAscending(ownEigenSolver.eigenvalues(a.slice(), n)),
      sortAscending(lapack.eigenvalues(a.slice(), n)),
      1e-12 * n,
    );
  }
});

it('reports no convergence in the built-in solver', () => {
  expect(() => ownEigenSolver.eigenvalues(Float64Array.of(1, 2, 2, Number.NaN), 2)).toThrow(ValueError);
});

it('uses LAPACK if it is installed, and refuses an unusable file that was named', () => {
  expect(findEigenSolver().name).toBe('LAPACK');
  vi.stubEnv('LIBLAPACK_PATH', '/nonexistent');
  expect(findEigenSolver).toThrow(RectiflowError);
  expect(findEigenSolver).toThrow(
    /^LAPACK, needed for .*named by LIBLAPACK_PATH: cannot load \/nonexistent: .*apt-get install liblapack3.* or set LIBLAPACK_PATH/,
  );
});
