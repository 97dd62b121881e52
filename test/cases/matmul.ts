// Cases of matrix products.
import { matmul } from '../../src/kernels/matmul.ts';
import { normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape } from './case.ts';

/** Rows, inner extent and columns, with the batch axes of either side. */
interface Product {
  m: number;
  k: number;
  n: number;
  batchA?: number[];
  batchB?: number[];
}

const products: Product[] = [
  { m: 1, k: 1, n: 1 },
  { m: 2, k: 3, n: 4 },
  { m: 1, k: 7, n: 5 },
  { m: 5, k: 7, n: 1 },
  { m: 13, k: 1, n: 33 },
  { m: 12, k: 32, n: 32 },
  { m: 17, k: 19, n: 23 },
  { m: 24, k: 64, n: 65 },
  { m: 33, k: 70, n: 31 },
  { m: 65, k: 9, n: 97 },
  { m: 7, k: 300, n: 48 },
];

const batched: Product[] = [
  { m: 2, k: 3, n: 4, batchA: [2], batchB: [2] },
  { m: 3, k: 5, n: 2, batchA: [2, 3], batchB: [2, 3] },
  { m: 3, k: 5, n: 2, batchA: [4], batchB: [] },
  { m: 3, k: 5, n: 2, batchA: [], batchB: [3] },
  { m: 3, k: 4, n: 5, batchA: [2, 1], batchB: [3] },
  { m: 2, k: 4, n: 3, batchA: [1], batchB: [3] },
  { m: 16, k: 33, n: 20, batchA: [3], batchB: [3] },
];

const empty: Product[] = [
  { m: 0, k: 3, n: 4 },
  { m: 2, k: 3, n: 0 },
  { m: 2, k: 0, n: 3 },
  { m: 2, k: 3, n: 4, batchA: [0], batchB: [0] },
];

/** Rows of the 1x1 convolutions, the time embedding and the shortcut layers. */
const layers: Product[] = [
  { m: 4096, k: 128, n: 128 },
  { m: 4096, k: 256, n: 128 },
  { m: 1024, k: 256, n: 256 },
  { m: 1024, k: 512, n: 256 },
  { m: 16384, k: 256, n: 128 },
  { m: 128, k: 512, n: 512 },
  { m: 256, k: 256, n: 256, batchA: [4], batchB: [4] },
];

function randomProduct(pick: Pick): Product {
  const batch = randomShape(pick, pick(0, 2), 1, 3);
  const other = batch.map((extent) => (pick(0, 2) === 0 ? 1 : extent));
  const [batchA, batchB] = pick(0, 1) === 0 ? [batch, other] : [other, batch];
  return { m: pick(0, 20), k: pick(1, 20), n: pick(1, 40), batchA, batchB };
}

const accumulated: CaseTolerance = {
  value: { absolute: 1e-6, ofLargest: 3e-6 },
  gradient: { absolute: 1e-6, ofLargest: 4e-6 },
  reason: 'f32 dot products of up to 300 terms; the error follows the size of the terms',
};

interface Variant {
  transposeA?: boolean;
  transposeB?: boolean;
  bias?: boolean;
}

function matmulCase(name: string, variant: Variant, check: Product[], time?: Product[]): Case {
  const { transposeA, transposeB } = variant;
  return defineCase<Product>({
    op: 'matmul',
    name,
    inputs: ({ m, k, n, batchA = [], batchB = [] }) => [
      normal([...batchA, ...(transposeA ? [k, m] : [m, k])]),
      normal([...batchB, ...(transposeB ? [n, k] : [k, n])]),
      ...(variant.bias ? [normal([n])] : []),
    ],
    // A linear layer has a weight and a bias; otherwise both operands are activations.
    parameters: variant.bias ? (transposeB ? [1, 2] : [2]) : [],
    run: ([a, b, bias]) => matmul(a, b, { transposeA, transposeB, bias }),
    reference: ([a, b, bias]) => reference.matmul(a, b, { transposeA, transposeB, bias }),
    tolerance: accumulated,
    check,
    random: randomProduct,
    time,
    flops: ({ m, k, n, batchA = [], batchB = [] }) =>
      2 * m * k * n * reference.count(reference.broadcastShape(batchA, batchB)),
  });
}

export const matmulCases: Case[] = [
  matmulCase('', {}, [...products, ...batched, ...empty], layers),
  matmulCase('transposed a', { transposeA: true }, [...products, ...batched], [layers[0], layers[2]]),
  matmulCase('transposed b', { transposeB: true }, [...products, ...batched], [layers[0], layers[2], layers[6]]),
  matmulCase('both transposed', { transposeA: true, transposeB: true }, [...products, ...batched]),
  matmulCase('bias', { bias: true }, [...products, batched[2], batched[4], empty[0], empty[2]], [layers[0]]),
  matmulCase('transposed b, bias', { transposeB: true, bias: true }, products, [layers[5]]),
];
