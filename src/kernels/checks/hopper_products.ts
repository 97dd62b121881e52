// The checks of the kernels for sm_90a that multiply matrices. Their twins are convolutions of single pixels; softmaxes are computed
// here from exact sums.
import { type CheckResult, chooseBuild } from '../../device/fast_builds.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { hopperBuilds } from '../conv/hopper.ts';
import { hopperProbabilities, hopperSlopes } from '../conv/hopper_attention.ts';
import { hopperProducts } from '../conv/hopper_products.ts';
import { linearShape } from '../conv/shape.ts';
import type { Passes } from './convolutions.ts';
import { type Draw, numbersOf } from './draw.ts';

/** Matrices, and their extents: rows end within a tile, and the keys of attention are the columns of the smallest. */
const BATCHES = 2;
const [ROWS, COLUMNS, TERMS, KEYS] = [320, 192, 128, 64];
/** The factor of scores, so that their probabilities are not all 0 or 1. */
const SCALE = 2 ** -9;
/** The largest difference of what is rounded to bf16 after functions that are not exact. */
const ROUNDED = 2 ** -6;

export function hopperProductsCheck({ forward, inputGradient, weightGradient }: Passes, draw: Draw): CheckResult[] {
  const tile = chooseBuild(draw.device, hopperBuilds, hopperBuilds[0]);
  const sizes = { batches: BATCHES, rows: ROWS, columns: COLUMNS, terms: TERMS, steps: [1, 1] } as const;
  const shape = [BATCHES, ROWS, COLUMNS];
  const [a, b] = [draw.tensor([BATCHES, ROWS, TERMS]), draw.tensor([BATCHES, TERMS, COLUMNS])];
  const [left, right] = [draw.tensor([BATCHES, TERMS, ROWS]), draw.tensor([COLUMNS, TERMS])];
  const bias = draw.tensor([COLUMNS], 'f32');
  const layer = linearShape(BATCHES * ROWS, TERMS, COLUMNS);
  const exact = (what: string, fast: readonly Tensor[] | undefined, twin: () => readonly Tensor[]): CheckResult => ({
    what,
    values: joined((fast ?? twin()).map(numbersOf)),
    tolerance: 0,
  });
  return [
    exact(
      'a sum of two products of matrices',
      tile &&
        hopperProducts(
          [{ pairs: [0, 1].map(() => [a, b] as const) }],
          { ...sizes, orders: [false, false] },
          { shape, dtype: 'bf16' },
          tile,
        ),
      () => each((i) => inputGradient(matrix(a, i), matrix(b, i), linearShape(ROWS, COLUMNS, TERMS), 2)),
    ),
    exact(
      'two products with a bias',
      tile &&
        hopperProducts(
          [0, 1].map(() => ({ pairs: [[a, right]] as const, bias })),
          { ...sizes, batches: 1, rows: BATCHES * ROWS, orders: [false, true], steps: [0, 0] },
          { shape, dtype: 'bf16' },
          tile,
        ),
      () => each(() => forward(a, right, layer, { bias, scale: 1 })),
    ),
    exact(
      'a product whose left matrix is transposed',
      tile &&
        hopperProducts([{ pairs: [[left, b]] }], { ...sizes, orders: [true, false] }, { shape, dtype: 'f32' }, tile),
      () => each((i) => weightGradient(matrix(b, i), matrix(left, i), linearShape(TERMS, COLUMNS, ROWS), 1)),
    ),
    ...attention(draw, tile),
  ];
}

/** The products of attention whose rows are whole in a tile. */
function attention(draw: Draw, tile: (typeof hopperBuilds)[number] | undefined): CheckResult[] {
  const [q, k] = [draw.tensor([BATCHES, ROWS, TERMS]), draw.tensor([BATCHES, KEYS, TERMS])];
  const weights = draw.tensor([BATCHES, ROWS, KEYS]);
  const result = (what: string, fast: Tensor | undefined, twin: (products: Float64Array, row: number) => number[]) => ({
    what,
    values: fast ? numbersOf(fast) : byRows(numbersOf(q), numbersOf(k), twin),
    tolerance: ROUNDED,
  });
  const given = numbersOf(weights);
  return [
    result('probabilities of attention', tile && hopperProbabilities(q, k, SCALE, tile), (scores) => {
      const exponentials = Array.from(scores, (score) => Math.exp(SCALE * (score - Math.max(...scores))));
      const total = exponentials.reduce((sum, one) => sum + one);
      return exponentials.map((one) => one / total);
    }),
    result('gradients of scores', tile && hopperSlopes(q, k, weights, SCALE, tile), (products, row) => {
      const own = given.subarray(row * KEYS, (row + 1) * KEYS);
      const mean = own.reduce((sum, weight, i) => sum + weight * products[i], 0);
      return Array.from(own, (weight, i) => SCALE * weight * (products[i] - mean));
    }),
  ];
}

/** f of each row of q k^T, which is exact. */
function byRows(q: Float32Array, k: Float32Array, f: (products: Float64Array, row: number) => number[]): Float32Array {
  const values = new Float32Array(BATCHES * ROWS * KEYS);
  const products = new Float64Array(KEYS);
  for (let row = 0; row < BATCHES * ROWS; row++) {
    const first = Math.floor(row / ROWS) * KEYS;
    for (let key = 0; key < KEYS; key++) {
      let sum = 0;
      for (let t = 0; t < TERMS; t++) sum += q[row * TERMS + t] * k[(first + key) * TERMS + t];
      products[key] = sum;
    }
    values.set(f(products, row), row * KEYS);
  }
  return values;
}

/** Matrix number i of a batch. */
function matrix(of: Tensor, i: number): Tensor {
  const shape = of.shape.slice(1);
  return view(of, shape, (i * of.size) / of.shape[0]);
}

const each = (f: (i: number) => Tensor) => Array.from({ length: BATCHES }, (_, i) => f(i));

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
