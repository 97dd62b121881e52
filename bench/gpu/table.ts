// The table that `npm run gpu:table` prints: every kernel of the official CIFAR-10 network's training step by shape, with the lower bounds
// of its time on an H200 and the predicted time (card_model.ts). The launches are those of the step planned for sm_90a; the instructions are
// counted in their machine code. The column `measured` comes only from results of a card (bench/results).
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseJsonFile } from '../../src/io/json.ts';
import { isSystemName } from '../../src/io/system_names.ts';
import { keyOf } from '../../src/kernels/conv/hopper.ts';
import type { ConvShape } from '../../src/kernels/conv/shape.ts';
import { type Bound, boundsOf, type CardRates, cards, hopperModel, type LaunchWork, timeOf } from './card_model.ts';
import { type Launch, launchOf } from './launches.ts';
import { hopperPassOf, type Part, type Pass } from './layer_parts.ts';
import { jsonBeside, staticFacts } from './machine_code.ts';
import { planStep } from './step_plan.ts';

export interface TableRow extends Part {
  /** Launches per step. */
  count: number;
  tile: string;
  /** Warps per multiprocessor that fit at once. */
  warps: number;
  /** Means of all launches, as flops and bytes are. Seconds on the first card: the bounds, and the prediction. */
  bounds: Record<Bound, number>;
  predicted: number;
}

const TABLE_BATCH = 128;
const [H200] = cards;

/** The launches of a training step in order. */
export function stepLaunches(batchSize = TABLE_BATCH): Launch[] {
  const { nodes, tables } = planStep(batchSize, 'bf16', { hopper: true });
  return nodes.flatMap((node) => launchOf(node, tables, staticFacts()) ?? []);
}

/** A lower bound for a part of a launch, by which the time of the launch is divided among its parts. */
const floorOf = ({ flops, bytes }: Part) =>
  Math.max(flops / hopperModel.convolutions, bytes / (H200.memory * hopperModel.streamed));

/** Rows in the order in which their kernels first occur. */
export function tableRows(batchSize = TABLE_BATCH): TableRow[] {
  const rows = new Map<string, TableRow>();
  for (const { work, parts, tile = '' } of stepLaunches(batchSize)) {
    const bounds = boundsOf(work, H200);
    const { seconds } = timeOf(work, H200);
    const floor = parts.reduce((sum, part) => sum + floorOf(part), 0);
    for (const part of parts) {
      const share = floorOf(part) / floor;
      const scaled = mapValues(bounds, (value) => share * value);
      const known = rows.get(part.name);
      const warps = (work.resident * work.threads) / 32;
      if (!known) {
        rows.set(part.name, { ...part, count: 1, tile, warps, bounds: scaled, predicted: share * seconds });
        continue;
      }
      const mean = (before: number, now: number) => (before * known.count + now) / (known.count + 1);
      known.flops = mean(known.flops, part.flops);
      known.bytes = mean(known.bytes, part.bytes);
      known.bounds = mapValues(known.bounds, (value, bound) => mean(value, scaled[bound]));
      known.predicted = mean(known.predicted, share * seconds);
      // Weight gradients use the tile of their shared launch.
      if (!known.tile.split(', ').includes(tile)) known.tile += `, ${tile}`;
      known.count++;
    }
  }
  return [...rows.values()];
}

function mapValues(
  bounds: Record<Bound, number>,
  change: (value: number, bound: Bound) => number,
): Record<Bound, number> {
  const entries = Object.entries(bounds) as [Bound, number][];
  return Object.fromEntries(entries.map(([bound, value]) => [bound, change(value, bound)])) as Record<Bound, number>;
}

/** Launches of a step with their counts, and what the step was planned from. */
export interface CountedStep {
  /** How the numbers were obtained. */
  origin: string;
  launches: readonly ({ name: string; kernel: string; count: number } & LaunchWork)[];
}

/** The step of revision d1dfdc6, whose kernels the review of 2026-11 counted. */
export const earlierStep = () => jsonBeside('step-d1dfdc6.json') as CountedStep;

/** Predicted seconds of a step: the kernels of that name, or all of them, without the gaps. */
export function kernelSeconds(launches: CountedStep['launches'], card: CardRates, kernel = ''): number {
  const chosen = launches.filter((launch) => launch.kernel.startsWith(kernel));
  return chosen.reduce((sum, { count, ...work }) => sum + count * timeOf(work, card).seconds, 0);
}

/** Predicted seconds of a whole step, gaps included. */
export function stepSeconds(launches: CountedStep['launches'], card: CardRates): number {
  const kernels = launches.reduce((sum, { count }) => sum + count, 0);
  return kernelSeconds(launches, card) + kernels * hopperModel.gap;
}

/** The launches of today's step, counted. */
export const countedLaunches = (): CountedStep['launches'] =>
  stepLaunches().map(({ kernel, work, parts }) => ({ name: parts[0].name, kernel, count: 1, ...work }));

/** The distinct passes of sm_90a's kernels in the step: those of a convolution, or the weight gradients of a launch. */
export function hopperPasses(batchSize = TABLE_BATCH): { pass: Pass; shapes: readonly ConvShape[] }[] {
  const { nodes, tables } = planStep(batchSize, 'bf16', { hopper: true });
  const found = nodes.flatMap((node) => hopperPassOf(node, tables) ?? []);
  return [...new Map(found.map((one) => [`${one.pass} ${keyOf(one.shapes)}`, one])).values()];
}

/** One item of a card's results. */
interface Measured {
  part: string;
  name: string;
  ok: boolean;
  values?: Record<string, number>;
}

/** Milliseconds by name from the part `shapes` of a card's newest results file (the last by name). */
export function measurements(folder: string): { card: string; times: Map<string, number> } | undefined {
  let files: string[];
  try {
    files = readdirSync(folder).filter((file) => /-\d{4}-\d\d-\d\d\.json$/.test(file) && !isSystemName(file));
  } catch {
    return undefined;
  }
  for (const file of files.sort().reverse()) {
    const path = join(folder, file);
    const { card, items = [] } = parseJsonFile(readFileSync(path), path) as { card: string; items?: Measured[] };
    const shapes = items.filter(
      ({ part, ok, values }) => part === 'shapes' && ok && values?.milliseconds !== undefined,
    );
    if (shapes.length > 0)
      return {
        card,
        times: new Map(shapes.map(({ name, values }) => [name, (values as { milliseconds: number }).milliseconds])),
      };
  }
  return undefined;
}

/** The table in Markdown. @param folder the folder with results of cards */
export function tableLines(folder: string, rows = tableRows()): string[] {
  const measured = measurements(folder);
  const micro = (seconds: number) => (1e6 * seconds).toFixed(1);
  const cells = rows
    .toSorted((a, b) => b.count * b.predicted - a.count * a.predicted)
    .map((row) => [
      row.name,
      row.count,
      row.flops ? (row.flops / 1e9).toFixed(2) : '',
      (row.bytes / 1e6).toFixed(1),
      row.tile,
      row.warps,
      ...(['products', 'memory', 'issue', 'latency'] as const).map((bound) => micro(row.bounds[bound])),
      micro(row.predicted),
      measured?.times.has(row.name) ? (1e3 * (measured.times.get(row.name) as number)).toFixed(1) : '',
    ]);
  return [
    `| of batch ${TABLE_BATCH} in bf16 | a step | GFLOP | MB | tile | warps | products | memory | issue | latency | predicted µs | measured µs |`,
    '|---|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|',
    ...cells.map((row) => `| ${row.join(' | ')} |`),
    '',
    ...totalLines(),
    '',
    `All of these times are predicted; measured ${measured ? `on ${measured.card}` : 'on no card yet'}.`,
  ];
}

const groups: readonly (readonly [text: string, kernels: readonly string[]])[] = [
  ['products on wgmma', ['conv_hopper']],
  ['norms', ['group_norm']],
  ['products on mma.sync', ['conv_few', 'conv_forward', 'conv_input', 'conv_weight', 'matmul', 'linears', 'joined']],
  ['optimiser', ['optimizer']],
  ['all other kernels', ['']],
];

/** Predicted milliseconds of the step by group of kernels, on each card, with today's kernels and those of d1dfdc6. */
export function totalLines(): string[] {
  const steps = [countedLaunches(), earlierStep().launches];
  const milliseconds = (seconds: number) => (1e3 * seconds).toFixed(2);
  const columns = cards.flatMap((card) => steps.map((launches) => ({ card, launches })));
  const groupOf = (kernel: string) => groups.find(([, names]) => names.some((name) => kernel.startsWith(name)))?.[0];
  const row = (text: string, value: (launches: CountedStep['launches'], card: CardRates) => number) =>
    `| ${text} | ${columns.map(({ card, launches }) => milliseconds(value(launches, card))).join(' | ')} |`;
  const counts = (launches: CountedStep['launches']) => launches.reduce((sum, { count }) => sum + count, 0);
  return [
    `| predicted ms of a step | ${cards.flatMap(({ name }) => [name, `${name}, d1dfdc6`]).join(' | ')} |`,
    '|---|--:|--:|--:|--:|',
    ...groups.map(([text]) =>
      row(text, (launches, card) =>
        kernelSeconds(
          launches.filter(({ kernel }) => groupOf(kernel) === text),
          card,
        ),
      ),
    ),
    row(`gaps between ${steps.map(counts).join(' and ')} kernels`, (launches) => counts(launches) * hopperModel.gap),
    row('**the step**', stepSeconds),
  ];
}
