// The time of each kernel within a training step, as `npm run gpu` takes it, on the emulated card: all kernels of the plan are there.
import { describe, expect, it } from 'vitest';
import { kernelTimes } from '../../bench/gpu/measure.ts';
import { planStep } from '../../bench/gpu/step_plan.ts';
import { ddpmppCifar10 } from '../../src/nn/index.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const small = { baseChannels: 8, imageSize: 8, channelMultipliers: [1, 2], residualBlocks: 1, initScale: 1, seed: 0 };
const options = { ...ddpmppCifar10, ...small };

describe.runIf(deviceNames.includes('cuda-emulated'))('on the emulated card', () => {
  it('each kernel of a training step has a time', async () => {
    const device = await openTestDevice('cuda-emulated', { precision: 'bf16' });
    const before = device.memory().live;
    const { values = {}, detail } = kernelTimes(device, 2, options, 1);
    const { kernels, kernelCount } = planStep(2, 'bf16', { network: options, hopper: device.tensorMaps !== undefined });
    expect(detail).toBe(`${kernelCount} kernels, in microseconds`);
    expect(Object.keys(values).sort()).toEqual(kernels.map(([name]) => name).sort());
    for (const [name, microseconds] of Object.entries(values)) expect(microseconds, name).toBeGreaterThan(0);
    // Constants and tables stay.
    expect(device.memory().live - before).toBeLessThan(20_000);
  }, 240_000);
});
