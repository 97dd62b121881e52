// Long training: the same losses for any number of threads with every algorithm, no growth of memory after any step,
// and no growth of page faults.
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../../src/index.ts';
import { flowObjective } from '../../../src/run/training/objective.ts';
import { trainingState } from '../../../src/run/training/session.ts';
import { BatchUpdate } from '../../../src/run/training/update.ts';
import { configWith } from '../../support/config.ts';
import { full } from '../../support/devices.ts';

const steps = full ? 999 : 15;
const batchSize = 4;
/**
 * Allowed growth of the JavaScript heap, in pages of 4 KiB, in the last third of the steps beyond that in the second.
 * Activations that were unmapped and faulted in again would cause about 500 faults per step.
 */
const HEAP_PAGES = 8192;

async function run(threads: number, exact: boolean) {
  const config = await configWith('digits', { 'model.nf': 16, 'model.dropout': 0.1 });
  const device = await openDevice('cpu', { threads, exact });
  const { model, optimizer } = trainingState(config, device);
  const { image_size: size, num_channels: channels } = config.data;
  const images = Float32Array.from({ length: batchSize * size * size * channels }, (_, i) => Math.sin(i));
  const objective = flowObjective(
    { imageShape: [size, size, channels], batch: async () => images },
    { model, config, device },
  );
  const update = new BatchUpdate({ model, optimizer, objective, device, batchSize });
  const losses: number[] = [];
  const live = new Set<number>();
  const faults: number[] = [];
  for (let step = 0; step < steps; step++) {
    losses.push(update.run(step, [images]).loss);
    live.add(device.memory().live);
    if ((step + 1) % (steps / 3) === 0) faults.push(process.resourceUsage().minorPageFault);
  }
  update[Symbol.dispose]();
  optimizer.dispose();
  model.dispose();
  return { losses, live, second: faults[1] - faults[0], third: faults[2] - faults[1] };
}

describe.each([
  { name: 'fast convolutions', exact: false },
  { name: 'direct sums', exact: true },
])(`${steps} steps with $name`, ({ exact }) => {
  it('give the same losses with 1, 2 and 3 threads, in constant memory', async () => {
    const [one, ...others] = [await run(1, exact), await run(2, exact), await run(3, exact)];
    expect(one.losses.every(Number.isFinite)).toBe(true);
    for (const other of others) expect(other.losses).toEqual(one.losses);
    for (const { live, second, third } of [one, ...others]) {
      expect(live.size).toBe(1);
      expect(third, 'page faults').toBeLessThan(second + HEAP_PAGES);
    }
  }, 900_000);
});
