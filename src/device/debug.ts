// RECTIFLOW_DEBUG prints what the engine does to standard error: 1 devices, cache and leaks; 2 each kernel with its time; 3 the
// source that ran.

import { fromEnvironment } from './environment.ts';

/** The current level; 0 when the variable is not set. */
export function debugLevel(): number {
  return fromEnvironment('RECTIFLOW_DEBUG') ?? 0;
}

export function debugLine(level: number, text: string): void {
  if (debugLevel() >= level) console.error(`rectiflow: ${text}`);
}

export function reportCompile(module: string, milliseconds: number, source: string): void {
  debugLine(1, `compiled ${module} in ${milliseconds.toFixed(0)} ms`);
  debugLine(3, `source of ${module}: ${source}`);
}

/** Wraps a kernel so that each call prints its name and time. */
export function traceLaunch(name: string, launch: (...values: number[]) => number): (...values: number[]) => number {
  return (...values) => {
    const start = performance.now();
    const result = launch(...values);
    debugLine(2, `${name} ${((performance.now() - start) * 1e3).toFixed(1)} us`);
    return result;
  };
}
