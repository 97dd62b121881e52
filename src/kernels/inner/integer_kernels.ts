// The kernels of i32 tensors, for elementwise functions that also take whole numbers. They have no gradient.
import { cudaModule, kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { broadcastShapes } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';
import { checkOperands } from '../op.ts';
import { addressOf, checkWholeNumbers, loopTable, type Operand, scalarOf, shapeOf, tensorsOf } from './operands.ts';
import { all } from './signatures.ts';

const ARITHMETIC = [
  'integer_add',
  'integer_sub',
  'integer_mul',
  'integer_floor_div',
  'integer_mod',
  'integer_maximum',
  'integer_minimum',
  'integer_and',
  'integer_or',
  'integer_xor',
  'integer_left_shift',
  'integer_right_shift',
] as const;

const COMPARISONS = [
  'integer_equal',
  'integer_not_equal',
  'integer_less',
  'integer_less_equal',
  'integer_greater',
  'integer_greater_equal',
] as const;

export const integerKernels = kernelModule('kernels/integer.c', {
  ...all([...ARITHMETIC, ...COMPARISONS], 'ptr ptr ptr ptr i32 i32'),
  integer_where: 'ptr ptr ptr ptr ptr i32 i32 i32',
});

export const integerCuda = cudaModule('kernels/integer.cu', {
  ...all([...ARITHMETIC, ...COMPARISONS], 'ptr ptr ptr ptr i32 i32 i32'),
  integer_where: 'ptr ptr ptr ptr ptr i32 i32 i32 i32',
});

export type IntegerBinary = (typeof ARITHMETIC)[number] | (typeof COMPARISONS)[number];

/** The kernel for i32 that does what a kernel such as elementwise_add does for f32; undefined if there is none. */
export function integerTwin(name: string): IntegerBinary | undefined {
  const twin = name.replace(/^[a-z]+_/, 'integer_') as IntegerBinary;
  return twin in integerKernels.kernels ? twin : undefined;
}

/** A binary kernel on i32 operands: i32 for arithmetic, bool for comparisons. */
export function integerBinary(op: string, name: IntegerBinary, a: Operand, b: Operand): Tensor {
  const device = checkOperands(op, tensorsOf(op, [a, b]), 'i32');
  checkWholeNumbers(op, [a, b]);
  const shape = broadcastShapes(op, shapeOf(a), shapeOf(b));
  const compares = (COMPARISONS as readonly string[]).includes(name);
  const y = allocate(shape, { device, dtype: compares ? 'bool' : 'i32' });
  if (y.size === 0) return y;
  const operands = [addressOf(a), addressOf(b), y.address, loopTable(y, shape, [a, b])];
  const scalar = scalarOf(a, b);
  if (device.kind === 'cuda') device.load(integerCuda)[name](perElement(y.size), ...operands, y.size, ...scalar);
  else device.load(integerKernels)[name](...operands, ...scalar);
  return y;
}
