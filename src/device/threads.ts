// How many threads kernels use where nobody says so.
import { availableParallelism } from 'node:os';
import { ValueError } from '../errors.ts';

/** Of one device. */
export const MOST_THREADS = 256;

/** RECTIFLOW_THREADS, or all that the system grants. Several processes on one machine are sooner done with their share each. */
export function defaultThreads(): number {
  const text = process.env.RECTIFLOW_THREADS;
  if (text === undefined || text === '') return Math.min(availableParallelism(), MOST_THREADS);
  return checkThreads(Number(text), `RECTIFLOW_THREADS`, text);
}

/** @throws ValueError unless it is a whole number from 1 to 256 */
export function checkThreads(threads: number, name: string, given: string | number = threads): number {
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS)
    throw new ValueError(`${name} must be a whole number from 1 to ${MOST_THREADS}, got ${given}`);
  return threads;
}
