// Compares executions of a case bit by bit.
import { expect } from 'vitest';
import { openDevice } from '../../src/device/open.ts';
import { type Case, describeCase } from '../cases/case.ts';
import { type Execution, runCase } from './check.ts';

/** The first output or gradient whose bits differ, or undefined. */
export function firstDifference(got: Execution, want: Execution): string | undefined {
  for (const part of ['outputs', 'gradients'] as const) {
    for (let i = 0; i < want[part].length; i++) {
      const [a, b] = [got[part][i]?.data, want[part][i]?.data];
      if (!a || !b) continue;
      let at = 0;
      while (at < a.length && Object.is(a[at], b[at])) at++;
      if (at < a.length) return `${part} ${i} at [${at}]: ${a[at]} and ${b[at]}`;
    }
  }
}

/** Expects the same bits of values and gradients of a case with 1, 2 and 3 threads. */
export async function compareThreads(name: 'cpu' | 'wasm', definition: Case, size: unknown): Promise<void> {
  const one = await runCase(definition, size, await openDevice(name, { threads: 1 }));
  for (const threads of [2, 3]) {
    const many = await runCase(definition, size, await openDevice(name, { threads }));
    expect(firstDifference(many, one), `${describeCase(definition, size)}, ${threads} threads and 1`).toBeUndefined();
  }
}
