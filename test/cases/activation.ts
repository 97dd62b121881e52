/** Cases of the nonlinearities of networks. */
import * as ops from '../../src/kernels/activation.ts';
import { geglu, gelu } from '../../src/kernels/gelu.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { awayFromZero, type Input, lattice, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

const activations = [4, 16, 16, 128];
const f = reference.activationFunctions;

/** For functions of e^x and quotients of it. */
const smooth: CaseTolerance = {
  value: { absolute: 3e-7, relative: 2e-6 },
  gradient: { absolute: 2e-6, relative: 4e-6, ofLargest: 1e-6 },
  reason: 'exponentials, logarithms and the error function of a few ulp, some subtracted from 1',
};
/** In the left tail the error function is subtracted from 1, as in PyTorch, and multiplied by two operands. */
const gate: CaseTolerance = { ...smooth, value: { absolute: 3e-6, relative: 2e-6 } };
const straight: CaseTolerance = { ...tolerances.rounded, value: { absolute: 1e-7, relative: 2e-7 } };

function unary(
  op: string,
  name: string,
  run: (x: Tensor) => Tensor,
  of: (x: number) => number,
  values: (shape: Shape) => Input,
  tolerance = smooth,
): Case {
  return defineCase<Shape>({
    op,
    name,
    inputs: (shape) => [values(shape)],
    run: ([x]) => run(x),
    reference: ([x]) => reference.map(x, (value) => of(value)),
    tolerance,
    check: [[], [2, 3, 5], [33], [0, 2], [1029]],
    random: name === '' ? (pick) => randomShape(pick, pick(0, 4), 0, 6) : undefined,
    time: name === '' ? [activations] : undefined,
    bytes: (shape) => 8 * reference.count(shape),
  });
}

const wide = (shape: Shape) => normal(shape, 2);
/** Multiples of 1/16 that are at no kink: not 0, 1 or 3. */
const kinks = (shape: Shape) => {
  const input = lattice(shape, 1 / 16);
  return { ...input, values: (draw: () => number, size: number) => Array.from(input.values(draw, size), (v) => 2 * v) };
};

function gated(approximate: 'none' | 'tanh'): Case {
  const of = approximate === 'none' ? f.gelu : f.geluTanh;
  return defineCase<Shape>({
    op: 'geglu',
    name: approximate === 'none' ? '' : 'tanh',
    inputs: (shape) => [wide(shape)],
    run: ([x]) => geglu(x, { approximate }),
    reference: ([x]) => {
      const width = x.shape[x.shape.length - 1] / 2;
      return reference.generate([...x.shape.slice(0, -1), width], (index) => {
        const [rest, i] = [index.slice(0, -1), index[index.length - 1]];
        return reference.at(x, [...rest, i]) * of(reference.at(x, [...rest, i + width]));
      });
    },
    tolerance: gate,
    check: [[2], [3, 10], [2, 3, 38], [3, 0], [0, 4], [70, 66]],
    random: (pick: Pick) => [...randomShape(pick, pick(0, 2), 0, 5), 2 * pick(0, 9)],
    time: approximate === 'none' ? [[4, 64, 512]] : undefined,
    bytes: (shape) => 6 * reference.count(shape),
  });
}

const prelu = defineCase<[Shape, Shape]>({
  op: 'prelu',
  name: '',
  inputs: ([x, weight]) => [awayFromZero(x), uniform(weight, 0.1, 0.4)],
  run: ([x, weight]) => ops.prelu(x, weight),
  reference: ([x, weight]) => reference.elementwise(f.prelu, x, weight),
  tolerance: tolerances.rounded,
  check: [
    [[5], [5]],
    [[2, 3, 4], [4]],
    [[3, 19], [1]],
    [[2, 3], []],
    [[0, 3], [3]],
  ],
  random: (pick: Pick) => {
    const shape = randomShape(pick, pick(1, 3), 0, 5);
    return [shape, shape.slice(-1)];
  },
  time: [[activations, [128]]],
  bytes: ([x]) => 8 * reference.count(x),
});

export const activationCases: Case[] = [
  unary('elu', '', (x) => ops.elu(x), f.elu, wide),
  unary(
    'elu',
    'alpha',
    (x) => ops.elu(x, { alpha: 0.5 }),
    (x) => f.elu(x, 0.5),
    awayFromZero,
  ),
  unary('gelu', '', (x) => gelu(x), f.gelu, wide),
  unary('gelu', 'tanh', (x) => gelu(x, { approximate: 'tanh' }), f.geluTanh, wide),
  gated('none'),
  gated('tanh'),
  unary('hardSigmoid', '', ops.hardSigmoid, f.hardSigmoid, kinks, straight),
  unary('hardSwish', '', ops.hardSwish, f.hardSwish, kinks, straight),
  unary('hardTanh', '', (x) => ops.hardTanh(x), f.hardTanh, kinks, straight),
  unary(
    'hardTanh',
    'bounds',
    (x) => ops.hardTanh(x, { min: -0.5, max: 2 }),
    (x) => f.hardTanh(x, -0.5, 2),
    kinks,
    straight,
  ),
  unary('leakyRelu', '', (x) => ops.leakyRelu(x), f.leakyRelu, awayFromZero, straight),
  unary(
    'leakyRelu',
    'slope',
    (x) => ops.leakyRelu(x, { negativeSlope: 0.25 }),
    (x) => f.leakyRelu(x, 0.25),
    awayFromZero,
    straight,
  ),
  unary('logSigmoid', '', ops.logSigmoid, f.logSigmoid, wide),
  unary('mish', '', ops.mish, f.mish, wide),
  prelu,
  unary('selu', '', ops.selu, f.selu, awayFromZero),
  unary('softplus', '', (x) => ops.softplus(x), f.softplus, wide),
  unary(
    'softplus',
    'beta and threshold',
    (x) => ops.softplus(x, { beta: 2, threshold: 3 }),
    (x) => f.softplus(x, 2, 3),
    kinks,
  ),
  unary('softsign', '', ops.softsign, f.softsign, awayFromZero, straight),
];
