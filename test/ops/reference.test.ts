// The reference itself, on numbers small enough to check by hand.
import { expect, test } from 'vitest';
import { expectClose } from '../support/compare.ts';
import * as reference from '../support/reference/index.ts';

const { array64 } = reference;
const numbers = (array: reference.Array64) => Array.from(array.data);

test('broadcasting aligns at the last axis', () => {
  const y = reference.elementwise((a, b) => a + b, array64([2, 1], [1, 2]), array64([3], [10, 20, 30]));
  expect(y.shape).toEqual([2, 3]);
  expect(numbers(y)).toEqual([11, 21, 31, 12, 22, 32]);
});

test('convolution slides without flipping the kernel', () => {
  const x = array64([1, 3, 3, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const weight = array64([1, 2, 2, 1], [1, 10, 100, 1000]);
  expect(numbers(reference.conv2d(x, weight))).toEqual([5421, 6532, 8754, 9865]);
  expect(numbers(reference.conv2d(x, weight, { stride: 2, padding: 1 }))).toEqual([1000, 3200, 7040, 9865]);
});

test('matmul takes transposed operands, batches and a bias', () => {
  const a = array64([2, 2], [1, 2, 3, 4]);
  const b = array64([2, 1, 2], [1, 1, 1, -1]);
  const y = reference.matmul(a, b, { transposeB: true, bias: array64([1], [10]) });
  expect(y.shape).toEqual([2, 2, 1]);
  expect(numbers(y)).toEqual([13, 17, 9, 9]);
});

test('attention with equal scores is the mean of the values', () => {
  const y = reference.attention(array64([1, 1, 2]), array64([1, 2, 2], [1, 2, 3, 4]), array64([1, 2, 1], [1, 5]));
  expectClose('attention', y.data, [3], { absolute: 1e-12 });
});

test('a linear combination weights its stages and keeps x unchanged', () => {
  const [x, k0, k1] = [
    [1, 2],
    [10, 20],
    [100, 200],
  ].map((values) => array64([2], values));
  expect(numbers(reference.linearCombination(x, [k0, k1], [2, -0.5]))).toEqual([-29, -58]);
  expect(numbers(reference.linearCombination(null, [k0, k1], [2, -0.5]))).toEqual([-30, -60]);
});

test('group norm gives every group mean 0 and variance 1', () => {
  const x = array64([1, 2, 4], [1, 3, 10, 20, 5, 7, 30, 40]);
  const y = reference.groupNorm(x, array64([4], [1, 1, 1, 1]), array64([4]), { groups: 2, eps: 0 });
  const first = [y.data[0], y.data[1], y.data[4], y.data[5]];
  expect(first.reduce((total, value) => total + value, 0)).toBeCloseTo(0, 12);
  expect(first.reduce((total, value) => total + value * value, 0) / 4).toBeCloseTo(1, 12);
});

test('a FIR filter is flipped, up and down, with the official padding', () => {
  const pixel = array64([1, 1, 1, 1], [64]);
  expect(numbers(reference.firResample(pixel, [1, 3], { padding: [1, 1] }))).toEqual([4, 12, 12, 36]);
  expect(numbers(reference.firUpsample(pixel, [1, 3, 3, 1]))).toEqual([36, 36, 36, 36]);
  expect(numbers(reference.firUpsample(pixel, [1, 3]))).toEqual([16, 48, 48, 144]);
  const square = array64([1, 2, 2, 1], [64, 0, 0, 0]);
  expect(numbers(reference.firDownsample(square, [1, 3, 3, 1]))).toEqual([9]);
  expect(numbers(reference.firDownsample(square, [1, 3]))).toEqual([36]);
});

test('pools windows of a 3 x 3 image with a padding of one, and resizes a row with half-pixel centres', () => {
  const x = array64([1, 3, 3, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const options = { kernel: [2, 2], stride: [2, 2], padding: [1, 1] } as const;
  expect(numbers(reference.maxPool2d(x, options))).toEqual([1, 3, 7, 9]);
  expect(numbers(reference.averagePool2d(x, options))).toEqual([0.25, 1.25, 2.75, 7]);
  expect(numbers(reference.averagePool2d(x, { ...options, countIncludePad: false }))).toEqual([1, 2.5, 5.5, 7]);
  const row = array64([1, 1, 2, 1], [0, 8]);
  expect(numbers(reference.resizeBilinear(row, [1, 4]))).toEqual([0, 2, 6, 8]);
  expect(numbers(reference.resizeBilinear(x, [1, 1]))).toEqual([5]);
});

test('softmax, its logarithm and cross entropy agree', () => {
  const logits = array64([1, 2], [0, Math.log(3)]);
  expectClose('softmax', reference.softmax(logits).data, [0.25, 0.75], { absolute: 1e-12 });
  expectClose('loss', reference.crossEntropy(logits, array64([1], [0])).data, [Math.log(4)], { absolute: 1e-12 });
});

test('casts round to nearest, ties to even, with subnormals and overflow', () => {
  const bf16 = reference.cast(array64([4], [1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -7), 3.4e38]), 'bf16');
  expect(numbers(bf16)).toEqual([1, 1 + 2 ** -6, -(1 + 2 ** -7), Number.POSITIVE_INFINITY]);
  const f16 = reference.cast(array64([5], [1 + 2 ** -11, 65519, 65520, 2 ** -25, 3 * 2 ** -25]), 'f16');
  expect(numbers(f16)).toEqual([1, 65504, Number.POSITIVE_INFINITY, 0, 2 ** -23]);
});

test('central differences find the derivative of sum(c x^3)', () => {
  const x = array64([2], [1, -2]);
  const f = ([value]: reference.Array64[]) => [reference.map(value, (v) => v ** 3)];
  const cotangents = [array64([2], [1, 0.5])];
  expectClose('partial', reference.partialDerivatives(f, [x], cotangents, 0, [0, 1]), [3, 6], { absolute: 1e-7 });
  const along = reference.directionalDerivative(f, [x], cotangents, 0, Float64Array.of(1, -1));
  expectClose('directional', [along], [-3], { absolute: 1e-7 });
});

test('reading and writing by index', () => {
  const x = array64([2, 3], [1, 2, 3, 4, 5, 6]);
  const index = array64([2, 1], [2, 0]);
  expect(numbers(reference.takeAlongAxis(x, index, 1))).toEqual([3, 4]);
  expect(numbers(reference.take(x, array64([2], [1, 1]), 0))).toEqual([4, 5, 6, 4, 5, 6]);
  expect(numbers(reference.take(x, array64([2], [5, 0])))).toEqual([6, 1]);
  const values = array64([2, 1], [10, 20]);
  expect(numbers(reference.scatterAdd(x, index, values, 1))).toEqual([1, 2, 13, 24, 5, 6]);
  expect(numbers(reference.scatterAlongAxis(x, index, values, 1))).toEqual([1, 2, 10, 20, 5, 6]);
  expect(numbers(reference.indexAdd(x, array64([2], [1, 1]), x, 0))).toEqual([1, 2, 3, 9, 12, 15]);
  expect(numbers(reference.nonzero(array64([2, 2], [0, 1, 1, 0])))).toEqual([0, 1, 1, 0]);
  expect(numbers(reference.booleanMask(x, array64([3], [1, 0, 1]), 1))).toEqual([1, 3, 4, 6]);
});

test('einsum sums over what its result lacks', () => {
  const x = array64([2, 2], [1, 2, 3, 4]);
  expect(numbers(reference.einsum('ij,jk->ik', [x, x]))).toEqual([7, 10, 15, 22]);
  expect(numbers(reference.einsum('ii', [x]))).toEqual([5]);
  expect(numbers(reference.einsum('...j->...', [x]))).toEqual([3, 7]);
  expect(numbers(reference.einsum('ba', [x]))).toEqual([1, 3, 2, 4]);
});

test('normalisations give mean 0 and variance 1 over their axes', () => {
  const x = array64([2, 2], [0, 2, 10, 14]);
  const exact = { eps: 0 };
  expect(numbers(reference.layerNorm(x, undefined, undefined, exact))).toEqual([-1, 1, -1, 1]);
  expect(numbers(reference.batchNorm(x, undefined, undefined, exact))).toEqual([-1, -1, 1, 1]);
  expect(numbers(reference.rmsNorm(array64([2], [3, 3]), array64([2], [1, 2]), -1, 0))).toEqual([1, 2]);
  expect(numbers(reference.instanceNorm(array64([1, 2, 1], [0, 6]), array64([1], [2]), array64([1], [1]), 0))).toEqual([
    -1, 3,
  ]);
});
