// `inspect`: lists the contents of a checkpoint file, or the tensors of a configuration's network.
import { extname } from 'node:path';
import { checkArgument, kinds, refuseExtra } from '../../arguments.ts';
import { type ArrayFile, flattenTorch, readSafetensors } from '../../io/index.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { isCheckpoint, readCheckpointHeader } from './checkpoint.ts';
import { type NotFinite, notFiniteArrays } from './finite.ts';
import { outlineModel } from './model.ts';
import { readTorchTree } from './open.ts';

export interface TensorLine {
  name: string;
  dtype: string;
  shape: readonly number[];
}

export interface FileSummary {
  kind: 'checkpoint of rectiflow' | 'file of PyTorch' | 'safetensors';
  tensors: TensorLine[];
  elements: number;
  /** Values that are not tensors, by path: numbers and strings in a .pth, the metadata of a safetensors file. */
  values: [path: string, text: string][];
  step?: number;
  emaDecay?: number;
  config?: unknown;
  /** NaN and infinite numbers, if there are any. */
  notFinite?: NotFinite;
}

/**
 * Lists the tensors of a checkpoint, of a .pth or of any safetensors file, and its values that are not tensors.
 * @throws FileError for a file that is missing or damaged
 * @example
 * const { kind, step, tensors } = await inspectFile('runs/digits/checkpoints/checkpoint_1.safetensors');
 * kind; // 'checkpoint of rectiflow'
 * step; // 5
 * tensors.find(({ name }) => name === 'model.convIn.weight').shape; // [8, 3, 3, 1]
 */
export async function inspectFile(path: string): Promise<FileSummary> {
  checkArgument('inspectFile', 'path', path, kinds.path);
  if (extname(path) !== '.safetensors') return inspectTree(path);
  const { metadata, tensors } = await readSafetensors(path);
  if (metadata.tree !== undefined) return inspectTree(path);
  const { tree: _, config: __, ...rest } = metadata;
  const common = { ...linesOf(tensors), values: Object.entries(rest) };
  if (!isCheckpoint(metadata)) return { kind: 'safetensors', ...common };
  return { kind: 'checkpoint of rectiflow', ...common, ...(await readCheckpointHeader(path)) };
}

async function inspectTree(path: string): Promise<FileSummary> {
  const { tensors, tree } = flattenTorch((await readTorchTree(path)) ?? null);
  const values = scalars(JSON.parse(tree), '');
  const number = (name: string) => {
    const text = values.find(([key]) => key === name)?.[1];
    return text !== undefined && Number.isFinite(Number(text)) ? Number(text) : undefined;
  };
  return { kind: 'file of PyTorch', ...linesOf(tensors), values, step: number('step'), emaDecay: number('ema.decay') };
}

function linesOf(tensors: ReadonlyMap<string, ArrayFile>): Pick<FileSummary, 'tensors' | 'elements' | 'notFinite'> {
  const lines = Array.from(tensors, ([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const elements = lines.reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1), 0);
  const notFinite = notFiniteArrays(tensors);
  return { tensors: lines, elements, ...(notFinite && { notFinite }) };
}

/** Leaves of a flattened tree (io/torch/torch_safetensors.ts) that are not tensors; a list of numbers is one leaf. */
function scalars(json: unknown, path: string): [string, string][] {
  const below = (key: unknown) => (path ? `${path}.${key}` : String(key));
  if (Array.isArray(json)) {
    if (json.every((item) => typeof item !== 'object' || item === null)) return [[path, listText(json)]];
    return json.flatMap((item, i) => scalars(item, below(i)));
  }
  if (typeof json !== 'object' || json === null) return [[path, String(json)]];
  const [[kind, content]] = Object.entries(json);
  if (kind === 'tensor') return [];
  if (kind === 'int' || kind === 'float') return [[path, String(content)]];
  if (kind === 'tuple') return scalars(content, path);
  return (content as [unknown, unknown][]).flatMap(([key, value]) => scalars(value, below(key)));
}

const LISTED = 8;

function listText(items: readonly unknown[]): string {
  const more = items.length > LISTED ? `, ... ${items.length} in total` : '';
  return `[${items.slice(0, LISTED).join(', ')}${more}]`;
}

export interface ModelSummary {
  /** Number of all parameters. */
  parameters: number;
  /** How many of them training does not change: the frequencies of a Fourier embedding. */
  fixed: number;
  tensors: TensorLine[];
}

/**
 * The tensors of a configuration's network and the number of its parameters. No memory is allocated for them.
 * @example
 * const { parameters, tensors } = inspectModel(await loadConfig('digits'));
 * parameters; // 748737
 * tensors[0].name; // 'time1.weight'
 */
export function inspectModel(config: Config): ModelSummary;
export function inspectModel(config: Config, ...extra: unknown[]): ModelSummary {
  refuseExtra('inspectModel', extra);
  requireConfig('inspectModel', config);
  using model = outlineModel(config);
  const tensors = Array.from(model.namedTensors(), ([name, { dtype, shape }]) => ({ name, dtype, shape }));
  let [parameters, fixed] = [0, 0];
  for (const [, tensor] of model.namedTensors()) {
    parameters += tensor.size;
    if (!tensor.requiresGrad) fixed += tensor.size;
  }
  return { parameters, fixed, tensors };
}
