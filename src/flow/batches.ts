// Work on many samples, one logical batch after the other: what a batch computes may depend on it as a whole (RK45's
// error norm does), so its borders are part of the result.
import { checkArgument, kinds, requireWhole } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { checkShape, sizeOf } from '../tensor/shape.ts';
import { turn } from '../turn.ts';

/** The `[first, size]` of each batch. A batch blocks the event loop; between two, events and the signal get their turn. */
export async function* logicalBatches(
  count: number,
  batch: number,
  signal?: AbortSignal,
): AsyncGenerator<[first: number, size: number]> {
  for (let first = 0; first < count; first += batch) {
    await turn(signal);
    yield [first, Math.min(batch, count - first)];
  }
}

/** @throws ValueError unless each of the named numbers is whole and at least 1 */
export function checkCounts(counts: Record<string, number>): void {
  for (const [name, value] of Object.entries(counts)) requireWhole(name, value, 1);
}

/** How many samples of `shape` lie in `values`. @throws ShapeError for a part of one, or none */
export function countSamples(op: string, values: Float32Array, shape: readonly number[]): number {
  checkArgument(op, 'its samples', values, kinds.float32);
  const count = values.length / sizeOf(checkShape(op, shape));
  if (!Number.isInteger(count) || count < 1)
    throw new ShapeError(op, `one or more samples ${formatShape(shape)}`, `${values.length} numbers`);
  return count;
}
