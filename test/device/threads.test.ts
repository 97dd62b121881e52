// How many threads a device has that is told no number.
import { availableParallelism } from 'node:os';
import { afterEach, expect, it, vi } from 'vitest';
import { defaultThreads } from '../../src/device/environment.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

it('RECTIFLOW_THREADS, or all that the system grants', () => {
  vi.stubEnv('RECTIFLOW_THREADS', '3');
  expect(defaultThreads()).toBe(3);
  vi.stubEnv('RECTIFLOW_THREADS', '');
  expect(defaultThreads()).toBe(availableParallelism());
});

it.each(['0', '1.5', '257', 'all'])('refuses "%s"', (text) => {
  vi.stubEnv('RECTIFLOW_THREADS', text);
  expect(defaultThreads).toThrow(`RECTIFLOW_THREADS must be a whole number from 1 to 256, got ${text}`);
});
