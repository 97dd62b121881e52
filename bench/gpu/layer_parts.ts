// What layers and norms compute: names, operations and bytes of their passes, and the convolutions of a planned launch.
import { ENTRY_WORDS, MOST_TOGETHER } from '../../src/kernels/conv/hopper.ts';
import { type ConvShape, convTableOrder, inputShape } from '../../src/kernels/conv/shape.ts';
import type { normTableOrder } from '../../src/kernels/group_norm.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import type { PlannedNode } from './planning_device.ts';

export type Pass = 'forward' | 'input' | 'weight';

/** A pass of a layer, which may share its launch with others. */
export interface Part {
  /** What is computed; also the key of its measurement. */
  name: string;
  flops: number;
  bytes: number;
  /** Which pass of which convolution it is. */
  convolution?: { shape: ConvShape; pass: Pass };
}

export type Tables = ReadonlyMap<number, readonly number[]>;

/** Bytes of an activation, a bf16 weight and an f32. */
export const HALF = 2;
export const FULL = 4;
/** The words of weight_gradients.ts, and of hopper_weight_gradients.ts after the maps: all of them, and those of one entry. */
export const GRADIENTS = { first: 0, table: 896, words: 14, convolution: 6 };
export const HOPPER_GRADIENTS = { first: 1, table: ENTRY_WORDS * MOST_TOGETHER, words: ENTRY_WORDS, convolution: 2 };
/** The numbers of the table at that address, by name. */
export function readTable<Name extends string>(
  tables: Tables,
  address: number,
  order: readonly Name[],
): Record<Name, number> {
  const table = tables.get(address) as readonly number[];
  return Object.fromEntries(order.map((name, i) => [name, table[i]])) as Record<Name, number>;
}

/** The convolutions whose weight gradients one launch computes. */
export function convolutionsOf(values: readonly number[], place: typeof GRADIENTS, tables: Tables): ConvShape[] {
  return Array.from({ length: values[place.first + place.table] }, (_, e) => {
    const at = place.first + e * place.words + place.convolution;
    return readTable(tables, values[at] + values[at + 1] * 2 ** 32, convTableOrder);
  });
}

/** The convolutions of a launch of sm_90a's kernels and their pass; undefined for any other kernel. */
export function hopperPassOf(
  { name, arguments: values }: PlannedNode,
  tables: Tables,
): { pass: Pass; shapes: ConvShape[] } | undefined {
  const shapes = (at: number) => [readTable(tables, values[at], convTableOrder)];
  if (name === 'conv_hopper_forward') return { pass: 'forward', shapes: shapes(6) };
  if (name === 'conv_hopper_input_gradient') return { pass: 'input', shapes: shapes(3) };
  if (name !== 'conv_hopper_weight_gradients') return undefined;
  return { pass: 'weight', shapes: convolutionsOf(values, HOPPER_GRADIENTS, tables) };
}

// ---------------------------------------------------------------- names, operations and bytes

/** y [rows, columns] = x w^T, where x has `read` elements. */
export interface Product {
  name: string;
  rows: number;
  columns: number;
  terms: number;
  read: number;
  /** For convolutions. */
  shape?: ConvShape;
}

const passNames: Record<Pass, string> = { forward: '', input: ', input gradient', weight: ', weight gradient' };

export function ofConvolution(shape: ConvShape, kind: Pass): Part {
  const { batch, height, width, channels, outputs, kernelHeight, kernelWidth } = shape;
  const taps = kernelHeight * kernelWidth;
  if (height * width * taps === 1) return ofProduct(linear(batch, channels, outputs), kind);
  const name = `${kernelHeight} x ${kernelWidth} at ${height} x ${width}, ${channels} → ${outputs}`;
  const rows = batch * shape.outputHeight * shape.outputWidth;
  const read = sizeOf(inputShape(shape));
  return ofProduct({ name, rows, columns: outputs, terms: taps * channels, read, shape }, kind);
}

export function linear(rows: number, terms: number, columns: number): Product {
  return { name: `layer ${rows} x ${terms} → ${columns}`, rows, columns, terms, read: rows * terms };
}

export function ofProduct({ name, rows, columns, terms, read, shape }: Product, kind: Pass): Part {
  return {
    name: `${name}${passNames[kind]}`,
    flops: 2 * rows * columns * terms,
    bytes: HALF * (read + rows * columns) + (kind === 'weight' ? FULL : HALF) * terms * columns,
    ...(shape && { convolution: { shape, pass: kind } }),
  };
}

export type NormSizes = Record<(typeof normTableOrder)[number], number>;

export function ofNorm(norm: NormSizes, kernel: string): Part {
  const { batch, height, width, firstChannels: first, secondChannels: second, resample } = norm;
  const elements = batch * height * width * (first + second);
  const written = elements * { 0: 1, 1: 4, 2: 0.25 }[resample as 0 | 1 | 2];
  const how = ['', ', up', ', down'][resample];
  const name = `norm at ${height} x ${width}, ${second ? `${first} + ${second}` : first}${how}`;
  return kernel.includes('forward')
    ? { name, flops: 0, bytes: HALF * (elements + written) }
    : { name: `${name}, gradient`, flops: 0, bytes: HALF * (elements + written + elements) };
}
