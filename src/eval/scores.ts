// Scores of samples by their features, on the host in float64: Inception score and kernel Inception distance.
import { checkArgument, checkOptions, isWhole, kind, kinds } from '../arguments.ts';
import { checkFeatures, checkPair, type FeatureRows, rowsAsFloat64, rowsKind } from './features.ts';
import { addProductOfRows, squaredLengths } from './matrix.ts';

export interface InceptionScore {
  mean: number;
  /** Standard deviation over the splits, with the division by their number as in the paper; 0 for one split. */
  deviation: number;
}

/**
 * exp(E_x KL(p(y|x) || p(y))): how certain the classifier is of each sample, and how varied the classes are; higher is
 * better.
 * Source: Salimans et al., Improved Techniques for Training GANs (2016).
 * @param logits [samples, classes]
 * @param options.splits number of parts of consecutive samples that are scored separately; default 1
 * @throws ValueError for fewer samples than splits or non-finite values
 * @example
 * // Two samples of which the classifier is certain, each of its own class.
 * const logits = Float32Array.of(20, 0, 0, 20);
 * inceptionScore({ values: logits, rows: 2, columns: 2 }).mean; // 2
 */
export function inceptionScore(logits: FeatureRows, options: { splits?: number } = {}): InceptionScore {
  const { splits = 1 } = checkOptions<{ splits?: number }>('inceptionScore', options, { splits: kinds.count });
  checkFeatures('logits', logits, splits);
  const { rows } = logits;
  const scores = Array.from({ length: splits }, (_, part) =>
    scoreOfRows(logits, Math.floor((part * rows) / splits), Math.floor(((part + 1) * rows) / splits)),
  );
  const mean = scores.reduce((sum, score) => sum + score, 0) / splits;
  const variance = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / splits;
  return { mean, deviation: Math.sqrt(variance) };
}

/** Uses that E KL(p(y|x) || p(y)) is the entropy of the mean prediction minus the mean entropy. */
function scoreOfRows(logits: FeatureRows, start: number, end: number): number {
  const { columns } = logits;
  const marginal = new Float64Array(columns);
  let information = 0;
  for (let row = start; row < end; row++) {
    const values = rowsAsFloat64(logits, row, row + 1);
    const largest = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
    const logSum = Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0)) + largest;
    for (let j = 0; j < columns; j++) {
      const p = Math.exp(values[j] - logSum);
      marginal[j] += p / (end - start);
      information += (p * (values[j] - logSum)) / (end - start);
    }
  }
  const entropy = marginal.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0);
  return Math.exp(information + entropy);
}

export interface KernelDistance {
  /** Mean over the blocks; unbiased, so it may be negative. */
  mean: number;
  /** Standard error of the mean; undefined for one block. */
  standardError: number | undefined;
  blocks: number;
}

const KERNEL_BLOCK = 1000;

const blockKind = kind('a whole number >= 2', (v) => isWhole(v, 2));

/** The number of rows that the kernel distance needs of each set: two per block. */
export function kernelDistanceNeeds(real: FeatureRows, fake: FeatureRows, blockSize = KERNEL_BLOCK): number {
  checkArgument('kernelDistanceNeeds', 'blockSize', blockSize, blockKind);
  for (const features of [real, fake]) checkArgument('kernelDistanceNeeds', 'features', features, rowsKind);
  return 2 * Math.ceil(Math.max(real.rows, fake.rows) / blockSize);
}

/**
 * The kernel Inception distance: the squared maximum mean discrepancy under k(x, y) = (x . y / columns + 1)^3,
 * estimated without bias in blocks of consecutive rows; lower is better. Source: Binkowski et al., Demystifying MMD
 * GANs (2018).
 * @param options.blockSize maximum number of rows per block; default 1000. Both sets are split into as many blocks as
 * the larger set needs
 * @throws ValueError for blocks of fewer than two rows or non-finite values
 * @example
 * const points = (seed) => ({ values: samplePoints('two_moons', 200, seed), rows: 200, columns: 2 });
 * const { mean } = kernelDistance(points(1), points(2));
 * mean; // 0.03746
 */
export function kernelDistance(
  real: FeatureRows,
  fake: FeatureRows,
  options: { blockSize?: number } = {},
): KernelDistance {
  const { blockSize = KERNEL_BLOCK } = checkOptions<{ blockSize?: number }>('kernelDistance', options, {
    blockSize: blockKind,
  });
  const needed = kernelDistanceNeeds(real, fake, blockSize);
  const blocks = needed / 2;
  checkPair(real, fake, needed);
  const block = (features: FeatureRows, i: number): Block => {
    const [start, end] = [i, i + 1].map((edge) => Math.floor((edge * features.rows) / blocks));
    return { values: rowsAsFloat64(features, start, end), rows: end - start };
  };
  const values = Array.from({ length: blocks }, (_, i) => discrepancy(block(real, i), block(fake, i), real.columns));
  const mean = values.reduce((sum, value) => sum + value, 0) / blocks;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (blocks - 1);
  return { mean, standardError: blocks === 1 ? undefined : Math.sqrt(variance / blocks), blocks };
}

interface Block {
  values: Float64Array;
  rows: number;
}

/** The mean over pairs of k(x, x') + the mean over pairs of k(y, y') - 2 mean k(x, y). */
function discrepancy(x: Block, y: Block, columns: number): number {
  const within = (z: Block) => (kernelSum(z, z, columns) - kernelTrace(z, columns)) / (z.rows * (z.rows - 1));
  return within(x) + within(y) - (2 * kernelSum(x, y, columns)) / (x.rows * y.rows);
}

const kernelOf = (product: number, columns: number): number => (product / columns + 1) ** 3;

function kernelSum(x: Block, y: Block, columns: number): number {
  const products = new Float64Array(x.rows * y.rows);
  addProductOfRows(x.values, y.values, products, { m: x.rows, n: y.rows, k: columns });
  return products.reduce((sum, product) => sum + kernelOf(product, columns), 0);
}

function kernelTrace({ values, rows }: Block, columns: number): number {
  return squaredLengths(values, rows, columns).reduce((sum, square) => sum + kernelOf(square, columns), 0);
}
