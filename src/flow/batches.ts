// Logical batches. A result may depend on the whole batch, as RK45's error norm does, so the batch size is part of what
// is computed.
import { checkArgument, isWhole, kinds } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { checkShape, sizeOf } from '../tensor/shape.ts';
import { turn } from '../turn.ts';

/** Yields `[first, size]` of each batch. Between two batches, the event loop runs and the signal is checked. */
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

/** The number of samples of `shape` in `values`. @throws ShapeError unless it is a whole number >= 1 */
export function countSamples(op: string, values: Float32Array, shape: readonly number[]): number {
  checkArgument(op, 'its samples', values, kinds.float32);
  const count = values.length / sizeOf(checkShape(op, shape));
  if (!isWhole(count, 1))
    throw new ShapeError(op, `one or more samples ${formatShape(shape)}`, `${values.length} numbers`);
  return count;
}
