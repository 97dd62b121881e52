// The Frechet distance of two Gaussians; for Inception features this is the FID. Lower is better.
//
//   d^2 = |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr sqrt(S_1^1/2 S_2 S_1^1/2)
//
// Source: Dowson, Landau, The Frechet distance between multivariate normal distributions (1982); Heusel et al., GANs
// Trained by a Two Time-Scale Update Rule (2017).
//
// Any R with S_1 = R^T R can replace S_1^1/2, since R S_2 R^T has the same eigenvalues. R is a pivoted Cholesky factor,
// which takes a fraction of the time of eigenvectors, and which is small if the covariance of few samples is singular.
import { checkOptions, kind } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { checkStatistics, type GaussianStatistics } from './gaussian.ts';
import { type EigenSolver, findEigenSolver } from './lapack.ts';
import { addProductOfRows, choleskyRows, mirrorLower } from './matrix.ts';

interface FrechetOptions {
  /** Default: LAPACK if it is found, otherwise the built-in solver. */
  solver?: EigenSolver;
}

const solverKind = kind(
  'an eigenvalue solver',
  (value) => typeof (value as EigenSolver | null)?.eigenvalues === 'function',
);

/**
 * The squared Frechet distance of two normal laws, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Dowson, Landau 1982; Heusel et al.
 * 2017 on Inception features, FID), which is the value that papers report; rounding errors below 0 are clipped to 0.
 * @param options.solver default: LAPACK if it is found, otherwise the built-in solver
 * @throws ValueError for statistics of different lengths or non-finite values
 * @example
 * const [a, b] = [0, 1].map((shift) =>
 *   gaussianOf({ values: samplePoints('two_moons', 500, 1).map((x) => x + shift), rows: 500, columns: 2 }),
 * );
 * frechetDistance(a, a); // 0
 * // The covariances are equal, so it is the squared distance of the means.
 * frechetDistance(a, b); // 2
 */
export function frechetDistance(a: GaussianStatistics, b: GaussianStatistics, options: FrechetOptions = {}): number {
  checkStatistics('frechetDistance', a);
  checkStatistics('frechetDistance', b);
  const n = a.mean.length;
  if (b.mean.length !== n) throw new ValueError(`features of ${n} and of ${b.mean.length} columns cannot be compared`);
  const { solver = findEigenSolver() } = checkOptions<FrechetOptions>('frechetDistance', options, {
    solver: solverKind,
  });
  let distance = 0;
  for (let i = 0; i < n; i++)
    distance += (a.mean[i] - b.mean[i]) ** 2 + a.covariance[i * n + i] + b.covariance[i * n + i];
  return Math.max(0, distance - 2 * traceOfRoot(a.covariance, b.covariance, n, solver));
}

/** tr sqrt(S_1^1/2 S_2 S_1^1/2) */
function traceOfRoot(first: Float64Array, second: Float64Array, n: number, solver: EigenSolver): number {
  const { r, rank } = choleskyRows(first, n);
  const half = new Float64Array(rank * n);
  addProductOfRows(r, second, half, { m: rank, n, k: n });
  const product = new Float64Array(rank * rank);
  addProductOfRows(half, r, product, { m: rank, n: rank, k: n, lower: true });
  mirrorLower(product, rank);
  if (!product.every(Number.isFinite)) throw new ValueError('the covariances are too large to be multiplied');
  return solver.eigenvalues(product, rank).reduce((sum, value) => sum + Math.sqrt(Math.max(value, 0)), 0);
}
