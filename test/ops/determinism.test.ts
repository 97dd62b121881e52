/**
 * Same inputs, same bits, for any number of threads: reductions are cut by shape and never by worker.
 * Values and gradients of every case with 1, 2 and 3 threads at its checked sizes, and of one case of every op at a
 * size of a real layer, where the work is cut into many pieces. On the emulated card the same for the order in which
 * threads run: what one order hides, another shows.
 */
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

/** Orders of threads and times of asynchronous copies: three of them, or with RECTIFLOW_TEST_FULL all. */
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

  // Beyond products, the kernels for bf16 have the text of those for f32.
  const products = new Set(['conv2d', 'matmul', 'attention']);
  const chosen = casesIn(precision).filter(({ op }) => full || precision === 'fp32' || products.has(op));

  test.each(chosen.map((definition) => ({ title: describeCase(definition), definition })))(
    '$title gives the same bits whatever the order of threads and copies',
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
