// npm run bench [-- --filter TEXT] [--device cpu | wasm] [--threads N] [--json FILE]
// Times every case of the test table at its `time` sizes by tinybench: forward, and backward alone, with the rate and the share
// of this machine's measured peak. The whole table runs twice, about a minute apart for each case, and the lower quartile of all
// samples is printed, so that another program that takes a core for some seconds does not count. Peaks are measured before,
// between and after both runs by native code: on the device wasm there are rates alone, of one worker with --threads 1.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { Bench, type FnReturnedObject } from 'tinybench';
import { noGrad } from '../src/autograd/mode.ts';
import { findCompiler } from '../src/device/cc.ts';
import { openDevice, setDefaultDevice } from '../src/device/open.ts';
import { provenance } from '../src/run/machine/provenance.ts';
import { tensor } from '../src/tensor/create.ts';
import { scope } from '../src/tensor/scope.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { asList, type Case, describeCase } from '../test/cases/case.ts';
import { cases } from '../test/cases.ts';
import { fill, random } from '../test/support/random.ts';
import { measurePeaks } from './peak.ts';
import { quantile } from './pytorch_cpu/timing_statistics.ts';

interface Row {
  flops: number | undefined;
  bytes: number | undefined;
  /** Milliseconds. */
  forward: number[];
  /** Empty for an op without gradient. */
  backward: number[];
}

/** In each pass, every task is called once to warm up, then repeatedly for 150 ms, at least three times. */
const sampling = {
  ...{ warmupIterations: 1, warmupTime: 0, iterations: 3, time: 150 },
  retainSamples: true,
  throws: true,
};

const { values: flags } = parseArgs({
  options: {
    filter: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
    threads: { type: 'string' },
    json: { type: 'string' },
  },
});

const device = await openDevice(flags.device, flags.threads ? { threads: Number(flags.threads) } : {});
setDefaultDevice(device);
const peaks = device.kind === 'cpu' ? measurePeaks(device) : undefined;
const rows = new Map<string, Row>();
for (let pass = 0; pass < 2; pass++) {
  for (const testCase of cases) {
    for (const size of testCase.time ?? []) {
      const name = describeCase(testCase, size);
      if (flags.filter && !name.includes(flags.filter)) continue;
      const { forward, backward } = timeCase(testCase, size, name);
      const row = rows.get(name) ?? {
        flops: testCase.flops?.(size),
        bytes: testCase.bytes?.(size),
        forward: [],
        backward: [],
      };
      row.forward.push(...forward);
      row.backward.push(...backward);
      rows.set(name, row);
    }
  }
  if (!peaks) continue;
  const { flops, bandwidth } = measurePeaks(device);
  peaks.flops = Math.max(peaks.flops, flops);
  peaks.bandwidth = Math.max(peaks.bandwidth, bandwidth);
}
if (peaks)
  console.log(
    `peak of ${device.workers} threads: ${(peaks.flops / 1e9).toFixed(0)} GFLOP/s fused multiply-add, ` +
      `${(peaks.bandwidth / 1e9).toFixed(0)} GB/s copy`,
  );
for (const [name, row] of rows) console.log(formatRow(name, row));
if (flags.json) {
  const about = {
    ...provenance(),
    created: new Date().toISOString(),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    cpu: cpus()[0]?.model,
    device: device.name,
    threads: device.workers,
    node: process.version,
    compiler: device.kind === 'cpu' ? findCompiler().version : undefined,
  };
  // One line per case; microseconds are precise enough.
  const lines = [...rows].map(([name, { flops, bytes, forward, backward }]) => {
    const row = { name, flops, bytes, forward: summary(forward), backward: summary(backward) };
    return JSON.stringify(row, (_, value) => (typeof value === 'number' ? round(value) : value));
  });
  writeFileSync(
    flags.json,
    `${JSON.stringify({ ...about, peaks }, null, 1).slice(0, -2)},\n "rows": [\n${lines.join(',\n')}\n]}\n`,
  );
}

/** The number and the quartiles of the samples of both passes, in milliseconds; undefined if there are none. */
function summary(samples: readonly number[]): { samples: number; quartiles: number[] } | undefined {
  if (samples.length === 0) return undefined;
  return { samples: samples.length, quartiles: [0.25, 0.5, 0.75].map((share) => quantile(samples, share)) };
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

function timeCase(testCase: Case, size: unknown, name: string): Record<'forward' | 'backward', readonly number[]> {
  return scope(() => {
    const draw = random(name);
    const inputs = testCase.inputs(size).map((input) => {
      const { data } = fill(input, draw);
      return tensor(Array.from(data), { shape: input.shape, dtype: input.dtype, device });
    });
    const differentiable = inputs.filter((t) => t.dtype === 'f32');
    const bench = new Bench(sampling);
    bench.add('forward', () => scope(() => noGrad(() => void testCase.run(inputs, size))));
    for (const t of differentiable) t.requireGrad();
    if (scope(() => asList(testCase.run(inputs, size))[0].source !== undefined))
      bench.add('backward', () =>
        scope(() => timeBackward(() => asList(testCase.run(inputs, size))[0], differentiable)),
      );
    bench.runSync();
    return { forward: samplesOf(bench, 'forward'), backward: samplesOf(bench, 'backward') };
  });
}

/** The time of the backward pass alone, within a call that makes the graph and removes the gradients again. */
function timeBackward(run: () => Tensor, leaves: readonly Tensor[]): FnReturnedObject {
  const begin = performance.now();
  const y = run();
  const start = performance.now();
  y.backward(y);
  const end = performance.now();
  for (const t of leaves) {
    t.grad?.dispose();
    t.grad = null;
  }
  return { overriddenDuration: end - start, overriddenIterationCost: performance.now() - begin };
}

/** The milliseconds of each call of a task; none for a task that the bench does not have. */
function samplesOf(bench: Bench, name: string): readonly number[] {
  const result = bench.getTask(name)?.result;
  if (result === undefined) return [];
  if (result.state !== 'completed') throw new Error(`${name}: expected the task to be completed, got ${result.state}`);
  return result.latency.samples ?? [];
}

/** Backward counts twice the forward's operations: one product for each operand's gradient. */
function formatRow(name: string, { forward, backward, flops, bytes }: Row): string {
  const rate = (ms: number, factor: number): string => {
    if (flops) {
      const perSecond = (factor * flops) / (ms / 1e3);
      return `${(perSecond / 1e9).toFixed(0).padStart(5)} GFLOP/s ${share(perSecond, peaks?.flops)}`;
    }
    if (bytes && factor === 1) {
      const perSecond = bytes / (ms / 1e3);
      return `${(perSecond / 1e9).toFixed(1).padStart(5)} GB/s    ${share(perSecond, peaks?.bandwidth)}`;
    }
    return ' '.repeat(18);
  };
  const column = (label: string, samples: number[], factor: number): string => {
    if (samples.length === 0) return '';
    const ms = quantile(samples, 0.25);
    return `${label} ${ms.toFixed(3).padStart(9)} ms ${rate(ms, factor)}`;
  };
  return `${name.padEnd(64)} ${column('forward', forward, 1)}  ${column('backward', backward, 2)}`.trimEnd();
}

function share(value: number, peak: number | undefined): string {
  return peak === undefined ? '' : `${((100 * value) / peak).toFixed(0).padStart(3)} %`;
}
