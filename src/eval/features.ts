// Feature vectors of images on the host, one per row, from which scores are computed.
import { checkArgument, either, instanceOf, kind, kinds } from '../arguments.ts';
import { ValueError } from '../errors.ts';

export interface FeatureRows {
  /** Row-major [rows, columns]. */
  values: Float32Array | Float64Array;
  rows: number;
  columns: number;
}

const valuesKind = either(kinds.float32, instanceOf(Float64Array, 'a Float64Array'));

/** The kind of feature vectors as an argument. */
export const rowsKind = kind('{ values, rows, columns }, values in a Float32Array or Float64Array', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { values, rows, columns } = value as FeatureRows;
  return valuesKind.accepts(values) && kinds.whole.accepts(rows) && kinds.whole.accepts(columns);
});

/** @throws ValueError unless there are at least `least` rows, the sizes match, and all values are finite */
export function checkFeatures(what: string, features: FeatureRows, least = 1): void {
  checkArgument(what, 'features', features, rowsKind);
  const { values, rows, columns } = features;
  if (values.length !== rows * columns || columns < 1)
    throw new ValueError(`${what}: ${values.length} values are not ${rows} rows of ${columns}`);
  if (rows < least) throw new ValueError(`${what}: at least ${least} rows are needed, got ${rows}`);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new ValueError(`${what}: value ${bad % columns} of row ${Math.floor(bad / columns)} is ${values[bad]}`);
}

/** @throws ValueError unless both have the same number of columns and at least `least` rows */
export function checkPair(real: FeatureRows, fake: FeatureRows, least: number): void {
  checkFeatures('real features', real, least);
  checkFeatures('features of samples', fake, least);
  if (real.columns !== fake.columns)
    throw new ValueError(`features of ${real.columns} and of ${fake.columns} columns cannot be compared`);
}

/** Copies rows [start, end) to float64. */
export function rowsAsFloat64({ values, columns }: FeatureRows, start: number, end: number): Float64Array {
  return Float64Array.from(values.subarray(start * columns, end * columns));
}
