// Scores compared with the numbers of other programs (golden/README.md), closed forms and slow definitions.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ValueError } from '../../src/errors.ts';
import {
  type FeatureRows,
  frechetDistance,
  GaussianAccumulator,
  type GaussianStatistics,
  gaussianOf,
  inceptionScore,
  kernelDistance,
  lapackEigenSolver,
  ownEigenSolver,
  precisionRecall,
} from '../../src/eval/index.ts';
import { type ArrayFile, readNpz } from '../../src/io/index.ts';
import { normalRows, rowsOf, shuffled } from './features.ts';
import { golden, relativeToLargest } from './weights.ts';

let arrays: Map<string, ArrayFile>;
beforeAll(async () => {
  arrays = await readNpz(golden('scores.npz'));
});

const goldenRows = (name: string): FeatureRows => {
  const { shape, data } = arrays.get(name) as ArrayFile;
  return { values: data as Float64Array, rows: shape[0], columns: shape[1] };
};
const goldenValue = (name: string): number => arrays.get(name)?.data[0] as number;
const firstRows = ({ values, columns }: FeatureRows, rows: number): FeatureRows => ({
  values: values.subarray(0, rows * columns),
  rows,
  columns,
});

describe.each([ownEigenSolver, lapackEigenSolver()])('Frechet distance, eigenvalues: $name', (solver) => {
  const distance = (a: GaussianStatistics, b: GaussianStatistics) => frechetDistance(a, b, { solver });

  it('matches golden values to 1e-10, or 1e-7 if a covariance is singular', () => {
    const [real, fake, few] = ['real', 'fake', 'few'].map((name) => gaussianOf(goldenRows(name)));
    expect(distance(real, fake) / goldenValue('fid')).toBeCloseTo(1, 10);
    for (const value of [distance(few, fake), distance(fake, few)])
      expect(Math.abs(value / goldenValue('fid_few_vs_fake') - 1)).toBeLessThan(1e-7);
  });

  it('of Gaussians along the axes: |mu_1 - mu_2|^2 + |sigma_1 - sigma_2|^2', () => {
    const along = (mean: number[], sigma: number[]): GaussianStatistics => ({
      mean: Float64Array.from(mean),
      covariance: Float64Array.from({ length: 9 }, (_, i) => (i % 4 === 0 ? sigma[i / 4] ** 2 : 0)),
    });
    const value = distance(along([1, 2, 3], [1, 2, 0]), along([0, 2, 5], [3, 2.5, 1]));
    expect(value).toBeCloseTo(1 + 4 + (4 + 0.25 + 1), 12);
  });

  it('of Gaussians in the plane: tr sqrt(A B) = sqrt(tr A B + 2 sqrt(det A det B))', () => {
    const [a, b] = [Float64Array.of(2, 1, 1, 3), Float64Array.of(1, -0.5, -0.5, 0.75)];
    const det = (m: Float64Array) => m[0] * m[3] - m[1] * m[2];
    const product = a[0] * b[0] + a[1] * b[2] + a[2] * b[1] + a[3] * b[3];
    const want = 5 + 1.75 - 2 * Math.sqrt(product + 2 * Math.sqrt(det(a) * det(b)));
    const mean = new Float64Array(2);
    expect(distance({ mean, covariance: a }, { mean, covariance: b })).toBeCloseTo(want, 12);
  });

  it('is 0 for equal features, symmetric, and independent of the order of rows', () => {
    const [real, fake] = [goldenRows('real'), goldenRows('fake')];
    const [a, b] = [gaussianOf(real), gaussianOf(fake)];
    expect(distance(a, a)).toBeLessThan(1e-11);
    expect(distance(a, b) / distance(b, a)).toBeCloseTo(1, 12);
    expect(distance(gaussianOf(shuffled(real, 'order')), b) / distance(a, b)).toBeCloseTo(1, 12);
  });
});

it('computes mean and covariance of values far from 0 as defined, at once or in batches', () => {
  const features = normalRows(1100, 6, 'gaussian', 1000);
  const { values, rows, columns } = features;
  const { mean, covariance, count } = gaussianOf(features);
  expect(count).toBe(rows);
  for (let j = 0; j < columns; j++) {
    const column = (at: number) => Array.from({ length: rows }, (_, i) => values[i * columns + at]);
    const meanOf = (at: number) => column(at).reduce((sum, value) => sum + value / rows, 0);
    expect(mean[j]).toBeCloseTo(meanOf(j), 9);
    for (let l = 0; l < columns; l++) {
      const [other, mj, ml] = [column(l), meanOf(j), meanOf(l)];
      const want = column(j).reduce((sum, value, i) => sum + (value - mj) * (other[i] - ml), 0) / (rows - 1);
      expect(covariance[j * columns + l]).toBeCloseTo(want, 9);
    }
  }
  const accumulator = new GaussianAccumulator(columns);
  for (let start = 0; start < rows; start += 300) {
    const part = values.subarray(start * columns, Math.min(start + 300, rows) * columns);
    accumulator.add({ values: Float32Array.from(part), rows: part.length / columns, columns });
  }
  // The values are rounded to f32 near 1000.
  expect(relativeToLargest(accumulator.statistics().covariance, covariance)).toBeLessThan(1e-4);
});

describe('Inception score', () => {
  it('matches the golden value to 1e-12', () => {
    const { mean, deviation } = inceptionScore(goldenRows('logits'));
    expect(mean / goldenValue('inception_score')).toBeCloseTo(1, 12);
    expect(deviation).toBe(0);
  });

  it('is 1 if the classifier is undecided, and the number of classes if it is certain', () => {
    expect(
      inceptionScore(
        rowsOf([
          [5, 5],
          [-2, -2],
        ]),
      ).mean,
    ).toBeCloseTo(1, 14);
    const sure = rowsOf(Array.from({ length: 12 }, (_, i) => [0, 1, 2].map((j) => (i % 3 === j ? 800 : -800))));
    expect(inceptionScore(sure).mean).toBeCloseTo(3, 12);
  });

  it('of splits is the mean and deviation of the parts', () => {
    const logits = goldenRows('logits');
    const { columns } = logits;
    const parts = [0, 1, 2].map((i) =>
      inceptionScore({
        values: logits.values.subarray(i * 100 * columns, (i + 1) * 100 * columns),
        rows: 100,
        columns,
      }),
    );
    const mean = parts.reduce((sum, part) => sum + part.mean / 3, 0);
    const variance = parts.reduce((sum, part) => sum + (part.mean - mean) ** 2 / 3, 0);
    const split = inceptionScore(logits, { splits: 3 });
    expect(split.mean).toBeCloseTo(mean, 12);
    expect(split.deviation).toBeCloseTo(Math.sqrt(variance), 12);
  });
});

describe('kernel distance', () => {
  it('matches the golden value of one block to 1e-11', () => {
    const got = kernelDistance(firstRows(goldenRows('real'), 500), goldenRows('fake'));
    expect(got.mean / goldenValue('kid_single_block_500')).toBeCloseTo(1, 11);
    expect(got).toMatchObject({ standardError: undefined, blocks: 1 });
  });

  it('matches the definition, block by block', () => {
    const [x, y] = [normalRows(7, 3, 'x'), normalRows(10, 3, 'y', 0.5)];
    const part = ({ values, columns }: FeatureRows, start: number, end: number) =>
      Array.from({ length: end - start }, (_, i) => [
        ...values.subarray((start + i) * columns, (start + i + 1) * columns),
      ]);
    const kernel = (a: number[], b: number[]) => (a.reduce((sum, v, j) => sum + v * b[j], 0) / 3 + 1) ** 3;
    const average = (a: number[][], b: number[][]) => {
      const pairs = a.flatMap((p, i) => b.filter((_, j) => a !== b || i !== j).map((q) => kernel(p, q)));
      return pairs.reduce((sum, value) => sum + value, 0) / pairs.length;
    };
    const block = (a: number[][], b: number[][]) => average(a, a) + average(b, b) - 2 * average(a, b);
    const values = [block(part(x, 0, 3), part(y, 0, 5)), block(part(x, 3, 7), part(y, 5, 10))];
    const got = kernelDistance(x, y, { blockSize: 5 });
    expect(got.blocks).toBe(2);
    expect(got.mean).toBeCloseTo((values[0] + values[1]) / 2, 12);
    // Each of two values is half their difference away from the mean.
    expect(got.standardError).toBeCloseTo(Math.abs(values[0] - values[1]) / 2, 12);
  });

  it('is 0 within its error for samples of one distribution, and independent of the order within a block', () => {
    const [x, y] = [normalRows(1000, 8, 'one'), normalRows(1000, 8, 'two')];
    const { mean, standardError } = kernelDistance(x, y, { blockSize: 100 });
    expect(Math.abs(mean)).toBeLessThan(4 * (standardError as number));
    expect(kernelDistance(shuffled(x, 'order'), y).mean).toBeCloseTo(kernelDistance(x, y).mean, 12);
  });
});

describe('precision and recall', () => {
  const naive = (x: FeatureRows, y: FeatureRows, k: number): { precision: number; recall: number } => {
    const points = ({ values, rows, columns }: FeatureRows) =>
      Array.from({ length: rows }, (_, i) => [...values.subarray(i * columns, (i + 1) * columns)]);
    const apart = (a: number[], b: number[]) => a.reduce((sum, v, j) => sum + (v - b[j]) ** 2, 0);
    const share = (inside: number[][], manifold: number[][]) => {
      const radii = manifold.map((p) => manifold.map((q) => apart(p, q)).sort((a, b) => a - b)[k]);
      return inside.filter((p) => manifold.some((q, i) => apart(p, q) <= radii[i])).length / inside.length;
    };
    const [real, fake] = [points(x), points(y)];
    return { precision: share(fake, real), recall: share(real, fake) };
  };

  it('matches the definition, over several blocks of rows', () => {
    const [x, y] = [normalRows(530, 3, 'real'), normalRows(600, 3, 'fake', 1.5)];
    for (const neighbours of [1, 3]) expect(precisionRecall(x, y, { neighbours })).toEqual(naive(x, y, neighbours));
    expect(precisionRecall(y, x)).toEqual({ precision: naive(x, y, 3).recall, recall: naive(x, y, 3).precision });
    expect(precisionRecall(shuffled(x, 'order'), y)).toEqual(naive(x, y, 3));
  });

  it('is 1 for equal sets, repeated rows included, and 0 for sets far apart', () => {
    const x = normalRows(40, 5, 'equal', 30);
    expect(precisionRecall(x, x)).toEqual({ precision: 1, recall: 1 });
    const repeated = rowsOf(Array.from({ length: 8 }, (_, i) => [0.1 * (i % 2), 0.3]));
    expect(precisionRecall(repeated, repeated)).toEqual({ precision: 1, recall: 1 });
    expect(precisionRecall(x, normalRows(40, 5, 'far', 100))).toEqual({ precision: 0, recall: 0 });
  });

  it('is precise for samples of few modes, and recalls their share', () => {
    const modes = (list: number[]) =>
      rowsOf(list.flatMap((mode) => [0, 0.1, 0.2, 0.3, 0.4].map((offset) => [10 * mode, offset])));
    expect(precisionRecall(modes([0, 1, 2, 3]), modes([1]))).toEqual({ precision: 1, recall: 0.25 });
  });
});

it('every score gets worse for shifted features', () => {
  fc.assert(
    fc.property(fc.integer(), fc.double({ min: 0.5, max: 3, noNaN: true }), (seed, shift) => {
      const [real, near, far] = [0, 0, shift].map((s, i) => normalRows(200, 4, `${seed} ${i}`, s));
      const frechet = (fake: FeatureRows) => frechetDistance(gaussianOf(real), gaussianOf(fake));
      expect(frechet(near)).toBeLessThan(frechet(far));
      expect(kernelDistance(real, near).mean).toBeLessThan(kernelDistance(real, far).mean);
    }),
    { numRuns: 10 },
  );
});

it('refuses features that cannot be compared', () => {
  const x = normalRows(10, 3, 'x');
  const wrong = { ...x, values: Float64Array.from(x.values).fill(Number.NaN, 4, 5) };
  for (const score of [kernelDistance, precisionRecall]) {
    expect(() => score(x, normalRows(10, 4, 'y'))).toThrow('features of 3 and of 4 columns');
    expect(() => score(x, { ...x, rows: 9 })).toThrow(ValueError);
    expect(() => score(x, wrong)).toThrow('features of samples: value 1 of row 1 is NaN');
  }
  expect(() => gaussianOf(wrong)).toThrow('value 1 of row 1 is NaN');
  expect(() => gaussianOf(normalRows(1, 3, 'one'))).toThrow('at least two feature vectors, got 1');
  expect(() => new GaussianAccumulator(2).add(x)).toThrow('3 columns cannot be added to features of 2');
  expect(() => frechetDistance(gaussianOf(x), gaussianOf(normalRows(9, 4, 'y')))).toThrow('columns cannot be compared');
  expect(() => frechetDistance(gaussianOf(x), { ...gaussianOf(x), mean: Float64Array.of(1) })).toThrow(ValueError);
  const huge = { mean: new Float64Array(1), covariance: Float64Array.of(1e200) };
  expect(() => frechetDistance(huge, huge)).toThrow('too large to be multiplied');
  expect(() => inceptionScore(x, { splits: 11 })).toThrow('logits: at least 11 rows are needed, got 10');
  expect(() => inceptionScore(x, { splits: 0 })).toThrow(ValueError);
  expect(() => kernelDistance(x, x, { blockSize: 1 })).toThrow(ValueError);
  expect(() => kernelDistance(x, normalRows(3, 3, 'y'), { blockSize: 5 })).toThrow('at least 4 rows are needed, got 3');
  expect(() => precisionRecall(x, x, { neighbours: 10 })).toThrow('at least 11 rows are needed, got 10');
  expect(() => precisionRecall(x, x, { neighbours: 1.5 })).toThrow(ValueError);
});
