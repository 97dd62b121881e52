// `npm run bench:pytorch`: its statistics and flags, workers that fail, and our worker on a tiny network; with a Python that has
// PyTorch also that both sides have the same network.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseFlags } from '../../bench/pytorch_cpu/flags.ts';
import { type CountedLayer, layerComparisons, networkFlops } from '../../bench/pytorch_cpu/layers.ts';
import { startEngine, startTorch } from '../../bench/pytorch_cpu/run.ts';
import { networkDifference } from '../../bench/pytorch_cpu/same_network.ts';
import { scalingComparisons } from '../../bench/pytorch_cpu/scaling.ts';
import { smallSizes } from '../../bench/pytorch_cpu/sizes.ts';
import { stepComparisons, stepRatios } from '../../bench/pytorch_cpu/steps.ts';
import { geometricMean, meanRatio, quantile, quartilesOf, ratioOf } from '../../bench/pytorch_cpu/timing_statistics.ts';
import { SETTLING_SECONDS, takeTurns } from '../../bench/pytorch_cpu/turns.ts';
import { Worker } from '../../bench/pytorch_cpu/worker.ts';
import { loadConfig } from '../../src/run/config/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const python = process.env.RECTIFLOW_TORCH_PYTHON;

describe('statistics', () => {
  test('quantiles lie between samples', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([5, 1, 3], 0.25)).toBe(2);
    expect(quantile([7], 0.75)).toBe(7);
    expect(quartilesOf([5, 1, 3])).toEqual([2, 3, 4]);
    expect(geometricMean([1, 4, 16])).toBeCloseTo(4, 12);
  });

  test('a ratio is relative to the faster side, and its spread comes from single rounds', () => {
    const found = ratioOf([1, 2, 1], { slow: [9, 9, 9], fast: [2, 6, 4] });
    expect(found).toEqual({ ratio: 4, quartiles: [2.5, 3.5], against: 'fast' });
    const other = { ratio: 1, quartiles: [0.625, 1.75] as [number, number], against: 'x' };
    const mean = meanRatio([found, other]);
    expect(mean.ratio).toBeCloseTo(2, 12);
    expect(mean.quartiles[0]).toBeCloseTo(1.25, 12);
  });

  test('fp32 and bf16 ratios come from one comparison', async () => {
    const sizes = await smallSizes();
    const [training] = await stepComparisons(sizes, {
      rounds: 1,
      batches: [16, 4],
      bf16: true,
      flopsOf: async () => 1,
    });
    const fp32 = { 'pytorch fp32 contiguous': [6], 'pytorch fp32 channels_last': [5] };
    const bf16 = { 'pytorch bf16 contiguous': [3], 'pytorch bf16 channels_last': [4] };
    const ratios = stepRatios(training, { rectiflow: [2], ...fp32, ...bf16 });
    expect(ratios).toMatchObject({
      train_fp32_b16: { ratio: 2.5, against: 'pytorch fp32 channels_last' },
      train_vs_bf16_b16: { ratio: 1.5, against: 'pytorch bf16 contiguous' },
    });
  });
});

test('counts the floating-point operations of layers', async () => {
  const layers: CountedLayer[] = [
    { op: 'conv', size: 8, inputs: 16, outputs: 32, kernel: 3, count: 2 },
    { op: 'attention', size: 4, inputs: 16, count: 1 },
    { op: 'linear', inputs: 16, outputs: 64, count: 3 },
    { op: 'norm', size: 8, inputs: 16, count: 5 },
  ];
  const convolution = 2 * 64 * 16 * 32 * 9;
  expect(networkFlops(layers)).toBe(2 * convolution + 2 * 2 * 16 * 16 * 16 + 3 * 2 * 16 * 64);
  const config = await loadConfig('digits');
  const [forward, backward] = layerComparisons(layers, config, [4], { rounds: 1, warmup: 1 });
  expect([forward.name, forward.flops]).toEqual(['layer b4 conv 3x3 8x8x16 -> 32 forward', 4 * convolution]);
  expect([backward.workload.backward, backward.flops]).toEqual([true, 8 * convolution]);
});

test('measures a setting that several factors share once', async () => {
  const comparisons = await scalingComparisons({
    config: await loadConfig('digits'),
    growth: { batch: [1, 2], channels: [16, 32], resolution: [8], threads: [1] },
    base: { batch: 2, channels: 32, resolution: 8, threads: 1 },
    flopsOf: async ({ model }) => model.nf,
  });
  expect(comparisons.map(({ setting, flops }) => [setting.batch, setting.channels, flops])).toEqual([
    [1, 32, 96],
    [2, 32, 192],
    [2, 16, 96],
  ]);
});

test('parses flags', () => {
  expect(parseFlags([])).toMatchObject({ rounds: 7, json: 'bench/results/pytorch-cpu.json' });
  expect(parseFlags(['--only', 'layer'])).toMatchObject({ only: 'layer', json: undefined });
  expect(parseFlags(['--small', '--json', 'a.json'])).toMatchObject({ json: 'a.json' });
  for (const args of [['--rounds', '0'], ['--threads', 'x'], ['--rounds', '1.5'], ['--fast'], ['more']])
    expect(() => parseFlags(args)).toThrow(args[0]);
});

describe('a worker', () => {
  const run = (script: string) => new Worker({ name: 'the worker', command: process.execPath, args: ['-e', script] });

  test('answers in order', async () => {
    const script =
      "require('readline').createInterface({ input: process.stdin }).on('line', (line) => console.log(line))";
    using worker = run(script);
    const answers = Promise.all([worker.ask('a'), worker.ask('b', { n: 1 })]);
    expect(await answers).toEqual([{ do: 'a' }, { do: 'b', n: 1 }]);
  });

  test('that exits is reported with its output', async () => {
    using worker = run(
      "process.stdin.once('data', () => { console.error('no memory'); process.exitCode = 3; process.stdin.destroy(); })",
    );
    await expect(worker.ask('run')).rejects.toThrow(/^the worker ended with status 3:\nno memory$/);
    await expect(worker.ask('again')).rejects.toThrow('no memory');
  });

  test('that prints anything but an answer is stopped', async () => {
    using worker = run("process.stdin.once('data', () => console.log('Warning: slow')); setInterval(() => {}, 1000)");
    await expect(worker.ask('run')).rejects.toThrow('the worker printed "Warning: slow", which is not an answer');
  });

  test('that cannot be started is reported', async () => {
    using worker = new Worker({ name: 'Python', command: '/nowhere/python', args: [] });
    await expect(worker.ask('run')).rejects.toThrow(/Python cannot be started: .*ENOENT/);
  });
});

test('sides take turns; the warm-up and the first of several calls do not count', async () => {
  const asked: string[] = [];
  let clock = 0;
  const worker = {
    ask: async (command: string, { name, calls }: { name: string; calls: number }) => {
      asked.push(`${command} ${name} ${calls ?? ''}`.trimEnd());
      return { seconds: Array.from({ length: calls ?? 0 }, () => ++clock) };
    },
  } as unknown as Worker;
  const sides = ['a', 'b'].map((name) => ({ name, worker, workload: {} }));
  const samples = await takeTurns(sides, { rounds: 2, warmup: 1, calls: 2 });
  expect(asked).toEqual([
    ...['open a', 'run a 1', 'open b', 'run b 1'],
    ...['run a 3', 'run b 3', 'run a 3', 'run b 3'],
    ...['close a', 'close b'],
  ]);
  expect(samples).toEqual({ a: [4, 5, 10, 11], b: [7, 8, 13, 14] });
});

test('a turn of short calls starts with enough calls for threads to settle', async () => {
  const asked: number[] = [];
  const worker = {
    ask: async (_: string, { calls }: { calls?: number }) => {
      if (calls) asked.push(calls);
      return { seconds: Array.from({ length: calls ?? 0 }, (_, i) => SETTLING_SECONDS / 4 + i) };
    },
  } as unknown as Worker;
  const samples = await takeTurns([{ name: 'a', worker, workload: {} }], { rounds: 2, warmup: 2, calls: 3 });
  expect(asked).toEqual([2, 7, 7]);
  expect(samples.a.map(Math.floor)).toEqual([4, 5, 6, 4, 5, 6]);
});

test('our worker trains, samples, times layers and profiles', async () => {
  using engine = startEngine(1);
  expect(await engine.ask('about')).toMatchObject({ node: process.version, threads: 1 });
  const config = (await smallSizes()).small.digits;
  const shape = { op: 'conv', size: 8, inputs: 16, outputs: 16, kernel: 3 };
  const norm = { op: 'norm', size: 8, inputs: 16 };
  for (const workload of [
    { kind: 'train', config, batch: 2 },
    { kind: 'train', config, batch: 2, threads: 2 },
    { kind: 'sample', config, batch: 2, steps: 2 },
    { kind: 'optimizer', config },
    ...[shape, norm, { op: 'attention', size: 4, inputs: 16 }, { op: 'linear', inputs: 16, outputs: 32 }].flatMap(
      (shape) => [false, true].map((backward) => ({ kind: 'layer', shape, batch: 2, backward })),
    ),
  ]) {
    await engine.ask('open', { name: 'it', ...workload });
    const { seconds } = await engine.ask<{ seconds: number[] }>('run', { name: 'it', calls: 2 });
    expect(seconds).toEqual([expect.any(Number), expect.any(Number)]);
    expect(Math.min(...seconds)).toBeGreaterThan(0);
    await engine.ask('close', { name: 'it' });
  }
  await engine.ask('open', { name: 'it', kind: 'layer', shape: norm, batch: 2, backward: false });
  const { seconds, kernels } = await engine.ask<{
    seconds: number[];
    kernels: { seconds: number; launches: number }[];
  }>('profile', { name: 'it', calls: 3 });
  expect(kernels).toEqual([{ kernel: expect.stringContaining('2 8 8 16'), launches: 3, seconds: expect.any(Number) }]);
  expect(kernels[0].seconds).toBeLessThan(seconds.reduce((sum, value) => sum + value));
  // The step is replayed, so each kernel runs as often as in every other step.
  await engine.ask('open', { name: 'step', kind: 'train', config, batch: 2 });
  const step = await engine.ask<{ kernels: { kernel: string; launches: number }[] }>('profile', {
    name: 'step',
    calls: 3,
  });
  expect(step.kernels.filter(({ kernel }) => kernel.startsWith('optimizer_adam'))).toHaveLength(1);
  for (const { kernel, launches } of step.kernels) expect(launches % 3, kernel).toBe(0);
  await engine.ask('close', { name: 'step' });
  await expect(engine.ask('dance')).rejects.toThrow(
    /our engine's worker ended with status 1:[\s\S]*unknown command "dance"/,
  );
});

// The blocks: 4 levels of 4 down and 5 up, 3 that halve and 3 that double, 2 in the middle.
const residualBlocks = 4 * 4 + 4 * 5 + 3 + 3 + 2;
// The attention blocks at 16x16: 4 down, 1 up; 1 in the middle.
const attentionBlocks = 4 + 1 + 1;

describe.skipIf(!python)('PyTorch itself (RECTIFLOW_TORCH_PYTHON)', () => {
  test.each(['cifar10_small', 'digits'])('has the same network as ours for %s', async (name) => {
    using engine = startEngine(1);
    using torch = startTorch(python as string, 1);
    const found = await networkDifference(await loadConfig(name), { engine, torch });
    expect(found.parameters[0]).toBe(found.parameters[1]);
    // The measured error is 2e-6 with direct convolutions.
    expect(found.velocity).toBeLessThan(1e-4);
    expect(found.gradients).toBeLessThan(1e-4);
  });

  test('has the known number of layers in the official network', async () => {
    using torch = startTorch(python as string, 1);
    const config = await loadConfig('cifar10_rf_gaussian_ddpmpp');
    const { layers } = await torch.ask<{ layers: CountedLayer[] }>('layers', { config });
    const count = (op: string, kernel?: number) =>
      layers
        .filter(
          (layer) => layer.op === op && (kernel === undefined || (layer.op === 'conv' && layer.kernel === kernel)),
        )
        .reduce((sum, layer) => sum + layer.count, 0);
    expect([count('conv', 3), count('attention')]).toEqual([2 * residualBlocks + 2, attentionBlocks]);
    expect(count('linear')).toBe(residualBlocks + 2);
    expect(count('norm')).toBe(2 * residualBlocks + attentionBlocks + 1);
    expect(networkFlops(layers.filter(({ op }) => op === 'conv')) / 1e9).toBeCloseTo(21.35, 2);
  });

  test('runs the command on tiny networks', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rectiflow-bench-'));
    try {
      const json = join(folder, 'results', 'a.json');
      const { status, stderr, stdout } = bench(['--small', '--rounds', '1', '--only', 'b2', '--json', json]);
      expect(stderr).toMatch(/^4 measurements, about 1 min\n/);
      expect(status).toBe(0);
      expect(stdout).toMatch(/^train_fp32_b2 +\d+\.\d\d /m);
      const results = JSON.parse(readFileSync(json, 'utf8'));
      expect(Object.keys(results.ratios)).toEqual(['train_fp32_b2', 'train_vs_bf16_b2', 'sample_b2']);
      expect(results).toMatchObject({ threads: 1, revision: expect.any(String), layers: [] });
      expect(results.steps[0].seconds.rectiflow).toHaveLength(3);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function bench(args: string[]) {
  const script = join(root, 'bench/pytorch_cpu.ts');
  const run = spawnSync(process.execPath, ['--import', 'jiti/register', script, '--threads', '1', ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}

test('reports usage errors and a Python without PyTorch', () => {
  expect(bench(['--rounds', 'many'])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^--rounds takes a whole number from 1 on, got many\n/),
  });
  expect(bench(['--python', '/nowhere/python'])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^bench:pytorch: \/nowhere\/python cannot import torch and numpy: .*ENOENT\n$/),
  });
});
