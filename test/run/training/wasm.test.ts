// Training on the device wasm: the losses of the CPU up to rounding, the same bits for any number of threads, and
// memory that does not grow.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { openDevice } from '../../../src/device/open.ts';
import { train } from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { buildWasm } from '../../support/wasm.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-wasm-run-'));
const steps = 24;
const values = { 'model.nf': 8, 'training.batch_size': 8, 'training.n_iters': steps - 1 };

beforeAll(buildWasm, 120_000);

async function losses(name: string, device: Device): Promise<{ run: number[]; memory: object[] }> {
  const run: number[] = [];
  const memory: object[] = [];
  await train(await configWith('digits', values), {
    workdir: join(folder, name),
    device,
    onStep: ({ loss }) => {
      run.push(loss);
      memory.push(device.memory());
    },
  });
  return { run, memory };
}

it('learns the digits as the CPU does, with the same bits for 1, 2 and 3 threads', async () => {
  const cpu = await losses('cpu', await openDevice('cpu', { threads: 2 }));
  const [one, ...more] = await Promise.all(
    [1, 2, 3].map(async (threads) => losses(`threads${threads}`, await openDevice('wasm', { threads }))),
  );
  expect(one.run).toHaveLength(steps);
  for (const other of more) expect(other.run).toEqual(one.run);
  expect(one.memory[steps - 1]).toEqual(one.memory[10]);
  // Rounding differs from the first step on, because there is no fused multiply-add, and Adam's first steps follow the
  // gradient's sign.
  one.run.forEach((loss, step) => {
    expect(Math.abs(loss / cpu.run[step] - 1), `loss of step ${step}`).toBeLessThan(1e-4);
  });
  expect(one.run.at(-1)).toBeLessThan(0.8 * one.run[0]);
}, 240_000);
