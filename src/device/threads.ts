// The default number of threads.
import { availableParallelism } from 'node:os';
import { fromEnvironment, MOST_THREADS } from './environment.ts';

/** RECTIFLOW_THREADS, or all that the system grants. Several processes on one machine finish sooner if they share the cores. */
export function defaultThreads(): number {
  return fromEnvironment('RECTIFLOW_THREADS') ?? Math.min(availableParallelism(), MOST_THREADS);
}
