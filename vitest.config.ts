import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take longest, in their order. */
const long = [
  'ops/values',
  'run/chain/chain',
  'ops/determinism',
  'cli/official_run',
  'cli/cli',
  'repository/package',
].concat([
  'run/training/failures',
  'run/training/steady',
  'golden/golden',
  'run/sampling/pairs',
  'gpu/step_plan',
  'run/training/resume',
  'ops/wasm',
  'repository/docs',
]);

/** Long files first, so that both workers end at about the same time. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = long.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return at < 0 ? long.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Two files at a time, each in a process of its own, and one thread each: threads that wait for one another lose much of
    // their time where cores are short.
    env: { RECTIFLOW_THREADS: '1' },
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
