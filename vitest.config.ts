import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Two files at a time, each in a process of its own, and one thread each: threads that wait for one another lose much of
    // their time where cores are short.
    env: { RECTIFLOW_THREADS: '1' },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
