/**
 * Every case of the table at all its sizes on every device under test: value and gradients against the float64
 * reference, and no memory left behind.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { describeCase } from '../cases/case.ts';
import { casesIn } from '../cases.ts';
import { checkCase, runCase } from '../support/check.ts';
import { deviceModes, lesserModes, openTestDevice } from '../support/devices.ts';

describe.each([...deviceModes, ...lesserModes])('$label', ({ name, ...mode }) => {
  let device: Device;

  beforeAll(async () => {
    device = await openTestDevice(name, mode);
  }, 120_000);

  test.each(casesIn(mode.precision).map((definition) => ({ title: describeCase(definition), definition })))(
    '$title matches the reference',
    async ({ definition }) => {
      for (const size of definition.check) await checkCase(definition, size, device, 0);
      const before = device.memory().live;
      for (const size of definition.check) await runCase(definition, size, device);
      expect(device.memory().live - before, 'bytes left allocated').toBe(0);
    },
    120_000,
  );
});
