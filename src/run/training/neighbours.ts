// Neighbours across the two domains of a transfer, for training.neighbours: which images of the other domain look most like an image,
// found without labels or pairs. Images of two domains differ by what the transfer has to change, so their likeness is found in turns, as
// dictionaries of two languages are aligned (Conneau et al., Word Translation Without Parallel Data, 2018):
//   scores      cosine of the images, each less the mean of its domain
//   repeatedly  linear maps that take images of each domain to their neighbours, by ridge regression; then
//               scores = csls(cosine of mapped source and target) + csls(cosine of source and mapped target)
//   csls        2 s_ij - (mean of the largest of row i) - (mean of the largest of column j), against images that are near to everything
// It is computed on the host in float64, so the pairs do not depend on the device.
import type { ImageDataset } from '../../data/index.ts';
import { ConfigError } from '../../errors.ts';
import { addProductOfRows } from '../../eval/matrix.ts';
import { turn } from '../../turn.ts';

/** Images are averaged to this side at most. */
const SIDE = 8;
const ROUNDS = 8;
/** The scores whose mean csls takes. */
const LOCAL = 10;
/** Weight of the penalty of the regression, as a share of the mean variance. */
const RIDGE = 0.1;
/** Most images of a domain: the table of scores has their square. */
const MOST = 5000;
const LOADED = 256;

export interface Neighbours {
  /** For each image of the source, the numbers of its nearest images of the target, [N, k]. */
  ofSource: Int32Array;
  ofTarget: Int32Array;
}

/**
 * The k nearest images of the other domain, of each image of both.
 * @throws ConfigError for domains of too many or too few images
 */
export async function findNeighbours(
  source: ImageDataset,
  target: ImageDataset,
  k: number,
  signal?: AbortSignal,
): Promise<Neighbours> {
  for (const { name, count } of [source, target])
    if (count > MOST || count < Math.max(k, LOCAL))
      throw new ConfigError(
        `training.neighbours ${k} needs ${Math.max(k, LOCAL)} to ${MOST} training images in each domain; ${name} has ${count}`,
      );
  const [a, b] = [await described(source, signal), await described(target, signal)];
  let scores = cosines(a, b);
  for (let round = 0; round < ROUNDS; round++) {
    await turn(signal);
    const { ofSource, ofTarget } = nearest(scores, k);
    const [there, back] = [mapped(a, b, ofSource, ofTarget, k), mapped(b, a, ofTarget, ofSource, k)];
    const [one, other] = [csls(cosines(there, b)), csls(cosines(a, back))];
    scores = { ...one, values: one.values.map((value, i) => value + other.values[i]) };
  }
  return nearest(scores, k);
}

/** Rows of equal length. */
interface Rows {
  values: Float64Array;
  rows: number;
  columns: number;
}

const rowOf = ({ values, columns }: Rows, i: number) => values.subarray(i * columns, (i + 1) * columns);

/** The images of a data set, averaged to a few pixels, less the mean of all. */
async function described(dataset: ImageDataset, signal?: AbortSignal): Promise<Rows> {
  const { count, height, width, channels } = dataset;
  const [down, across] = [Math.min(SIDE, height), Math.min(SIDE, width)];
  const columns = down * across * channels;
  const values = new Float64Array(count * columns);
  const area = (height / down) * (width / across);
  for (let first = 0; first < count; first += LOADED) {
    await turn(signal);
    const n = Math.min(LOADED, count - first);
    const bytes = await dataset.load(Int32Array.from({ length: n }, (_, i) => first + i));
    let at = 0;
    for (let i = first; i < first + n; i++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const cell = Math.floor((y * down) / height) * across + Math.floor((x * across) / width);
          for (let c = 0; c < channels; c++) values[i * columns + cell * channels + c] += bytes[at++] / 255 / area;
        }
  }
  for (let j = 0; j < columns; j++) {
    let mean = 0;
    for (let i = 0; i < count; i++) mean += values[i * columns + j] / count;
    for (let i = 0; i < count; i++) values[i * columns + j] -= mean;
  }
  return { values, rows: count, columns };
}

function cosines(a: Rows, b: Rows): Rows {
  const unit = (of: Rows) => {
    const values = of.values.slice();
    for (let i = 0; i < of.rows; i++) {
      const row = values.subarray(i * of.columns, (i + 1) * of.columns);
      const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
      if (length > 0) for (let j = 0; j < row.length; j++) row[j] /= length;
    }
    return values;
  };
  const values = new Float64Array(a.rows * b.rows);
  addProductOfRows(unit(a), unit(b), values, { m: a.rows, n: b.rows, k: a.columns });
  return { values, rows: a.rows, columns: b.rows };
}

function transposed({ values, rows, columns }: Rows): Rows {
  const turned = new Float64Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = values[i * columns + j];
  return { values: turned, rows: columns, columns: rows };
}

/** The places of the k largest values, in falling order; of equal ones the first. */
function largest(values: Float64Array, k: number): number[] {
  const places: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (places.length === k && !(values[i] > values[places[k - 1]])) continue;
    let at = places.length;
    while (at > 0 && values[i] > values[places[at - 1]]) at--;
    places.splice(at, 0, i);
    if (places.length > k) places.pop();
  }
  return places;
}

function nearest(scores: Rows, k: number): Neighbours {
  const places = (of: Rows) => {
    const all = new Int32Array(of.rows * k);
    for (let i = 0; i < of.rows; i++) all.set(largest(rowOf(of, i), k), i * k);
    return all;
  };
  return { ofSource: places(scores), ofTarget: places(transposed(scores)) };
}

function csls(scores: Rows): Rows {
  const local = (of: Rows) =>
    Float64Array.from({ length: of.rows }, (_, i) => {
      const row = rowOf(of, i);
      return largest(row, LOCAL).reduce((sum, place) => sum + row[place] / LOCAL, 0);
    });
  const [ofRows, ofColumns] = [local(scores), local(transposed(scores))];
  const { columns } = scores;
  return {
    ...scores,
    values: scores.values.map((value, i) => 2 * value - ofRows[Math.floor(i / columns)] - ofColumns[i % columns]),
  };
}

/** The images of `from`, taken by the linear map that fits the neighbours of both: (A^T A + r I)^-1 A^T B, a pair in each row. */
function mapped(from: Rows, to: Rows, ofFrom: Int32Array, ofTo: Int32Array, k: number): Rows {
  const { rows, columns: d } = from;
  // Pairs of one image share their row of A: how many there are, and the sum of their rows of B.
  const counts = new Float64Array(rows);
  const sums = new Float64Array(rows * d);
  const pair = (i: number, j: number) => {
    counts[i]++;
    for (let c = 0; c < d; c++) sums[i * d + c] += to.values[j * d + c];
  };
  for (let at = 0; at < ofFrom.length; at++) pair(Math.floor(at / k), ofFrom[at]);
  for (let at = 0; at < ofTo.length; at++) pair(ofTo[at], Math.floor(at / k));
  const normal = new Float64Array(d * d);
  const wanted = new Float64Array(d * d);
  for (let i = 0; i < rows; i++) {
    const row = rowOf(from, i);
    for (let p = 0; p < d; p++)
      for (let q = 0; q < d; q++) {
        normal[p * d + q] += counts[i] * row[p] * row[q];
        wanted[p * d + q] += row[p] * sums[i * d + q];
      }
  }
  let trace = 0;
  for (let p = 0; p < d; p++) trace += normal[p * d + p];
  for (let p = 0; p < d; p++) normal[p * d + p] += Math.max((RIDGE * trace) / d, Number.MIN_VALUE);
  solve(normal, wanted, d);
  const values = new Float64Array(rows * d);
  const map = transposed({ values: wanted, rows: d, columns: d });
  addProductOfRows(from.values, map.values, values, { m: rows, n: d, k: d });
  return { values, rows, columns: d };
}

/** Replaces b by a^-1 b, a [d, d] symmetric and positive definite, b [d, d]. */
function solve(a: Float64Array, b: Float64Array, d: number): void {
  for (let p = 0; p < d; p++)
    for (let i = 0; i < d; i++) {
      if (i === p) continue;
      const factor = a[i * d + p] / a[p * d + p];
      if (factor === 0) continue;
      for (let j = p; j < d; j++) a[i * d + j] -= factor * a[p * d + j];
      for (let j = 0; j < d; j++) b[i * d + j] -= factor * b[p * d + j];
    }
  for (let p = 0; p < d; p++) for (let j = 0; j < d; j++) b[p * d + j] /= a[p * d + p];
}
