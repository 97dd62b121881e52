// The number of threads of a device that is opened without one.
import { availableParallelism } from 'node:os';
import { afterEach, expect, it, vi } from 'vitest';
import { defaultThreads } from '../../src/device/environment.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

it('is RECTIFLOW_THREADS, or the number that the system offers', () => {
  vi.stubEnv('RECTIFLOW_THREADS', '3');
  expect(defaultThreads()).toBe(3);
  vi.stubEnv('RECTIFLOW_THREADS', '');
  expect(defaultThreads()).toBe(availableParallelism());
});

it.each(['0', '1.5', '257', 'all'])('refuses RECTIFLOW_THREADS="%s"', (text) => {
  vi.stubEnv('RECTIFLOW_THREADS', text);
  expect(defaultThreads).toThrow(`RECTIFLOW_THREADS must be a whole number from 1 to 256, got ${text}`);
});
