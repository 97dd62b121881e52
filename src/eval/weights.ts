// Weights of a published network from a PyTorch state dict, checked against the names and shapes of the network.
//
// A batch norm in inference, y = gamma (z - mean) / sqrt(variance + eps) + beta, after a convolution z = W x is
// y = W' x + b with W' = W s, b = beta - mean s, s = gamma / sqrt(variance + eps), one factor per output channel.
import { checkArgument, kinds } from '../arguments.ts';
import type { Device } from '../device/device.ts';
import { FileError } from '../errors.ts';
import { readPth, type TorchValue, toFloat32 } from '../io/index.ts';
import { compareState, describeMismatch } from '../nn/module.ts';
import { fromOfficial } from '../nn/official_names.ts';
import { tensor } from '../tensor/create.ts';
import { keep } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Arrays by PyTorch's names, in PyTorch's layouts: convolutions [Cout, Cin, kh, kw], linear maps [out, in]. */
export type StateArrays = ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>;

/**
 * Reads a state dict from a .pth file, as f32.
 * @throws FileError for anything else
 * @example
 * await writePth('model.pth', new Map([['bias', { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) }]]));
 * const state = await readStateArrays('model.pth');
 * state.get('bias').data; // [1, 2]
 */
export async function readStateArrays(path: string): Promise<StateArrays> {
  checkArgument('readStateArrays', 'path', path, kinds.path);
  const root = await readPth(path);
  if (!(root instanceof Map)) throw new FileError(path, 'is not a state dict: it does not hold a dictionary');
  return new Map([...root].map(([name, value]) => [String(name), toArray(path, String(name), value)]));
}

function toArray(path: string, name: string, value: TorchValue) {
  if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Map)
    throw new FileError(path, `is not a state dict: "${name}" is not a tensor`);
  return { shape: value.shape, data: toFloat32(value) };
}

/** @throws FileError that lists the first missing and unknown names and wrong shapes, and their numbers */
export function checkStateArrays(
  origin: string,
  what: string,
  expected: ReadonlyMap<string, readonly number[]>,
  arrays: StateArrays,
): void {
  const own = new Map([...expected].map(([name, shape]) => [name, { shape }]));
  const lines = describeMismatch(compareState(own, arrays));
  if (lines.length > 0) throw new FileError(origin, [`does not fit ${what}:`, ...lines]);
}

/** The arguments of conv2d for a convolution that is not trained: weight [Cout, kh, kw, Cin], bias [Cout]. */
export interface FixedConv {
  weight: Tensor;
  bias: Tensor;
}

type Array32 = { shape: readonly number[]; data: Float32Array };

/** Uploads a convolution in PyTorch's layout. @param weight [Cout, Cin, kh, kw] @param bias [Cout] */
export function fixedConv(weight: Array32, bias: Float32Array, device: Device): FixedConv {
  const { shape, data } = fromOfficial('conv', weight);
  return keep({ weight: tensor(data, { shape, device }), bias: tensor(bias, { device }) });
}

/** The arrays of a batch norm, [channels] each. */
interface BatchNormArrays {
  weight: Float32Array;
  bias: Float32Array;
  runningMean: Float32Array;
  runningVar: Float32Array;
}

/** Folds a batch norm into the preceding convolution, which has no bias. @param weight [Cout, Cin, kh, kw] */
export function foldBatchNorm(weight: Array32, norm: BatchNormArrays, eps: number): Array32 & { bias: Float32Array } {
  const outputs = weight.shape[0];
  const each = weight.data.length / outputs;
  const factors = Float64Array.from(norm.runningVar, (variance, o) => norm.weight[o] / Math.sqrt(variance + eps));
  return {
    shape: weight.shape,
    data: weight.data.map((value, i) => value * factors[Math.floor(i / each)]),
    bias: norm.bias.map((value, o) => value - norm.runningMean[o] * factors[o]),
  };
}
