// Reads the samples that pytorch/op_db.py wrote, runs our functions on them, and compares values, gradients and forward mode.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Device, gradients, jvp, mul, scope, sum, type Tensor, tensor } from '../../src/index.ts';
import { cast } from '../../src/kernels/cast.ts';
import { add } from '../../src/kernels/elementwise.ts';
import { mapping } from './mapping.ts';
import { type Sample, Semantics } from './sample.ts';
import { unmapped } from './unmapped.ts';

interface StoredTensor {
  dtype: 'f32' | 'i32' | 'bool' | 'u8';
  shape: number[];
  offset: number;
}

interface StoredSample {
  op: string;
  input: unknown;
  args: unknown[];
  kwargs: Record<string, unknown>;
  outputs: { tensor: number }[];
  cotangents: ({ tensor: number } | null)[];
  gradients: ({ tensor: number } | null)[];
}

export interface Samples {
  torch: string;
  tensors: StoredTensor[];
  samples: StoredSample[];
  /** Every operator of the database. */
  operators: string[];
  /** Samples that hold what the file has no form for, such as complex numbers, with the reasons. */
  dropped: Record<string, string[]>;
  data: Uint8Array;
}

export interface Summary {
  torch: string;
  total: number;
  passed: number;
  /** Samples that differ, or are refused, by documented semantics. */
  differing: number;
  ops: { op: string; samples: number; passed: number; semantics: string[] }[];
  failures: string[];
  /** Samples that are not compared, because PyTorch's result has no counterpart here: how many of each operator, and why. */
  dropped: Record<string, string>;
  /** Operators without an equivalent, by the reason. */
  unmapped: Record<string, string[]>;
}

export function readSamples(folder: string): Samples {
  const text = JSON.parse(readFileSync(join(folder, 'samples.json'), 'utf8')) as Omit<Samples, 'data'>;
  return { ...text, data: new Uint8Array(readFileSync(join(folder, 'data.bin'))) };
}

const arrays = { f32: Float32Array, i32: Int32Array, bool: Uint8Array, u8: Uint8Array };

function valuesOf({ tensors, data }: Samples, index: number) {
  const { dtype, shape, offset } = tensors[index];
  const size = shape.reduce((product, dim) => product * dim, 1);
  const array = arrays[dtype];
  const bytes = data.slice(offset, offset + size * array.BYTES_PER_ELEMENT);
  return { dtype, shape, values: new array(bytes.buffer, 0, size) };
}

export async function compareSamples(all: Samples, device: Device): Promise<Summary> {
  const ops = new Map<string, { op: string; samples: number; passed: number; semantics: Set<string> }>();
  const failures: string[] = [];
  for (const [index, stored] of all.samples.entries()) {
    const row = ops.get(stored.op) ?? { op: stored.op, samples: 0, passed: 0, semantics: new Set() };
    ops.set(stored.op, row);
    row.samples++;
    const fault = scope(() => faultOf(all, stored, device));
    if (fault === undefined) row.passed++;
    else if (fault instanceof Semantics) row.semantics.add(fault.reason);
    else failures.push(`${stored.op}, sample ${index}: ${fault}`);
  }
  const rows = [...ops.values()].map(({ semantics, ...row }) => ({ ...row, semantics: [...semantics] }));
  const passed = rows.reduce((total, row) => total + row.passed, 0);
  const total = all.samples.length;
  const dropped = Object.entries(all.dropped).map(([op, why]) => [
    op,
    `${why.length}: ${[...new Set(why)].join('; ')}`,
  ]);
  return {
    torch: all.torch,
    total,
    passed,
    differing: total - passed - failures.length,
    ops: rows,
    failures,
    dropped: Object.fromEntries(dropped),
    unmapped: unmapped(all.operators.filter((name) => !(name in mapping))),
  };
}

/** What is wrong with our result; undefined if it agrees. */
function faultOf(all: Samples, stored: StoredSample, device: Device): string | Semantics | undefined {
  const leaves = leavesOf(stored).map((index, i) => {
    const { dtype, shape, values } = valuesOf(all, index);
    const t = tensor(values, { dtype, shape, device });
    return stored.gradients[i] ? t.requireGrad() : t;
  });
  try {
    const outputs = outputsOf(stored, leaves);
    const wanted = stored.outputs.map(({ tensor: index }) => valuesOf(all, index)).slice(0, outputs.length);
    for (const [i, { shape, values }] of wanted.entries()) {
      const fault = difference(outputs[i], shape, values);
      if (fault) return `output ${i}: ${fault}`;
    }
    return gradientFault(all, stored, outputs, leaves, device) ?? forwardFault(all, stored, leaves, device);
  } catch (error) {
    return error instanceof Semantics ? error : `${(error as Error).name}: ${(error as Error).message}`;
  }
}

/** The indices of the tensors of a sample, in order. */
function leavesOf({ input, args, kwargs }: StoredSample): number[] {
  const found: number[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if ('tensor' in value) found.push(value.tensor as number);
    else Object.values(value).forEach(visit);
  };
  [input, args, kwargs].forEach(visit);
  return found;
}

/** Our results of a sample, with these tensors in it. */
function outputsOf({ op, input, args, kwargs }: StoredSample, leaves: readonly Tensor[]): Tensor[] {
  let next = 0;
  const load = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(load);
    if (typeof value !== 'object' || value === null) return value;
    if ('tensor' in value) return leaves[next++];
    if ('number' in value) return Number(String(value.number).replace('inf', 'Infinity'));
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, load(item)]));
  };
  const result = mapping[op]({ input: load(input), args: load(args), kwargs: load(kwargs) } as Sample);
  return (Array.isArray(result) ? result : [result]).filter((t) => t !== undefined);
}

function gradientFault(
  all: Samples,
  stored: StoredSample,
  outputs: readonly Tensor[],
  leaves: readonly Tensor[],
  device: Device,
): string | undefined {
  const moving = leaves.filter((t) => t.requiresGrad);
  const terms = outputs.flatMap((output, i) => {
    const cotangent = stored.cotangents[i];
    if (!cotangent || !output.requiresGrad) return [];
    const { shape, values } = valuesOf(all, cotangent.tensor);
    return [sum(mul(output, tensor(values, { shape, device })))];
  });
  if (moving.length === 0 || terms.length === 0) return undefined;
  const found = gradients(
    terms.reduce((a, b) => add(a, b)),
    moving,
  );
  const wanted = stored.gradients.flatMap((stored) => (stored ? [valuesOf(all, stored.tensor)] : []));
  for (const [i, { shape, values }] of wanted.entries()) {
    const fault = difference(found[i], shape, values);
    if (fault) return `gradient ${i}: ${fault}`;
  }
  return undefined;
}

/** Compares <w, J u> of forward mode with <g, u>, where g are PyTorch's gradients of <w, y>. */
function forwardFault(
  all: Samples,
  stored: StoredSample,
  leaves: readonly Tensor[],
  device: Device,
): string | undefined {
  const moving = leaves.flatMap((t, i) => (t.requiresGrad ? [i] : []));
  if (moving.length === 0 || !stored.cotangents.some((cotangent) => cotangent !== null)) return undefined;
  const copies = leaves.map((t) => tensor(t.dataSync(), { dtype: t.dtype, shape: t.shape, device }));
  const directions = moving.map((i) => Float32Array.from({ length: leaves[i].size }, (_, k) => Math.cos(k + i)));
  const [, tangents] = jvp(
    (...primals) => {
      const given = [...copies];
      for (const [k, i] of moving.entries()) given[i] = primals[k];
      return outputsOf(stored, given);
    },
    moving.map((i) => copies[i]),
    moving.map((i, k) => tensor(directions[k], { shape: leaves[i].shape, device })),
  );
  const terms = (list: ArrayLike<number>[], others: ArrayLike<number>[]) =>
    list.flatMap((values, i) => Array.from(values, (value, k) => value * others[i][k]));
  const reached = tangents.flatMap((t, i) => (stored.cotangents[i] && t.dtype === 'f32' ? [i] : []));
  const forward = terms(
    reached.map((i) => tangents[i].dataSync()),
    reached.map((i) => valuesOf(all, (stored.cotangents[i] as { tensor: number }).tensor).values),
  );
  const backward = terms(
    moving.map((i) => valuesOf(all, (stored.gradients[i] as { tensor: number }).tensor).values),
    directions,
  );
  const [found, wanted] = [forward, backward].map((list) => list.reduce((total, term) => total + term, 0));
  const size = [...forward, ...backward].reduce((total, term) => total + Math.abs(term), 0);
  if (!Number.isFinite(size) || Math.abs(found - wanted) <= ABSOLUTE + RELATIVE * size) return undefined;
  return `<w, J u> of forward mode is ${found}, <J^T w, u> of PyTorch is ${wanted}`;
}

/** Largest difference, as a share of the largest value and in absolute terms. */
const [RELATIVE, ABSOLUTE] = [2e-5, 1e-5];

function difference(got: Tensor, shape: readonly number[], wanted: ArrayLike<number>): string | undefined {
  if (got.shape.join() !== shape.join()) return `shape [${got.shape}], PyTorch's is [${shape}]`;
  const values = (got.dtype === 'bf16' ? cast(got, 'f32') : got).dataSync();
  let largest = 0;
  for (let i = 0; i < wanted.length; i++)
    if (Number.isFinite(wanted[i])) largest = Math.max(largest, Math.abs(wanted[i]));
  for (let i = 0; i < wanted.length; i++) {
    const [a, b] = [values[i], wanted[i]];
    if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (!(Math.abs(a - b) <= ABSOLUTE + RELATIVE * largest)) return `element ${i} is ${a}, PyTorch's is ${b}`;
  }
  return undefined;
}
