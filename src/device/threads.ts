// How many threads kernels use where nobody says so.
import { availableParallelism } from 'node:os';
import { fromEnvironment, MOST_THREADS } from './environment.ts';

/** RECTIFLOW_THREADS, or all that the system grants. Several processes on one machine are sooner done with their share each. */
export function defaultThreads(): number {
  return fromEnvironment('RECTIFLOW_THREADS') ?? Math.min(availableParallelism(), MOST_THREADS);
}
