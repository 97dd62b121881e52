// Elementwise ops and their functions from rules: a table of rules makes a family, one line for each op.
import { refuseExtra } from '../../arguments.ts';
import type { KernelModule } from '../../device/module.ts';
import { type Shape, sameShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { StorageModules } from '../launch/storage.ts';
import { broadcastTo } from '../movement.ts';
import { apply, checkActivations, declareOp, type Op } from '../op.ts';
import { type Operand, tensorOrNone } from './operands.ts';
import { sumTo } from './reduction.ts';

/** The kernels of a family. */
interface Kernels {
  readonly cpu: KernelModule;
  readonly cuda: StorageModules;
}

/** An op, and which tensors its forward pass saves for the rule. */
type Saving<O, Saves> = O & { readonly saves: Saves };

// ---------------------------------------------------------------- one operand

export interface UnaryRule {
  saves: 'x' | 'y' | 'none';
  /** Computes dx from dy and what was saved: the input, the output, or nothing. */
  dx: (dy: Tensor, saved: Tensor) => Tensor;
  /** The same derivative times the tangent t, written in ops. */
  tangent: (t: Tensor, x: Tensor, y: Tensor) => Tensor;
}

export type UnaryOp = Saving<Op, UnaryRule['saves']>;

/* @__NO_SIDE_EFFECTS__ */
export function unaryOp({ cpu, cuda }: Kernels, name: string, { saves, dx, tangent }: UnaryRule): UnaryOp {
  const op = declareOp({
    name,
    cpu,
    cuda,
    backward: ({ grad, saved }) => [dx(grad, saved[0])],
    tangent: ({ tangents: [t], parents: [x], output }) => tangent(t as Tensor, x as Tensor, output),
  });
  return { ...op, saves };
}

/** The function of an op. @param forward computes the result without a gradient */
export function unaryFunction(op: UnaryOp, forward: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return (x, ...extra: unknown[]) => {
    refuseExtra(op.name, extra);
    checkActivations(op.name, [x]);
    const y = forward(x);
    return apply(op, y, { parents: [x], saved: op.saves === 'none' ? [] : [op.saves === 'x' ? x : y] });
  };
}

// ---------------------------------------------------------------- two operands

/** Gradients of both operands, in the shape of the output; called only for operands that need one. */
export interface BinaryRule {
  saves: 'operands' | 'none';
  da: (dy: Tensor, a: Operand, b: Operand) => Tensor;
  db: (dy: Tensor, a: Operand, b: Operand) => Tensor;
  /** What the tangent of one operand adds to that of the output, written in ops, in a shape that broadcasts to it. */
  tangentA: (t: Tensor, a: Operand, b: Operand, y: Tensor) => Tensor;
  tangentB: (t: Tensor, a: Operand, b: Operand, y: Tensor) => Tensor;
}

export interface BinaryAttributes {
  /** The operands that are numbers; those that are tensors are in `saved`, in order. */
  numbers: (number | undefined)[];
  shapes: (Shape | undefined)[];
}

export type BinaryOp = Saving<Op<BinaryAttributes>, BinaryRule['saves']>;

/** @param plus the op that adds the two parts of a tangent */
/* @__NO_SIDE_EFFECTS__ */
export function binaryOp(
  { cpu, cuda }: Kernels,
  plus: (a: Tensor, b: Tensor) => Tensor,
  name: string,
  rule: BinaryRule,
): BinaryOp {
  const op = declareOp<BinaryAttributes>({
    name,
    cpu,
    cuda,
    backward({ grad, saved, attributes: { numbers, shapes }, needs }) {
      const rest = [...saved];
      const [a, b] = numbers.map((number) => number ?? (rest.shift() as Tensor));
      return [rule.da, rule.db].map((derivative, i) =>
        needs[i] ? sumTo(derivative(grad, a, b), shapes[i] as Shape) : null,
      );
    },
    tangent({ parents, tangents: [ta, tb], output, attributes: { numbers } }) {
      const [a, b] = numbers.map((number, i) => number ?? (parents[i] as Tensor));
      const fromA = ta && rule.tangentA(ta, a, b, output);
      const fromB = tb && rule.tangentB(tb, a, b, output);
      return stretch(fromA && fromB ? plus(fromA, fromB) : ((fromA ?? fromB) as Tensor), output.shape);
    },
  });
  return { ...op, saves: rule.saves };
}

/** The function of an op. @param forward checks the operands and computes the result without a gradient */
/* @__NO_SIDE_EFFECTS__ */
export function binaryFunction(
  op: BinaryOp,
  forward: (a: Operand, b: Operand) => Tensor,
): (a: Operand, b: Operand) => Tensor {
  return (a, b, ...extra: unknown[]) => {
    refuseExtra(op.name, extra);
    const y = forward(a, b);
    const parents = [a, b].map(tensorOrNone);
    return apply(op, y, {
      parents,
      saved: op.saves === 'operands' ? parents.filter((t) => t !== undefined) : [],
      attributes: {
        numbers: [a, b].map((operand) => (typeof operand === 'number' ? operand : undefined)),
        shapes: parents.map((t) => t?.shape),
      },
    });
  };
}

/** x in a shape that it broadcasts to. */
export function stretch(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : broadcastTo(x, shape);
}
