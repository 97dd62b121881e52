/**
 * Same inputs, same bits, for any number of threads: reductions are cut by shape and never by worker.
 * Values and gradients of every case with 1, 2 and 3 threads at its checked sizes, and of one case of every op at a
 * size of a real layer, where the work is cut into many pieces. On the emulated card the same for the order in which
 * threads run: what one order hides, another shows.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Case, describeCase } from '../cases/case.ts';
import { cases } from '../cases.ts';
import { type Execution, runCase } from '../support/check.ts';
import { compareThreads, firstDifference } from '../support/determinism.ts';
import { deviceNames, full, openTestDevice } from '../support/devices.ts';

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

describe.runIf(deviceNames.includes('cuda-emulated'))('cuda-emulated', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  async function runUnder(schedule: string, definition: Case, size: unknown): Promise<Execution> {
    const device = await openTestDevice('cuda-emulated');
    vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
    return runCase(definition, size, device);
  }

  test.each(cases.map((definition) => ({ title: describeCase(definition), definition })))(
    '$title gives the same bits whatever the order of threads',
    async ({ definition }) => {
      for (const size of definition.check) {
        const round = await runUnder('round', definition, size);
        for (const schedule of ['forward', 'backward']) {
          const other = await runUnder(schedule, definition, size);
          const what = `${describeCase(definition, size)}, schedules round and ${schedule}`;
          expect(firstDifference(other, round), what).toBeUndefined();
        }
      }
    },
    120_000,
  );
});
