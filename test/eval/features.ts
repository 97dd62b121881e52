// Feature vectors for the tests of scores.
import type { FeatureRows } from '../../src/eval/index.ts';
import { random } from '../support/random.ts';

/** Rows of independent normals plus `shift`. */
export function normalRows(rows: number, columns: number, seed: string, shift = 0): FeatureRows {
  const draw = random(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  return { values: Float64Array.from({ length: rows * columns }, () => normal() + shift), rows, columns };
}

/** The same rows in another order. */
export function shuffled({ values, rows, columns }: FeatureRows, seed: string): FeatureRows {
  const draw = random(seed);
  const order = Array.from({ length: rows }, (_, i) => ({ i, key: draw() })).sort((a, b) => a.key - b.key);
  return rowsOf(order.map(({ i }) => [...values.subarray(i * columns, (i + 1) * columns)]));
}

export function rowsOf(rows: readonly (readonly number[])[]): FeatureRows {
  return { values: Float64Array.from(rows.flat()), rows: rows.length, columns: rows[0].length };
}
