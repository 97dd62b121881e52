// The Frechet distance of two Gaussians, of Inception features the FID; lower is better.
//
//   d^2 = |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr sqrt(S_1^1/2 S_2 S_1^1/2)
//
// Source: Dowson, Landau, The Frechet distance between multivariate normal distributions (1982); Heusel et al., GANs Trained
// by a Two Time-Scale Update Rule (2017). Any R with S_1 = R^T R serves in the place of S_1^1/2, since R S_2 R^T has the same
// eigenvalues: a Cholesky factor with pivots, which is made in a fraction of the time that eigenvectors take, and which is
// small where few samples make the covariance singular.
import { checkOptions, kind } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { checkStatistics, type GaussianStatistics } from './gaussian.ts';
import { type EigenSolver, findEigenSolver } from './lapack.ts';
import { addProductOfRows, choleskyRows, mirrorLower } from './matrix.ts';

interface FrechetOptions {
  /** Default: LAPACK where it is found, else our own. */
  solver?: EigenSolver;
}

const solverKind = kind(
  'a solver of eigenvalues',
  (value) => typeof (value as EigenSolver | null)?.eigenvalues === 'function',
);

/**
 * The distance, squared as it is always reported; what rounding leaves below 0 is 0.
 * @param options.solver default: LAPACK where it is found, else our own
 * @throws ValueError for statistics of different lengths or values that are not finite
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
