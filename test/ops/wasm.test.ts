// The case table on WebAssembly: values and gradients against the float64 reference with three threads, and the same bits
// with 1, 2 and 3. The tolerances are those of the CPU, because the kernels are the same C. RECTIFLOW_TEST_DEVICES=wasm runs the
// other tests of ops there too.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { describeCase } from '../cases/case.ts';
import { casesIn } from '../cases.ts';
import { checkCase, runCase } from '../support/check.ts';
import { compareThreads } from '../support/determinism.ts';
import { buildWasm } from '../support/wasm.ts';

let device: Device;
beforeAll(async () => {
  buildWasm();
  device = await openDevice('wasm', { threads: 3 });
}, 120_000);

test.each(casesIn('fp32').map((definition) => ({ title: describeCase(definition), definition })))(
  '$title matches the reference for any number of threads',
  async ({ definition }) => {
    for (const size of definition.check) await checkCase(definition, size, device, 0);
    const before = device.memory().live;
    for (const size of definition.check) await runCase(definition, size, device);
    expect(device.memory().live - before, 'bytes left allocated').toBe(0);
    for (const size of definition.check) await compareThreads('wasm', definition, size);
  },
  120_000,
);
