/**
 * Reference of the normalisations over chosen axes:
 *   y = (x - mean) / sqrt(variance + eps) * weight + bias, with mean and (biased) variance over the axes.
 */
import { type Array64, array64, at, count, generate, map } from './array.ts';
import { elementwise } from './elementwise.ts';
import { mean as meanOf } from './reduce.ts';

type Optional = Array64 | undefined;

/** A weight or a bias of the shape of `axes`, in a shape that broadcasts to x. */
function along(x: Array64, t: Array64, axes: readonly number[]): Array64 {
  return array64(
    x.shape.map((extent, axis) => (axes.includes(axis) ? extent : 1)),
    t.data,
  );
}

function affine(x: Array64, normal: Array64, weight: Optional, bias: Optional, axes: readonly number[]): Array64 {
  const scaled = weight ? elementwise((a, b) => a * b, normal, along(x, weight, axes)) : normal;
  return bias ? elementwise((a, b) => a + b, scaled, along(x, bias, axes)) : scaled;
}

function normalise(x: Array64, axes: readonly number[], eps: number): Array64 {
  const centred = elementwise((a, b) => a - b, x, meanOf(x, { axes, keepDims: true }));
  const variance = meanOf(
    map(centred, (d) => d * d),
    { axes, keepDims: true },
  );
  return elementwise((d, v) => d / Math.sqrt(v + eps), centred, variance);
}

const positive = (axes: number | readonly number[], { shape }: Array64) =>
  [axes].flat().map((axis) => (axis + shape.length) % shape.length);

export function layerNorm(
  x: Array64,
  weight?: Array64,
  bias?: Array64,
  { axes = -1, eps = 1e-5 }: { axes?: number | readonly number[]; eps?: number } = {},
): Array64 {
  const list = positive(axes, x).sort((a, b) => a - b);
  return affine(x, normalise(x, list, eps), weight, bias, list);
}

export function rmsNorm(x: Array64, weight: Array64, axes: number | readonly number[] = -1, eps = 2 ** -23): Array64 {
  const list = positive(axes, x).sort((a, b) => a - b);
  const squares = meanOf(
    map(x, (value) => value * value),
    { axes: list, keepDims: true },
  );
  const normal = elementwise((value, square) => value / Math.sqrt(square + eps), x, squares);
  return affine(x, normal, weight, undefined, list);
}

/** With the statistics of the batch; or with a mean and a variance of each channel. */
export function batchNorm(
  x: Array64,
  weight?: Array64,
  bias?: Array64,
  { eps = 1e-5, given }: { eps?: number; given?: readonly [mean: Array64, variance: Array64] } = {},
): Array64 {
  const channel = x.shape.length - 1;
  const normal = given
    ? elementwise((value, mean, variance) => (value - mean) / Math.sqrt(variance + eps), x, ...given)
    : normalise(x, [...Array(channel).keys()], eps);
  return affine(x, normal, weight, bias, [channel]);
}

export function instanceNorm(x: Array64, weight?: Array64, bias?: Array64, eps = 1e-5): Array64 {
  const channel = x.shape.length - 1;
  const positions = [...Array(channel).keys()].slice(1);
  return affine(x, normalise(x, positions, eps), weight, bias, [channel]);
}

/** The running mean or variance after an update by a batch. */
export function runningStatistics(x: Array64, running: readonly [mean: Array64, variance: Array64], momentum: number) {
  const channels = x.shape[x.shape.length - 1];
  const rows = count(x.shape) / channels;
  const column = (c: number) => Array.from({ length: rows }, (_, r) => x.data[r * channels + c]);
  const means = generate([channels], ([c]) => column(c).reduce((a, b) => a + b, 0) / rows);
  const variances = generate(
    [channels],
    ([c]) => column(c).reduce((sum, value) => sum + (value - at(means, [c])) ** 2, 0) / (rows - 1),
  );
  return [means, variances].map((batch, i) =>
    elementwise((old, value) => (1 - momentum) * old + momentum * value, running[i], batch),
  );
}
