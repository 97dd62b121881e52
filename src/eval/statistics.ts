// Statistics of a data set's features in .npz files, so that the data set is read only once:
//
//   rectiflow               mu [d] f64, sigma [d, d] f64, count i64, features: UTF-8 bytes, the name of the network
//   pytorch-fid, TTUR, ...  mu, sigma
//   official (score SDE)    pool_3 [N, d], the feature vectors; the covariance is computed on reading
//   rectiflow, vectors      pool_3 [N, d] f32, features: as above; the official code reads it too
//
// Numbers may have any floating-point dtype. Other arrays, such as the images in files of guided-diffusion, are not
// read.
import { checkArgument, checkOptions, isWhole, kinds } from '../arguments.ts';
import { FileError, formatShape, ValueError } from '../errors.ts';
import { isFloatingArray } from '../io/array.ts';
import { type ArrayFile, readNpz, toFloat32, writeNpz } from '../io/index.ts';
import { npzNames } from '../io/numpy/npz.ts';
import type { FeatureRows } from './features.ts';
import { checkFeatures } from './features.ts';
import { checkStatistics, type GaussianStatistics, gaussianOf } from './gaussian.ts';

export interface DataStatistics {
  gaussian: GaussianStatistics;
  /** The feature vectors, if the file has them; KID, precision and recall need them. */
  activations?: FeatureRows;
  /** The name of the network that computed the features, if the file has it. */
  features?: string;
}

// A covariance that was summed in float32 is symmetric up to rounding.
const MOST_ASYMMETRY = 1e-4;

/**
 * Reads statistics of features from an .npz file: mu and sigma, as of rectiflow and pytorch-fid, or the feature vectors pool_3, as of
 * the official code. Computing the covariance of 50,000 vectors of length 2048 takes about a minute.
 * @throws FileError if the file is damaged, has none of these arrays, or has arrays that do not match or are not finite
 * @example
 * const gaussian = gaussianOf({ values: Float32Array.of(0, 0, 2, 4), rows: 2, columns: 2 });
 * await writeStatistics('stats.npz', gaussian, { features: 'pixels' });
 * const statistics = await readStatistics('stats.npz');
 * statistics.gaussian.mean; // [1, 2]
 * statistics.features; // 'pixels'
 */
export async function readStatistics(path: string): Promise<DataStatistics> {
  checkArgument('readStatistics', 'path', path, kinds.path);
  const names = await npzNames(path);
  const wanted = ['mu', 'sigma', 'pool_3', 'count', 'features'];
  const arrays = await readNpz(path, { names: wanted.filter((name) => names.includes(name)) });
  const [mu, sigma, pool] = ['mu', 'sigma', 'pool_3'].map((name) => arrays.get(name));
  if (mu && sigma)
    return {
      gaussian: gaussianIn(path, mu, sigma, arrays.get('count')),
      features: textIn(path, arrays.get('features')),
    };
  if (!pool) throw new FileError(path, `has neither mu and sigma nor pool_3; it has ${names.join(', ') || 'nothing'}`);
  const [rows, columns] = pool.shape;
  if (pool.shape.length !== 2) throw new FileError(path, `pool_3 is ${formatShape(pool.shape)}, expected [N, d]`);
  const activations = { values: floatsIn(path, 'pool_3', pool), rows, columns };
  const features = textIn(path, arrays.get('features'));
  try {
    return { gaussian: gaussianOf(activations), activations, features };
  } catch (error) {
    throw error instanceof ValueError ? new FileError(path, error.message) : error;
  }
}

/**
 * Writes statistics in rectiflow's layout, which tools that read mu and sigma accept too.
 * @param options.features the name of the network, "inception" for FidInception; `eval` refuses statistics of another
 * network
 * @throws FileError; ValueError if mean and covariance do not match
 * @example
 * const gaussian = gaussianOf({ values: Float32Array.of(0, 0, 2, 4), rows: 2, columns: 2 });
 * await writeStatistics('stats.npz', gaussian, { features: 'inception' });
 * (await readNpz('stats.npz')).get('sigma').data; // [2, 4, 4, 8]
 */
export async function writeStatistics(
  path: string,
  statistics: GaussianStatistics,
  options: { features?: string } = {},
): Promise<void> {
  checkArgument('writeStatistics', 'path', path, kinds.path);
  checkStatistics('writeStatistics', statistics);
  const { features } = checkOptions<{ features?: string }>('writeStatistics', options, { features: kinds.text });
  const { mean, covariance, count } = statistics;
  const d = mean.length;
  const arrays = new Map<string, ArrayFile>([
    ['mu', { shape: [d], dtype: 'f64', data: mean }],
    ['sigma', { shape: [d, d], dtype: 'f64', data: covariance }],
  ]);
  if (count !== undefined) arrays.set('count', { shape: [], dtype: 'i64', data: BigInt64Array.of(BigInt(count)) });
  if (features !== undefined) arrays.set('features', textArray(features));
  await writeNpz(path, arrays);
}

/**
 * Writes feature vectors.
 * @param options.features the name of the network that computed them
 * @throws FileError
 * @example
 * const features = { values: Float32Array.of(0, 0, 2, 4), rows: 2, columns: 2 };
 * await writeActivations('features.npz', features, { features: 'mine' });
 * const { gaussian, activations } = await readStatistics('features.npz');
 * gaussian.mean; // [1, 2]
 * activations.rows; // 2
 */
export async function writeActivations(
  path: string,
  activations: FeatureRows,
  options: { features: string },
): Promise<void> {
  checkArgument('writeActivations', 'path', path, kinds.path);
  checkFeatures('writeActivations', activations);
  const { features } = checkOptions('writeActivations', options, { features: kinds.text }, ['features']);
  const { values, rows, columns } = activations;
  const pool_3: ArrayFile = { shape: [rows, columns], dtype: 'f32', data: Float32Array.from(values) };
  await writeNpz(path, { pool_3, features: textArray(features) });
}

function textArray(text: string): ArrayFile {
  const data = new TextEncoder().encode(text);
  return { shape: [data.length], dtype: 'u8', data };
}

function gaussianIn(path: string, mu: ArrayFile, sigma: ArrayFile, count: ArrayFile | undefined): GaussianStatistics {
  const d = mu.data.length;
  if (mu.shape.length !== 1 || formatShape(sigma.shape) !== formatShape([d, d]))
    throw new FileError(path, `mu ${formatShape(mu.shape)} and sigma ${formatShape(sigma.shape)} do not match`);
  const mean = Float64Array.from(floatsIn(path, 'mu', mu));
  const covariance = Float64Array.from(floatsIn(path, 'sigma', sigma));
  if (!mean.every(Number.isFinite) || !covariance.every(Number.isFinite))
    throw new FileError(path, 'mu or sigma has a non-finite value');
  let largest = 0;
  for (let i = 0; i < d; i++) largest = Math.max(largest, covariance[i * d + i]);
  for (let i = 0; i < d; i++)
    for (let j = 0; j < i; j++)
      if (Math.abs(covariance[i * d + j] - covariance[j * d + i]) > MOST_ASYMMETRY * largest)
        throw new FileError(path, `sigma is not symmetric at (${i}, ${j})`);
  return { mean, covariance, ...(count ? { count: wholeIn(path, count) } : {}) };
}

function floatsIn(path: string, name: string, array: ArrayFile): Float32Array | Float64Array {
  if (!isFloatingArray(array.dtype))
    throw new FileError(path, `${name} is ${array.dtype}, expected float32, float64 or float16`);
  return array.data instanceof Float64Array ? array.data : toFloat32(array);
}

function wholeIn(path: string, { data }: ArrayFile): number {
  const value = Number(data[0]);
  if (data.length !== 1 || !isWhole(value)) throw new FileError(path, 'count is not a whole number');
  return value;
}

function textIn(path: string, array: ArrayFile | undefined): string | undefined {
  if (!array) return undefined;
  if (!(array.data instanceof Uint8Array)) throw new FileError(path, 'features is not text in UTF-8');
  return new TextDecoder().decode(array.data);
}
