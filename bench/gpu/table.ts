// The table that `npm run gpu:table` prints: every kernel of the official CIFAR-10 network's training step by shape, with its work, the
// minimum time on an H200, and the predicted time of the chosen tile. The layers are those of the step planned for sm_90a.
// The column `measured` comes only from results of a card (bench/results).
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseJsonFile } from '../../src/io/json.ts';
import { isSystemName } from '../../src/io/system_names.ts';
import { choiceOf, ENTRY_WORDS, keyOf, MOST_TOGETHER, suitsHopper, type Tile } from '../../src/kernels/conv/hopper.ts';
import { cutOf } from '../../src/kernels/conv/hopper_weight_gradients.ts';
import { type ConvShape, convTableOrder, inputShape } from '../../src/kernels/conv/shape.ts';
import { normTableOrder } from '../../src/kernels/group_norm.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import type { PlannedNode } from './planning_device.ts';
import { planStep } from './step_plan.ts';

export interface TableRow {
  /** What is computed; also the key of its measurement. */
  name: string;
  /** Launches per step. */
  count: number;
  /** Operations of one launch. */
  flops: number;
  bytes: number;
  tile: string;
  /** Seconds, predicted, the mean of all; undefined for passes whose time is taken to be the floor. */
  predicted?: number;
  /** Which pass of which convolution it is. */
  convolution?: { shape: ConvShape; pass: Pass };
}

/** Published measurements of an H200: operations per second of dense bf16 products, bytes per second of copies. */
const h200 = { flops: 790e12, bandwidth: 4.3e12 } as const;

/** Bytes of an activation, a bf16 weight and an f32. */
const HALF = 2;
const FULL = 4;
const TABLE_BATCH = 128;
/** Words of a table of joined_product.ts and linears.ts, and of an entry of each. */
const LAYERS_TABLE = 576;
const JOINED_WORDS = 6;
const LINEARS_WORDS = 8;
/** The words of weight_gradients.ts, and of hopper_weight_gradients.ts after the maps: all of them, and those of one entry. */
const GRADIENTS = { first: 0, table: 880, words: 11, convolution: 6 };
const HOPPER_GRADIENTS = { first: 1, table: ENTRY_WORDS * MOST_TOGETHER, words: ENTRY_WORDS, convolution: 2 };

/** The minimum time of any kernel in seconds. */
const floorOf = ({ flops, bytes }: Pick<TableRow, 'flops' | 'bytes'>) =>
  Math.max(flops / h200.flops, bytes / h200.bandwidth);

/** Rows in the order in which their kernels first occur. */
export function tableRows(batchSize = TABLE_BATCH): TableRow[] {
  const { nodes, tables } = planStep(batchSize, 'bf16', { hopper: true });
  const rows = new Map<string, TableRow>();
  for (const node of nodes)
    for (const row of rowsOf(node, tables)) {
      const known = rows.get(row.name);
      if (!known) rows.set(row.name, row);
      else {
        if (row.predicted !== undefined)
          known.predicted = ((known.predicted ?? 0) * known.count + row.predicted) / (known.count + 1);
        // Weight gradients use the tile of their shared launch.
        if (!known.tile.split(', ').includes(row.tile)) known.tile += `, ${row.tile}`;
        known.count++;
      }
    }
  return [...rows.values()];
}

type Tables = ReadonlyMap<number, readonly number[]>;

/** The numbers of the table at that address, by name. */
function readTable<Name extends string>(tables: Tables, address: number, order: readonly Name[]): Record<Name, number> {
  const table = tables.get(address) as readonly number[];
  return Object.fromEntries(order.map((name, i) => [name, table[i]])) as Record<Name, number>;
}

function rowsOf({ kind, name, launchGrid, arguments: values }: PlannedNode, tables: Tables): TableRow[] {
  if (kind !== 'kernel') return [];
  const shape = (at: number) => readTable(tables, values[at], convTableOrder);
  if (name === 'conv_forward' || name === 'conv_hopper_forward') return [ofConvolution(shape(6), 'forward')];
  if (name === 'conv_input_gradient' || name === 'conv_hopper_input_gradient')
    return [ofConvolution(shape(3), 'input')];
  if (name === 'conv_weight_gradients') return ofWeightGradients(values, GRADIENTS, tables);
  if (name === 'conv_hopper_weight_gradients') return ofWeightGradients(values, HOPPER_GRADIENTS, tables);
  if (name === 'group_norm_forward') return ofNorm(readTable(tables, values[6], normTableOrder));
  if (name === 'joined_product') return ofJoined(values);
  if (name === 'linears_forward') return ofLinears(values);
  if (name.startsWith('matmul_multiply')) {
    const [rows, terms, columns] = values.slice(4, 7);
    if (values[2] !== 0) return [ofProduct(linear(rows, terms, columns), 'forward')];
    const edge = (launchGrid?.block[0] as number) / 2;
    const batches = (launchGrid?.grid[0] as number) / (Math.ceil(rows / edge) * Math.ceil(columns / edge));
    const elements = rows * terms + terms * columns;
    const bytes = batches * (HALF * elements + (values[10] ? FULL : HALF) * rows * columns);
    const made = { count: 1, flops: 2 * batches * rows * terms * columns, bytes, tile: '' };
    const stored = values[10] ? ', f32' : '';
    return [{ name: `attention, ${batches} times ${rows} x ${terms} x ${columns}${stored}`, ...made }];
  }
  if (name === 'softmax_forward') {
    const [rows, tokens] = values.slice(2, 4);
    return [pass(`softmax of ${rows} x ${tokens}`, rows * tokens * (FULL + HALF))];
  }
  if (name === 'softmax_backward') {
    const [rows, tokens] = values.slice(3, 5);
    return [pass(`softmax of ${rows} x ${tokens}, gradient`, rows * tokens * (HALF + FULL + HALF))];
  }
  // Values, gradients, two moments and the average are read and written, and copies are written.
  if (name === 'optimizer_adam')
    return [pass('Adam, average, copies, zeroed gradients', values[8] * (10 * FULL + HALF))];
  if (name === 'optimizer_norm_runs') return [pass('norm of the gradient', values[2] * FULL)];
  return [];
}

/** A pass that is bound by memory. */
function pass(name: string, bytes: number): TableRow {
  return { name, count: 1, flops: 0, bytes, tile: '' };
}

/** y [rows, columns] = x w^T, where x has `read` elements. */
interface Product {
  name: string;
  rows: number;
  columns: number;
  terms: number;
  read: number;
  /** For convolutions. */
  shape?: ConvShape;
}

export type Pass = 'forward' | 'input' | 'weight';
const passNames: Record<Pass, string> = { forward: '', input: ', input gradient', weight: ', weight gradient' };

export function ofConvolution(shape: ConvShape, kind: Pass): TableRow {
  const { batch, height, width, channels, outputs, kernelHeight, kernelWidth } = shape;
  const taps = kernelHeight * kernelWidth;
  if (height * width * taps === 1) return ofProduct(linear(batch, channels, outputs), kind);
  const name = `${kernelHeight} x ${kernelWidth} at ${height} x ${width}, ${channels} → ${outputs}`;
  const rows = batch * shape.outputHeight * shape.outputWidth;
  const read = sizeOf(inputShape(shape));
  return ofProduct({ name, rows, columns: outputs, terms: taps * channels, read, shape }, kind);
}

/** The passes of one launch. Its time is split in proportion to their floors. */
function ofWeightGradients(values: readonly number[], place: typeof GRADIENTS, tables: Tables): TableRow[] {
  const layers = convolutionsOf(values, place, tables);
  const rows = layers.map((shape) => ofConvolution(shape, 'weight'));
  if (place === GRADIENTS) return rows;
  const { tile, microseconds } = cutOf(layers);
  const floor = rows.reduce((sum, row) => sum + floorOf(row), 0);
  const slower = Math.max(1, (1e-6 * microseconds) / floor);
  return rows.map((row) => ({ ...row, tile: nameOf(tile), predicted: slower * floorOf(row) }));
}

/** The convolutions whose weight gradients one launch computes. */
function convolutionsOf(values: readonly number[], place: typeof GRADIENTS, tables: Tables): ConvShape[] {
  return Array.from({ length: values[place.first + place.table] }, (_, e) => {
    const at = place.first + e * place.words + place.convolution;
    return readTable(tables, values[at] + values[at + 1] * 2 ** 32, convTableOrder);
  });
}

/** The distinct passes of sm_90a's kernels in the step: those of a convolution, or the weight gradients of a launch. */
export function hopperPasses(batchSize = TABLE_BATCH): { pass: Pass; shapes: readonly ConvShape[] }[] {
  const { nodes, tables } = planStep(batchSize, 'bf16', { hopper: true });
  const found = nodes.flatMap(({ name, arguments: values }): ReturnType<typeof hopperPasses> => {
    const shapes = (at: number) => [readTable(tables, values[at], convTableOrder)];
    if (name === 'conv_hopper_forward') return [{ pass: 'forward', shapes: shapes(6) }];
    if (name === 'conv_hopper_input_gradient') return [{ pass: 'input', shapes: shapes(3) }];
    if (name !== 'conv_hopper_weight_gradients') return [];
    return [{ pass: 'weight', shapes: convolutionsOf(values, HOPPER_GRADIENTS, tables) }];
  });
  return [...new Map(found.map((one) => [`${one.pass} ${keyOf(one.shapes)}`, one])).values()];
}

const nameOf = ({ rows, columns }: Tile) => `${rows} x ${columns}`;

function linear(rows: number, terms: number, columns: number): Product {
  return { name: `layer ${rows} x ${terms} → ${columns}`, rows, columns, terms, read: rows * terms };
}

/** The input gradients of the layers that one launch serves: see joined_product.ts. */
function ofJoined(values: readonly number[]): TableRow[] {
  const [pairs, , rows, , inputs] = values.slice(LAYERS_TABLE);
  return Array.from({ length: pairs }, (_, e) => values[JOINED_WORDS * e + JOINED_WORDS - 1]).map((outputs) =>
    ofProduct(linear(rows, inputs, outputs), 'input'),
  );
}

/** The layers that one launch serves: see linears.ts. */
function ofLinears(values: readonly number[]): TableRow[] {
  const [layers, , rows, inputs] = values.slice(LAYERS_TABLE);
  return Array.from({ length: layers }, (_, e) => values[LINEARS_WORDS * e + LINEARS_WORDS - 2]).map((outputs) =>
    ofProduct(linear(rows, inputs, outputs), 'forward'),
  );
}

function ofProduct({ name, rows, columns, terms, read, shape }: Product, kind: Pass): TableRow {
  const bytes = HALF * (read + rows * columns) + (kind === 'weight' ? FULL : HALF) * terms * columns;
  return {
    name: `${name}${passNames[kind]}`,
    count: 1,
    flops: 2 * rows * columns * terms,
    bytes,
    tile: '',
    ...(shape && kind !== 'weight' && suitsHopper(shape) && tileOf(shape, kind, bytes)),
    ...(shape && { convolution: { shape, pass: kind } }),
  };
}

/** The tile with which sm_90a runs a convolution pass, and its predicted time. */
function tileOf(shape: ConvShape, kind: 'forward' | 'input', bytes: number): Pick<TableRow, 'tile' | 'predicted'> {
  const { tile, microseconds } = choiceOf(shape, kind);
  return { tile: nameOf(tile), predicted: Math.max(1e-6 * microseconds, bytes / h200.bandwidth) };
}

function ofNorm(norm: Record<(typeof normTableOrder)[number], number>): TableRow[] {
  const { batch, height, width, firstChannels: first, secondChannels: second, resample } = norm;
  const elements = batch * height * width * (first + second);
  const written = elements * { 0: 1, 1: 4, 2: 0.25 }[resample as 0 | 1 | 2];
  const how = ['', ', up', ', down'][resample];
  const shape = `norm at ${height} x ${width}, ${second ? `${first} + ${second}` : first}${how}`;
  return [pass(shape, HALF * (elements + written)), pass(`${shape}, gradient`, HALF * (elements + written + elements))];
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
  const micro = (seconds: number | undefined) => (seconds === undefined ? '' : (1e6 * seconds).toFixed(1));
  const total = (value: (row: TableRow) => number) => rows.reduce((sum, row) => sum + row.count * value(row), 0);
  const time = (row: TableRow) => row.predicted ?? floorOf(row);
  const cells = rows
    .toSorted((a, b) => b.count * time(b) - a.count * time(a))
    .map((row) => [
      row.name,
      row.count,
      row.flops ? (row.flops / 1e9).toFixed(2) : '',
      (row.bytes / 1e6).toFixed(1),
      micro(floorOf(row)),
      row.tile,
      micro(time(row)),
      measured?.times.has(row.name) ? (1e3 * (measured.times.get(row.name) as number)).toFixed(1) : '',
    ]);
  return [
    `| of batch ${TABLE_BATCH} in bf16 | a step | GFLOP | MB | floor µs | tile | predicted µs | measured µs |`,
    '|---|--:|--:|--:|--:|---|--:|--:|',
    ...cells.map((row) => `| ${row.join(' | ')} |`),
    '',
    `The whole step: floor ${(1e3 * total(floorOf)).toFixed(2)} ms, predicted ${(1e3 * total(time)).toFixed(2)} ms, ` +
      `measured ${measured ? `on ${measured.card}` : 'on no card yet'}.`,
  ];
}
