// The same inputs give the same bits for any number of threads: reductions are split by shape and never by worker.
// The tests compare values and gradients with 1, 2 and 3 threads, for every case at its checked sizes and for one case of
// every op at the size of a real layer, where the work is split into many pieces. On the emulated card they compare orders
// in which threads run: one order shows a fault that another hides.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Case, describeCase } from '../cases/case.ts';
import { cases, casesIn } from '../cases.ts';
import { type Execution, runCase } from '../support/check.ts';
import { compareThreads, firstDifference } from '../support/determinism.ts';
import { deviceModes, deviceNames, full, openTestDevice } from '../support/devices.ts';

describe.runIf(deviceNames.includes('cpu'))('cpu', () => {
  test.each(cases.map((definition) => ({ title: describeCase(definition), definition })))(
    '$title gives the same bits with 1, 2 and 3 threads',
    async ({ definition }) => {
      for (const size of definition.check) await compareThreads('cpu', definition, size);
    },
    120_000,
  );

  const layers = cases.flatMap((definition, i) => {
    const first = cases.findIndex(({ op, time }) => op === definition.op && time) === i;
    const sizes = full ? definition.time : first ? definition.time?.slice(0, 1) : [];
    return (sizes ?? []).map((size) => ({ title: describeCase(definition, size), definition, size }));
  });

  test.each(layers)(
    '$title gives the same bits with 1, 2 and 3 threads',
    ({ definition, size }) => compareThreads('cpu', definition, size),
    120_000,
  );
});

/** Orders of threads and timings of asynchronous copies: three combinations, or all with RECTIFLOW_TEST_FULL. */
const conditions = ['round eager', 'forward eager', 'backward deferred'].concat(
  full ? ['round deferred', 'forward deferred', 'backward eager'] : [],
);

const emulated = deviceModes.filter(({ name }) => name === 'cuda-emulated');

describe.each(emulated)('$label', ({ name, precision }) => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  async function runUnder(condition: string, definition: Case, size: unknown): Promise<Execution> {
    const device = await openTestDevice(name, { precision });
    const [schedule, copies] = condition.split(' ');
    vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
    vi.stubEnv('FAKECUDA_COPIES', copies);
    return runCase(definition, size, device);
  }

  // Except for products and group norms, the kernels for bf16 share their source with those for f32.
  const others = new Set(['conv2d', 'matmul', 'attention', ...(precision === 'bf16' ? ['groupNorm'] : [])]);
  const chosen = casesIn(precision).filter(({ op }) => full || precision === 'fp32' || others.has(op));

  test.each(chosen.map((definition) => ({ title: describeCase(definition), definition })))(
    '$title gives the same bits for any order of threads and copies',
    async ({ definition }) => {
      for (const size of definition.check) {
        const first = await runUnder(conditions[0], definition, size);
        for (const condition of conditions.slice(1)) {
          const other = await runUnder(condition, definition, size);
          const what = `${describeCase(definition, size)}, ${conditions[0]} and ${condition}`;
          expect(firstDifference(other, first), what).toBeUndefined();
        }
      }
    },
    120_000,
  );
});
