// npm run bench [-- --filter TEXT] [--device cpu | wasm] [--threads N] [--json FILE]
// Times every case of the test table at its `time` sizes: forward, and backward alone, with the rate and the share of this
// machine's measured peak. The whole table runs twice, about a minute apart for each case, and the lower quartile of all samples
// counts: a neighbour who takes a core for some seconds does not. Peaks are measured before, between and after, by code for
// the machine: on the device wasm there are rates alone, of one worker with --threads 1.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
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

interface Row {
  flops: number | undefined;
  bytes: number | undefined;
  /** Milliseconds. */
  forward: number[];
  /** Empty for an op without gradient. */
  backward: number[];
}

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
  // One line a case; microseconds are enough.
  const lines = [...rows].map(([name, row]) =>
    JSON.stringify({ name, ...row }, (_, value) => (typeof value === 'number' ? round(value) : value)),
  );
  writeFileSync(
    flags.json,
    `${JSON.stringify({ ...about, peaks }, null, 1).slice(0, -2)},\n "rows": [\n${lines.join(',\n')}\n]}\n`,
  );
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

function timeCase(testCase: Case, size: unknown, name: string): Pick<Row, 'forward' | 'backward'> {
  return scope(() => {
    const draw = random(name);
    const inputs = testCase.inputs(size).map((input) => {
      const { data } = fill(input, draw);
      return tensor(Array.from(data), { shape: input.shape, dtype: input.dtype, device });
    });
    const forward = () => scope(() => noGrad(() => testCase.run(inputs, size)));
    const differentiable = inputs.filter((t) => t.dtype === 'f32');
    const forwardSamples = sampleTimes(() => {
      const start = performance.now();
      scope(() => {
        forward();
      });
      return performance.now() - start;
    });
    let backwardSamples: number[] = [];
    for (const t of differentiable) t.requireGrad();
    const probe = scope(() => asList(testCase.run(inputs, size))[0].source !== undefined);
    if (probe) {
      backwardSamples = sampleTimes(() =>
        scope(() => {
          const [y] = asList(testCase.run(inputs, size)) as [Tensor];
          const start = performance.now();
          y.backward(y);
          const elapsed = performance.now() - start;
          for (const t of differentiable) {
            t.grad?.dispose();
            t.grad = null;
          }
          return elapsed;
        }),
      );
    }
    return { forward: forwardSamples, backward: backwardSamples };
  });
}

/** One warm call, then as many as fit 150 ms, at least 3 and at most 50. */
function sampleTimes(run: () => number): number[] {
  run();
  const samples: number[] = [];
  const start = performance.now();
  while (samples.length < 3 || (performance.now() - start < 150 && samples.length < 50)) samples.push(run());
  return samples;
}

function lowerQuartile(samples: readonly number[]): number {
  return [...samples].sort((a, b) => a - b)[Math.floor(samples.length / 4)];
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
    const ms = lowerQuartile(samples);
    return `${label} ${ms.toFixed(3).padStart(9)} ms ${rate(ms, factor)}`;
  };
  return `${name.padEnd(64)} ${column('forward', forward, 1)}  ${column('backward', backward, 2)}`.trimEnd();
}

function share(value: number, peak: number | undefined): string {
  return peak === undefined ? '' : `${((100 * value) / peak).toFixed(0).padStart(3)} %`;
}
