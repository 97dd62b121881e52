// Every case of the table at all its sizes on every device under test: value and gradients against the float64
// reference, and no leaked memory; on the CPU also with the kernels of lesser instruction sets.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { describeCase } from '../cases/case.ts';
import { casesIn } from '../cases.ts';
import { checkCase, runCase } from '../support/check.ts';
import { deviceModes, full, lesserModes, openTestDevice } from '../support/devices.ts';

describe.each([...deviceModes, ...lesserModes])('$label', ({ name, ...mode }) => {
  let device: Device;

  beforeAll(async () => {
    // Tensor cores truncate what they add.
    vi.stubEnv('FAKECUDA_SUMS', 'truncated');
    device = await openTestDevice(name, mode);
  }, 120_000);
  afterAll(() => {
    vi.unstubAllEnvs();
  });

  // Without fast algorithms only convolutions differ; lesser instruction sets change kernels that depend on the vector length.
  const vectors = ['conv2d', 'matmul', 'attention', 'batchNorm', 'groupNorm', 'layerNorm', 'softmax', 'sum'];
  const some = mode.march ? vectors : ['conv2d'];
  const every = full || name.startsWith('cuda') || !(mode.exact || mode.march);
  const cases = casesIn(mode.precision).filter(({ op }) => every || some.includes(op));

  test.each(cases.map((definition) => ({ title: describeCase(definition), definition })))(
    '$title matches the reference',
    async ({ definition }) => {
      // The reference takes most of the time at larger sizes; lesser instruction sets run the first sizes only.
      const sizes = mode.march && !full ? definition.check.slice(0, 2) : definition.check;
      for (const size of sizes) await checkCase(definition, size, device, 0);
      const before = device.memory().live;
      for (const size of sizes) await runCase(definition, size, device);
      expect(device.memory().live - before, 'bytes left allocated').toBe(0);
    },
    120_000,
  );
});
