// Tests of numbers, and logic on bool tensors. The results are bool and have no gradient.
import { refuseExtra } from '../arguments.ts';
import { allocate } from '../tensor/allocate.ts';
import { broadcastShapes } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { elementwiseFamily } from './inner/elementwise_family.ts';
import { loopTable } from './inner/operands.ts';
import { all } from './inner/signatures.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkActivations, checkOperands, declareOp, notDifferentiable } from './op.ts';

const LOGIC = ['logic_and', 'logic_not', 'logic_or', 'logic_xor'] as const;

const logic = elementwiseFamily(
  ['kernels/logic.c', 'kernels/logic.cu'],
  { unary: ['logic_is_finite', 'logic_is_inf', 'logic_is_nan'] },
  { cpu: all(LOGIC, 'ptr ptr ptr ptr'), cuda: all(LOGIC, 'ptr ptr ptr ptr i32') },
);

const logicOp = (name: string) =>
  declareOp({
    name,
    cpu: logic.cpu,
    cuda: logic.cuda,
    ...notDifferentiable('its result is true or false'),
  });

/** The ops of this family, by name. */
export const logicOps = {
  isFinite: logicOp('isFinite'),
  isInf: logicOp('isInf'),
  isNaN: logicOp('isNaN'),
  logicalAnd: logicOp('logicalAnd'),
  logicalNot: logicOp('logicalNot'),
  logicalOr: logicOp('logicalOr'),
  logicalXor: logicOp('logicalXor'),
};

type Test = Parameters<typeof logic.unary>[0];

function test(name: 'isFinite' | 'isInf' | 'isNaN', kernel: Test): (x: Tensor) => Tensor {
  return (x, ...extra: unknown[]) => {
    refuseExtra(name, extra);
    checkActivations(name, [x]);
    return apply(logicOps[name], logic.unary(kernel, x, 0, 0, 'bool'), { parents: [x] });
  };
}

function run(name: keyof typeof logicOps, kernel: (typeof LOGIC)[number], operands: [Tensor, Tensor]): Tensor {
  const device = checkOperands(name, operands, 'bool');
  const [a, b] = operands;
  const y = allocate(broadcastShapes(name, a.shape, b.shape), { device, dtype: 'bool' });
  if (y.size > 0) {
    const addresses = [a.address, b.address, y.address, loopTable(y, y.shape, operands)];
    if (device.kind === 'cuda') device.load(logic.cuda.f32)[kernel](perElement(y.size), ...addresses, y.size);
    else device.load(logic.cpu)[kernel](...addresses);
  }
  return apply(logicOps[name], y, { parents: operands });
}

/* @__NO_SIDE_EFFECTS__ */
function connective(
  name: 'logicalAnd' | 'logicalOr' | 'logicalXor',
  kernel: (typeof LOGIC)[number],
): (a: Tensor, b: Tensor) => Tensor {
  return (a, b, ...extra: unknown[]) => {
    refuseExtra(name, extra);
    return run(name, kernel, [a, b]);
  };
}

/**
 * Where x is neither infinite nor NaN, as bool.
 * @example isFinite(tensor([1, Infinity, NaN])); // [true, false, false]
 */
const isFiniteNumber = test('isFinite', 'logic_is_finite');
/**
 * Where x is infinite, of either sign, as bool.
 * @example isInf(tensor([1, -Infinity, NaN])); // [false, true, false]
 */
export const isInf = test('isInf', 'logic_is_inf');
/**
 * Where x is NaN, as bool.
 * @example isNaN(tensor([1, Infinity, NaN])); // [false, false, true]
 */
const isNotANumber = test('isNaN', 'logic_is_nan');

export { isFiniteNumber as isFinite, isNotANumber as isNaN };

/**
 * a and b of bool tensors, broadcast. cast(x, 'bool') is where x is not 0.
 * @example
 * const a = tensor([true, true, false], { dtype: 'bool' });
 * logicalAnd(a, tensor([true, false, false], { dtype: 'bool' })); // [true, false, false]
 */
export const logicalAnd = connective('logicalAnd', 'logic_and');
/**
 * a or b, or both, of bool tensors, broadcast.
 * @example
 * const a = tensor([true, true, false], { dtype: 'bool' });
 * logicalOr(a, tensor([true, false, false], { dtype: 'bool' })); // [true, true, false]
 */
export const logicalOr = connective('logicalOr', 'logic_or');
/**
 * Either a or b of bool tensors, broadcast.
 * @example
 * const a = tensor([true, true, false], { dtype: 'bool' });
 * logicalXor(a, tensor([true, false, false], { dtype: 'bool' })); // [false, true, false]
 */
export const logicalXor = connective('logicalXor', 'logic_xor');
/**
 * The opposite of a bool tensor.
 * @example logicalNot(tensor([true, false], { dtype: 'bool' })); // [false, true]
 */
export function logicalNot(x: Tensor): Tensor;
export function logicalNot(x: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('logicalNot', extra);
  return run('logicalNot', 'logic_not', [x, x]);
}
