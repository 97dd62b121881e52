// Launches of the elementwise kernels without gradients, for ops and backward rules.
import { kernelModule } from '../../device/module.ts';
import { ArgumentError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import { broadcastShapes, type Shape, stridesOf } from '../../tensor/shape.ts';
import { describeOperand, Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';
import { kernelsFor, storageModules } from '../launch/storage.ts';
import { checkActivations } from '../op.ts';
import { mergeAxes } from './strided.ts';

const UNARY = [
  'elementwise_neg',
  'elementwise_abs',
  'elementwise_exp',
  'elementwise_log',
  'elementwise_sqrt',
  'elementwise_sin',
  'elementwise_cos',
  'elementwise_tanh',
  'elementwise_sigmoid',
  'elementwise_silu',
  'elementwise_relu',
  'elementwise_square',
  'elementwise_clamp',
] as const;

const BINARY = [
  'elementwise_add',
  'elementwise_sub',
  'elementwise_mul',
  'elementwise_div',
  'elementwise_pow',
  'elementwise_maximum',
  'elementwise_minimum',
  'elementwise_equal',
  'elementwise_not_equal',
  'elementwise_less',
  'elementwise_less_equal',
  'elementwise_greater',
  'elementwise_greater_equal',
  'elementwise_abs_backward',
  'elementwise_sqrt_backward',
  'elementwise_tanh_backward',
  'elementwise_sigmoid_backward',
  'elementwise_silu_backward',
  'elementwise_relu_backward',
  'elementwise_first_wins_maximum',
  'elementwise_first_wins_minimum',
] as const;

/** One signature for several kernels. */
function all<Names extends string>(names: readonly Names[], signature: string): Record<Names, string> {
  return Object.fromEntries(names.map((name) => [name, signature])) as Record<Names, string>;
}

export const elementwiseKernels = kernelModule('kernels/elementwise.c', {
  ...all(UNARY, 'ptr ptr ptr f32 f32'),
  ...all(BINARY, 'ptr ptr ptr ptr f32 i32'),
  elementwise_where: 'ptr ptr ptr ptr ptr f32 f32 i32',
  elementwise_clamp_backward: 'ptr ptr ptr ptr f32 f32',
});

export const elementwiseCuda = storageModules('kernels/elementwise.cu', {
  ...all(UNARY, 'ptr ptr i32 f32 f32'),
  ...all(BINARY, 'ptr ptr ptr ptr i32 f32 i32'),
  elementwise_where: 'ptr ptr ptr ptr ptr i32 f32 f32 i32',
  elementwise_clamp_backward: 'ptr ptr ptr i32 f32 f32',
});

export type Unary = (typeof UNARY)[number];
export type Binary = (typeof BINARY)[number];

/** A tensor, or a number that stands for a tensor of one element. */
export type Operand = Tensor | number;

/** The table of the loop: merged axes of the output, and the strides of each operand, 0 along broadcast axes. */
export function loopTable(x: Tensor, shape: Shape, operands: readonly Operand[]): number {
  const strides = operands.map((operand) => {
    if (typeof operand === 'number') return shape.map(() => 0);
    const own = stridesOf(operand.shape);
    const lead = shape.length - operand.rank;
    return shape.map((_, axis) => (axis < lead || operand.shape[axis - lead] === 1 ? 0 : own[axis - lead]));
  });
  // The output is contiguous; its strides prevent axes from being merged that must stay separate.
  const merged = mergeAxes(shape, [...strides, stridesOf(shape)]);
  return x.device.table([merged.dims.length, ...merged.dims, ...merged.strides.slice(0, -1).flat()]);
}

export function unaryKernel(name: Unary, x: Tensor, p = 0, q = 0): Tensor {
  const { device, dtype, size } = x;
  const y = allocate(x.shape, { device, dtype });
  if (size === 0) return y;
  if (device.kind === 'cuda')
    kernelsFor(elementwiseCuda, device, dtype)[name](perElement(size), x.address, y.address, size, p, q);
  else device.load(elementwiseKernels)[name](x.address, y.address, loopTable(x, x.shape, [x]), p, q);
  return y;
}

/** A binary kernel without a gradient, for ops and backward rules. */
export function binaryKernel(op: string, name: Binary, a: Operand, b: Operand, made?: Dtype): Tensor {
  const tensors = tensorsOf(op, [a, b]);
  const device = checkActivations(op, tensors);
  const [{ dtype }] = tensors;
  const shape = broadcastShapes(op, shapeOf(a), shapeOf(b));
  const y = allocate(shape, { device, dtype: made ?? dtype });
  if (y.size === 0) return y;
  const scalarSide = typeof a === 'number' ? 1 : typeof b === 'number' ? 2 : 0;
  const scalar = typeof a === 'number' ? a : typeof b === 'number' ? b : 0;
  const operands = [addressOf(a), addressOf(b), y.address, loopTable(y, shape, [a, b])];
  if (device.kind === 'cuda')
    kernelsFor(elementwiseCuda, device, dtype)[name](perElement(y.size), ...operands, y.size, scalar, scalarSide);
  else device.load(elementwiseKernels)[name](...operands, scalar, scalarSide);
  return y;
}

/** The tensors among operands. @throws ArgumentError for an operand that is neither a tensor nor a number */
export function tensorsOf(op: string, operands: readonly Operand[]): Tensor[] {
  return operands.filter((operand) => {
    if (typeof operand === 'number') return false;
    if (!Tensor.is(operand)) throw new ArgumentError(op, 'tensors or numbers', describeOperand(operand));
    return true;
  }) as Tensor[];
}

export function tensorOrNone(operand: Operand): Tensor | undefined {
  return typeof operand === 'number' ? undefined : operand;
}

function shapeOf(operand: Operand): Shape {
  return typeof operand === 'number' ? [] : operand.shape;
}

function addressOf(operand: Operand): number {
  return typeof operand === 'number' ? 0 : operand.address;
}

/** condition ? a : b without a gradient. */
export function whereKernel(condition: Tensor, a: Operand, b: Operand): Tensor {
  const shape = broadcastShapes('where', condition.shape, broadcastShapes('where', shapeOf(a), shapeOf(b)));
  const dtype = [a, b].map(tensorOrNone).find((t) => t !== undefined)?.dtype ?? 'f32';
  const y = allocate(shape, { device: condition.device, dtype });
  if (y.size === 0) return y;
  const sides = (typeof a === 'number' ? 1 : 0) + (typeof b === 'number' ? 2 : 0);
  const [scalarA, scalarB] = [a, b].map((operand) => (typeof operand === 'number' ? operand : 0));
  const table = loopTable(y, shape, [condition, a, b]);
  const operands = [condition.address, addressOf(a), addressOf(b), y.address, table];
  const { device } = condition;
  if (device.kind === 'cuda')
    kernelsFor(elementwiseCuda, device, dtype).elementwise_where(
      perElement(y.size),
      ...operands,
      y.size,
      scalarA,
      scalarB,
      sides,
    );
  else device.load(elementwiseKernels).elementwise_where(...operands, scalarA, scalarB, sides);
  return y;
}
