// The training step as one graph: its kernels and its memory. They are counted for the official CIFAR-10 network at batch 128 on a
// device that runs nothing (bench/gpu/step_plan.ts). The same counts are compared with what the driver captures for narrower networks at
// batch 2, whose losses are compared with the CPU.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { describeStepPlan, imageUpdate, planStep } from '../../bench/gpu/step_plan.ts';
import { tableLines, tableRows } from '../../bench/gpu/table.ts';
import { type Device, type Precision, precisions } from '../../src/device/device.ts';
import { Adam, ddpmppCifar10, Initializer, UNet } from '../../src/nn/index.ts';
import { unetOptions } from '../../src/run/checkpoints/model.ts';
import { loadConfig } from '../../src/run/index.ts';
import type { BatchUpdate } from '../../src/run/training/update.ts';
import { deviceNames, full, openTestDevice } from '../support/devices.ts';
import { random } from '../support/random.ts';

/** The most kernels that a step at batch 128 may launch. */
const MOST_KERNELS = 560;

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-plan-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));

describe.each([
  ['any card from sm_80 on', false],
  ['sm_90a', true],
])('the official CIFAR-10 network at batch 128 in bf16 on %s', (card, hopper) => {
  const plan = planStep(128, 'bf16', { hopper });

  it('is one graph within the limit of kernels', () => {
    expect(plan.kernelCount).toBeLessThanOrEqual(MOST_KERNELS);
    expect(plan.kernels.reduce((sum, [, count]) => sum + count, 0)).toBe(plan.kernelCount);
    expect(plan.copies + plan.fills).toBeLessThanOrEqual(2);
    // All convolutions but the first and the last use the kernels of sm_90a if available.
    const counts = new Map(plan.kernels);
    const kernels = ['conv_forward', 'conv_hopper_forward', 'conv_few_narrow'] as const;
    expect(kernels.map((name) => counts.get(name))).toEqual(hopper ? [undefined, 121, 1] : [121, undefined, 1]);
    // The first layer forward, and the input gradient of the last.
    expect(counts.get('conv_few_widen')).toBe(2);
    expect(counts.get('conv_few_weight_gradient')).toBe(2);
  });

  it('matches its row in docs/gpu.md', () => {
    const gigabytes = [plan.highWater, plan.reserved].map((bytes) => `${(bytes / 1e9).toFixed(3)} GB`);
    const row = [card, plan.kernelCount, plan.copies + plan.fills, ...gigabytes].join(' | ');
    expect(readFileSync(path('docs/gpu.md'), 'utf8')).toContain(`\n| ${row} |\n`);
  });

  it('needs less than 6 GB', () => {
    expect(plan.reserved).toBeLessThan(6e9);
    expect(plan.highWater).toBeLessThanOrEqual(plan.reserved);
    const owned = plan.owners.reduce((sum, [, bytes]) => sum + bytes, 0);
    expect(Math.abs(owned / plan.highWater - 1)).toBeLessThan(0.02);
    // There are 61,804,419 f32 parameters and padding to cache lines; there are two moments.
    const owners = new Map(plan.owners);
    for (const name of ['parameters', 'gradients of parameters', 'moving average'])
      expect(owners.get(name)).toBeCloseTo(4 * 61_804_419, -6);
    expect(describeStepPlan(plan).join('\n')).toContain('memory, computed: ');
  });
});

describe('the official CIFAR-10 network at batch 128 in bf16', () => {
  it('is the network of the configuration', async () => {
    const config = await loadConfig('cifar10_rf_gaussian_ddpmpp');
    expect(config.training.batch_size).toBe(128);
    expect(unetOptions(config)).toMatchObject({ ...ddpmppCifar10, seed: config.seed });
  });

  it('has its ten longest rows and its total in docs/gpu.md, as printed by `npm run gpu:table`', () => {
    const [, written] = readFileSync(path('docs/gpu.md'), 'utf8').split(/<!-- npm run gpu:table -->\n|<!-- end -->/);
    const lines = tableLines(path('bench/results'));
    const rest = lines.slice(lines.indexOf(''));
    expect(written.trim().split('\n')).toEqual([...lines.slice(0, 2 + 10), ...rest]);
    const rows = tableRows();
    // PyTorch's counter gives 8.33 TFLOP for the official module. Three passes of the shortcuts of three blocks that double the image here
    // compute a quarter of the pixels, because they do so before.
    const saved = (0.75 * 3 * 2 * 256 * 256 * 128 * (32 ** 2 + 16 ** 2 + 8 ** 2)) / 1e12;
    const flops = rows.reduce((sum, row) => sum + row.count * row.flops, 0);
    expect(flops / 1e12 + saved).toBeCloseTo(8.33, 1);
    // The first and the last layer move one large image each.
    const images = rows.filter(({ name }) => /^3 x 3 at 32 x 32, (3 → 128|128 → 3)/.test(name));
    expect(images).toHaveLength(5);
    for (const { name, predicted, bounds } of images) expect(predicted / bounds.memory, name).toBeLessThan(1.5);
  });

  it('takes measured times only from results of a card', () => {
    const [row] = tableRows();
    const results = {
      card: 'Card A',
      items: [{ part: 'shapes', name: row.name, ok: true, values: { milliseconds: 0.25 } }],
    };
    writeFileSync(join(folder, 'card-a-2026-01-01.json'), JSON.stringify(results));
    const lines = tableLines(folder);
    expect(lines.filter((line) => line.endsWith('| 250.0 |'))).toHaveLength(1);
    expect(lines.at(-1)).toContain('measured on Card A.');
  });
});

/** Losses and gradient norms of a few steps on random images. */
function train(device: Device, options: typeof narrow, batchSize: number, steps: number) {
  const network = new UNet(options, new Initializer({ seed: options.seed, device }));
  const optimizer = new Adam(network, { learningRate: 2e-4, gradientClip: 1, emaRate: 0.999 });
  const update = imageUpdate(network, optimizer, batchSize);
  const size = batchSize * options.imageSize ** 2 * options.channels;
  const results: ReturnType<BatchUpdate['run']>[] = [];
  const draw = random('images');
  for (let step = 0; step < steps; step++) {
    results.push(update.run(step, [Float32Array.from({ length: size }, () => 2 * draw() - 1)]));
  }
  update[Symbol.dispose]();
  optimizer.dispose();
  network.dispose();
  return results;
}

const narrow = { ...ddpmppCifar10, baseChannels: 32, imageSize: full ? 32 : 16, initScale: 1, seed: 0 };
/** A network of a few layers, for all precisions. */
const small = { ...narrow, baseChannels: 8, imageSize: 8, channelMultipliers: [1, 2], residualBlocks: 1 };
const tolerances = { fp32: 1e-3, tf32: 1e-3, bf16: 1e-2 };

const runs: [string, typeof narrow, Precision][] = [
  ...precisions.map((precision): [string, typeof narrow, Precision] => ['a small network', small, precision]),
  ...(full ? precisions : (['fp32'] as const)).map((precision): [string, typeof narrow, Precision] => [
    'the official network with 32 channels',
    narrow,
    precision,
  ]),
  ['a small network with kernels of sm_90a', { ...small, baseChannels: 64 }, 'bf16'],
];

describe.runIf(deviceNames.includes('cuda-emulated'))('on the emulated card at batch 2', () => {
  it.each(runs)(
    '%s is captured as planned, and its losses match the CPU',
    async (name, options, precision) => {
      const card = await openTestDevice('cuda-emulated', { precision });
      const log = join(folder, `${name} ${precision}`);
      vi.stubEnv('FAKECUDA_CALLS', log);
      const found = train(card, options, 2, 2);
      vi.unstubAllEnvs();
      const calls = readFileSync(log, 'utf8').split('\n');
      const captured = calls.slice(calls.indexOf('cuStreamBeginCapture_v2'), calls.indexOf('cuStreamEndCapture'));
      const count = (call: string) => captured.filter((one) => one === call).length;
      const plan = planStep(2, precision, { network: options, hopper: card.tensorMaps !== undefined });
      expect(count('cuLaunchKernelEx')).toBe(plan.kernelCount);
      expect(count('cuMemcpyDtoDAsync_v2')).toBe(plan.copies);
      expect(count('cuMemsetD8Async')).toBe(plan.fills);
      expect(calls.filter((call) => call === 'cuGraphLaunch')).toHaveLength(1);
      const expected = train(await openTestDevice('cpu'), options, 2, 2);
      found.forEach(({ loss, gradientNorm }, step) => {
        expect(Math.abs(loss / expected[step].loss - 1), `loss ${step}`).toBeLessThan(tolerances[precision]);
        const off = Math.abs(gradientNorm / expected[step].gradientNorm - 1);
        expect(off, `norm ${step}`).toBeLessThan(10 * tolerances[precision]);
      });
    },
    600_000,
  );
});
