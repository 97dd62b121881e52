// Operands of elementwise kernels: tensors and numbers that broadcast together, and the table of the loop over them.
import { kinds } from '../../arguments.ts';
import { ArgumentError } from '../../errors.ts';
import { type Shape, stridesOf } from '../../tensor/shape.ts';
import { describeOperand, Tensor } from '../../tensor/tensor.ts';
import { mergeAxes } from './strided.ts';

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

export function shapeOf(operand: Operand): Shape {
  return typeof operand === 'number' ? [] : operand.shape;
}

export function addressOf(operand: Operand): number {
  return typeof operand === 'number' ? 0 : operand.address;
}

/** The operand that is a number, and which one it is: 1 for the first, 2 for the second, 0 for neither. */
export function scalarOf(a: Operand, b: Operand): [scalar: number, side: number] {
  if (typeof a === 'number') return [a, 1];
  return typeof b === 'number' ? [b, 2] : [0, 0];
}

/** @throws ArgumentError for a number that is not an i32, next to a tensor that is one */
export function checkWholeNumbers(op: string, operands: readonly Operand[]): void {
  for (const operand of operands)
    if (typeof operand === 'number' && !kinds.int32.accepts(operand))
      throw new ArgumentError(op, 'a whole number of 32 bits next to a tensor of i32', String(operand));
}
