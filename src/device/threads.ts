// The default number of threads.
import { availableParallelism } from 'node:os';
import { ValueError } from '../errors.ts';
import { fromEnvironment, MOST_THREADS } from './environment.ts';

/** RECTIFLOW_THREADS, or all that the system grants. Several processes on one machine finish sooner if they share the cores. */
export function defaultThreads(): number {
  return fromEnvironment('RECTIFLOW_THREADS') ?? Math.min(availableParallelism(), MOST_THREADS);
}

/** @throws ValueError unless it is a whole number from 1 to 256 */
export function checkThreads(threads: number, name: string): void {
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS)
    throw new ValueError(`${name} must be a whole number from 1 to ${MOST_THREADS}, got ${threads}`);
}
