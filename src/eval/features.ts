// Feature vectors of images, a row each, on the host: what scores compare.
import { ValueError } from '../errors.ts';

export interface FeatureRows {
  /** Row-major [rows, columns]. */
  values: Float32Array | Float64Array;
  rows: number;
  columns: number;
}

/** @throws ValueError unless there are at least `least` rows of as many values as stated, all finite */
export function checkFeatures(what: string, { values, rows, columns }: FeatureRows, least = 1): void {
  if (values.length !== rows * columns || columns < 1)
    throw new ValueError(`${what}: ${values.length} values are not ${rows} rows of ${columns}`);
  if (rows < least) throw new ValueError(`${what}: at least ${least} rows are needed, got ${rows}`);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new ValueError(`${what}: value ${bad % columns} of row ${Math.floor(bad / columns)} is ${values[bad]}`);
}

/** @throws ValueError unless both have the same columns and each at least `least` rows */
export function checkPair(real: FeatureRows, fake: FeatureRows, least: number): void {
  checkFeatures('real features', real, least);
  checkFeatures('features of samples', fake, least);
  if (real.columns !== fake.columns)
    throw new ValueError(`features of ${real.columns} and of ${fake.columns} columns cannot be compared`);
}

/** Rows [start, end) in float64. */
export function rowsAsFloat64({ values, columns }: FeatureRows, start: number, end: number): Float64Array {
  return Float64Array.from(values.subarray(start * columns, end * columns));
}
