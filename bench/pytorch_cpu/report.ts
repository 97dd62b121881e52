// Prints the results as tables and writes them to a file.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import { provenance } from '../../src/run/machine/provenance.ts';
import { OURS } from './comparison.ts';
import { ABSENT, OTHER_NAMES } from './others.ts';
import type { Profile, Results } from './run.ts';
import { growthTable } from './scaling.ts';
import { formatTable } from './table.ts';
import { median, quantile, quartilesOf } from './timing_statistics.ts';

/** How many kernels a profile's table shows; the file has all. */
const SHOWN_KERNELS = 25;

const milliseconds = (seconds: number): string => (1e3 * seconds).toFixed(seconds < 0.01 ? 3 : 1);
const gigaflops = (flops: number, seconds: number): string => (flops > 0 ? (flops / seconds / 1e9).toFixed(0) : '');
const spread = (low: number, high: number): string => `${low.toFixed(2)} - ${high.toFixed(2)}`;

/** The results as text tables. */
export function report(results: Results): string {
  const { ratios, steps, layers, others, scaling, growth, profiles } = results;
  const peakOf = (threads: number) => results.peaks[threads].flops;
  const table = (title: string, header: string[], rows: string[][]) =>
    rows.length > 0 ? [`${title}\n\n${formatTable(header, rows)}`] : [];
  return [
    describeMachine(results),
    ...table(
      "How many times faster than the better of PyTorch's layouts",
      ['', 'ratio', 'quartiles', 'against'],
      Object.entries(ratios).map(([name, { ratio, quartiles, against = '' }]) => [
        name,
        ratio.toFixed(2),
        spread(...quartiles),
        against,
      ]),
    ),
    ...table(
      'Whole steps; sampling for each evaluation',
      ['', 'ms', 'quartiles', 'images/s', 'GFLOP/s'],
      steps.flatMap(({ name, batch, flops, samples }) =>
        sideRows(samples).map(({ side, seconds, quartiles }) => [
          `${name}: ${side}`,
          milliseconds(seconds),
          quartiles,
          (batch / seconds).toFixed(1),
          gigaflops(flops, seconds),
        ]),
      ),
    ),
    ...table(
      'Layers',
      ['', 'in the network', 'ms', 'PyTorch ms', 'GFLOP/s', 'ratio', 'quartiles'],
      layers.map(({ name, count, flops, ratio, quartiles, against, samples }) => [
        name.replace(/^layer /, ''),
        String(count),
        milliseconds(median(samples[OURS])),
        milliseconds(median(samples[against])),
        gigaflops(flops, median(samples[OURS])),
        ratio.toFixed(2),
        spread(...quartiles),
      ]),
    ),
    ...table(others?.name ?? '', ['', 'ms', 'quartiles', 'GFLOP/s'], others ? otherRows(others) : []),
    ...table(
      'How our training step grows',
      ['', 'ms', 'images/s', 'GFLOP/s', 'of peak'],
      growthTable(scaling, growth, peakOf),
    ),
    ...profiles.flatMap((profile) =>
      table(
        `${profile.name}: where our step goes`,
        ['kernel and sizes', 'launches', 'ms', 'share'],
        profileRows(profile),
      ),
    ),
  ].join('\n\n');
}

function describeMachine({ threads, versions, peaks, same }: Results): string {
  const peak = Object.entries(peaks).map(
    ([count, { flops, bandwidth }]) =>
      `${(flops / 1e9).toFixed(0)} GFLOP/s and ${(bandwidth / 1e9).toFixed(0)} GB/s with ${count}`,
  );
  return [
    `${cpus()[0]?.model}, threads: ${threads}; measured peak by threads: ${peak.join(', ')}`,
    Object.entries(versions)
      .map(([what, version]) => `${what} ${version}`)
      .join(', '),
    `The same network on both sides: velocity within ${same.velocity.toExponential(1)}, ` +
      `gradients within ${same.gradients.toExponential(1)}`,
  ].join('\n');
}

function sideRows(samples: Record<string, number[]>) {
  return Object.entries(samples).map(([side, seconds]) => ({
    side,
    seconds: median(seconds),
    quartiles: [0.25, 0.75].map((share) => milliseconds(quantile(seconds, share))).join(' - '),
  }));
}

function otherRows({ flops, samples }: NonNullable<Results['others']>): string[][] {
  const rows = sideRows(samples).map(({ side, seconds, quartiles }) => [
    side,
    milliseconds(seconds),
    quartiles,
    gigaflops(flops, seconds),
  ]);
  return [...rows, ...OTHER_NAMES.filter((name) => !(name in samples)).map((name) => [name, ABSENT])];
}

function profileRows({ seconds, kernels }: Profile): string[][] {
  const steps = seconds.length;
  const total = seconds.reduce((sum, value) => sum + value, 0);
  const row = (name: string, launches: number, time: number): string[] => [
    name,
    launches ? String(launches / steps) : '',
    milliseconds(time / steps),
    `${((100 * time) / total).toFixed(1)} %`,
  ];
  const shown = kernels.slice(0, SHOWN_KERNELS);
  const others = kernels.slice(SHOWN_KERNELS);
  const sum = (part: typeof kernels, key: 'seconds' | 'launches') => part.reduce((all, kernel) => all + kernel[key], 0);
  return [
    ...shown.map(({ kernel, launches, seconds }) => row(kernel, launches, seconds)),
    ...(others.length > 0 ? [row(`${others.length} more`, sum(others, 'launches'), sum(others, 'seconds'))] : []),
    row('outside of kernels', 0, total - sum(kernels, 'seconds')),
    row('the step', 0, total),
  ];
}

/**
 * Writes one line per row: ratios as plain numbers with their quartiles next to them, and the quartiles of the seconds of each side.
 * @throws Error if it cannot be written
 */
export function writeResults(path: string, results: Results, command: string): void {
  const { ratios, steps, layers, others, scaling, profiles, threads, versions, allocator, peaks, same } = results;
  const of = <Value>(pick: (ratio: Results['ratios'][string]) => Value) =>
    Object.fromEntries(Object.entries(ratios).map(([name, ratio]) => [name, pick(ratio)]));
  const file = {
    ...provenance(),
    created: new Date().toISOString(),
    command,
    cpu: cpus()[0]?.model,
    threads,
    versions,
    allocator,
    peaks,
    same,
    ratios: of(({ ratio }) => ratio),
    quartiles: of(({ quartiles }) => quartiles),
    against: of(({ against }) => against),
    steps: steps.map(withQuartiles),
    layers: layers.map(withQuartiles),
    ...(others && { others: withQuartiles(others) }),
    scaling: scaling.map(({ samples, ...row }) => ({ ...row, seconds: quartilesOf(samples) })),
    profiles,
  };
  const lines = Object.entries(file).map(([key, value]) => ` ${JSON.stringify(key)}: ${formatValue(value)}`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `{\n${lines.join(',\n')}\n}\n`);
}

/** A row with the quartiles of each side's seconds in place of its samples. */
function withQuartiles<Row extends { samples: Record<string, number[]> }>({ samples, ...row }: Row) {
  const seconds = Object.entries(samples).map(([side, values]) => [side, quartilesOf(values)]);
  return { ...row, seconds: Object.fromEntries(seconds) };
}

function formatValue(value: unknown): string {
  const line = (part: unknown) =>
    JSON.stringify(part, (_, v) => (typeof v === 'number' ? Number(v.toPrecision(6)) : v));
  return Array.isArray(value) && value.length > 0 ? `[\n  ${value.map(line).join(',\n  ')}\n ]` : line(value);
}
