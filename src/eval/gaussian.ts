// Mean and covariance of features, accumulated over batches in float64.
//
// Batches are merged by their means and scatter matrices S = sum (x - mean)(x - mean)^T:
//   S = S_a + S_b + n_a n_b / (n_a + n_b) d d^T, d = mean_b - mean_a; covariance = S / (n - 1)
// Source: Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances (1979).
import { checkArgument, kind, refuseExtra, wholeFrom } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { checkFeatures, type FeatureRows } from './features.ts';
import { addProductOfRows, mirrorLower } from './matrix.ts';

export interface GaussianStatistics {
  /** [columns] */
  mean: Float64Array;
  /** [columns, columns], the sample covariance: divided by count - 1. */
  covariance: Float64Array;
  /** Number of feature vectors, if known. */
  count?: number;
}

const BLOCK_ROWS = 512;

/** The covariance of the largest number of columns takes 8 GiB. */
const columnsKind = wholeFrom(1, 32768);

/**
 * Accumulates features batch by batch. Its memory is one matrix, whatever the number of features.
 * @example
 * const accumulator = new GaussianAccumulator(2);
 * accumulator.add({ values: Float32Array.of(0, 0, 2, 4), rows: 2, columns: 2 });
 * accumulator.add({ values: Float32Array.of(4, 8), rows: 1, columns: 2 });
 * const { mean, covariance } = accumulator.statistics();
 * mean; // [2, 4]
 * covariance; // [4, 8, 8, 16]
 */
export class GaussianAccumulator {
  readonly columns: number;
  private count = 0;
  private readonly mean: Float64Array;
  /** The lower triangle of the scatter matrix S. */
  private readonly scatter: Float64Array;

  /** @param columns length of a feature vector */
  constructor(columns: number) {
    checkArgument('GaussianAccumulator', 'columns', columns, columnsKind);
    this.columns = columns;
    this.mean = new Float64Array(columns);
    this.scatter = new Float64Array(columns * columns);
  }

  /** Adds a batch of features. @throws ValueError for features of another length or non-finite values */
  add(features: FeatureRows): void {
    checkFeatures('features', features);
    if (features.columns !== this.columns)
      throw new ValueError(`features of ${features.columns} columns cannot be added to features of ${this.columns}`);
    for (let start = 0; start < features.rows; start += BLOCK_ROWS)
      this.addBlock(features, start, Math.min(BLOCK_ROWS, features.rows - start));
  }

  /** The statistics of all features so far. @throws ValueError for fewer than two */
  statistics(): GaussianStatistics {
    if (this.count < 2) throw new ValueError(`a covariance needs at least two feature vectors, got ${this.count}`);
    const covariance = this.scatter.map((value) => value / (this.count - 1));
    mirrorLower(covariance, this.columns);
    return { mean: this.mean.slice(), covariance, count: this.count };
  }

  private addBlock({ values }: FeatureRows, start: number, rows: number): void {
    const { columns, mean, scatter } = this;
    const centred = new Float64Array(columns * rows);
    const shift = new Float64Array(columns);
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let i = 0; i < rows; i++) sum += values[(start + i) * columns + j];
      const blockMean = sum / rows;
      for (let i = 0; i < rows; i++) centred[j * rows + i] = values[(start + i) * columns + j] - blockMean;
      shift[j] = blockMean - mean[j];
    }
    addProductOfRows(centred, centred, scatter, { m: columns, n: columns, k: rows, lower: true });
    const total = this.count + rows;
    const weight = (this.count * rows) / total;
    for (let i = 0; i < columns; i++)
      for (let j = 0; j <= i; j++) scatter[i * columns + j] += weight * shift[i] * shift[j];
    for (let j = 0; j < columns; j++) mean[j] += (shift[j] * rows) / total;
    this.count = total;
  }
}

/**
 * Mean and covariance of features.
 * @throws ValueError for fewer than two rows or non-finite values
 * @example
 * const { mean, covariance } = gaussianOf({ values: Float32Array.of(0, 0, 2, 4), rows: 2, columns: 2 });
 * mean; // [1, 2]
 * covariance; // [2, 4, 4, 8]
 */
export function gaussianOf(features: FeatureRows): GaussianStatistics;
export function gaussianOf(features: FeatureRows, ...extra: unknown[]): GaussianStatistics {
  refuseExtra('gaussianOf', extra);
  checkFeatures('gaussianOf', features);
  const accumulator = new GaussianAccumulator(features.columns);
  accumulator.add(features);
  return accumulator.statistics();
}

const statisticsKind = kind('{ mean, covariance } in Float64Arrays', (value) => {
  const { mean, covariance } = (value ?? {}) as Partial<GaussianStatistics>;
  return mean instanceof Float64Array && covariance instanceof Float64Array;
});

/** @throws ArgumentError, ValueError unless mean and covariance match in size and are finite */
export function checkStatistics(op: string, statistics: GaussianStatistics): void {
  checkArgument(op, 'statistics', statistics, statisticsKind);
  const { mean, covariance } = statistics;
  if (mean.length === 0 || covariance.length !== mean.length ** 2)
    throw new ValueError(`a mean of ${mean.length} values does not match a covariance of ${covariance.length}`);
  if (!mean.every(Number.isFinite) || !covariance.every(Number.isFinite))
    throw new ValueError('mean and covariance must be finite');
  const negative = mean.findIndex((_, i) => covariance[i * (mean.length + 1)] < 0);
  if (negative >= 0)
    throw new ValueError(`the variance of feature ${negative} is negative, so this is not a covariance`);
}
