// Reference of the solvers' state update, in float64.
import type { Array64 } from './array.ts';
import { elementwise } from './elementwise.ts';

/** x + sum coefficients[j] stages[j]; x null: 0. */
export function linearCombination(
  x: Array64 | null,
  stages: readonly Array64[],
  coefficients: readonly number[],
): Array64 {
  const terms = x ? [x, ...stages] : stages;
  const factors = x ? [1, ...coefficients] : coefficients;
  return elementwise((...values) => values.reduce((total, value, j) => total + factors[j] * value, 0), ...terms);
}
