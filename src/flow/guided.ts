// Guidance without a classifier (Ho, Salimans 2022) for a velocity with a condition:
//   v = v(x, t, unconditional) + scale (v(x, t, condition) - v(x, t, unconditional))
import { checkArgument, checkOptions, kind, kinds, type OptionKinds } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { add, greaterEqual, lessEqual, mul, sub, where } from '../kernels/elementwise.ts';
import { broadcastTo, concat, reshape, split } from '../kernels/movement.ts';
import { checkOperands } from '../kernels/op.ts';
import { full } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { type Tensor, tensorKind } from '../tensor/tensor.ts';
import type { Velocity } from './velocity.ts';

/** v(x, t, condition): x [N, ...], t [N], condition [N, ...], to the shape of x. */
export type ConditionedVelocity = (x: Tensor, t: Tensor, condition: Tensor) => Tensor;

export interface GuidanceOptions {
  /** [N, ...], one for each sample. */
  condition: Tensor;
  /** [N, ...], or [1, ...] for all samples: the empty text, or what the samples shall not show. */
  unconditional?: Tensor;
  /** At most 1: no guidance, and one evaluation. Default 1. */
  scale?: number;
  /** The times at which guidance applies, first and last; others use the condition alone. Default [0, 1]. */
  interval?: readonly [number, number];
}

const guidanceOptions: OptionKinds<GuidanceOptions> = {
  condition: tensorKind,
  unconditional: tensorKind,
  scale: kinds.finite,
  interval: kind('two times [first, last]', (v) => Array.isArray(v) && v.length === 2 && v.every(kinds.finite.accepts)),
};

/**
 * The velocity of samples with these conditions. With a scale above 1 each evaluation is one of 2 N samples, unconditional
 * ones first.
 * @throws ArgumentError for a scale above 1 without `unconditional`; ShapeError, when evaluated, for another number of samples
 * @example
 * const network = (x, t, text) => add(mul(x, text), reshape(t, [-1, 1]));
 * const velocity = guided(network, { condition: tensor([[3]]), unconditional: tensor([[1]]), scale: 2 });
 * velocity(tensor([[1]]), tensor([0])); // [[5]]
 */
export function guided(velocity: ConditionedVelocity, options: GuidanceOptions): Velocity {
  checkArgument('guided', 'velocity', velocity, kinds.callback);
  const checked = checkOptions('guided', options, guidanceOptions, ['condition']);
  const { condition, unconditional, scale = 1, interval = [0, 1] } = checked;
  if (scale <= 1)
    return (x, t) => {
      checkCount(x, condition);
      return velocity(x, t, condition);
    };
  checkArgument('guided', 'unconditional, which a scale above 1 needs,', unconditional, tensorKind);
  const without = unconditional as Tensor;
  return (x, t) => {
    checkOperands('guided', [x, t]);
    checkCount(x, condition);
    return scope(() => {
      const shape = [x.shape[0], ...without.shape.slice(1)];
      const conditions = concat([broadcastTo(without, shape), condition], 0);
      const [negative, positive] = split(velocity(concat([x, x], 0), concat([t, t], 0), conditions), 2, 0);
      const whole = interval[0] <= 0 && interval[1] >= 1;
      const factor = whole ? scale : factors(t, scale, interval, x.rank);
      return add(negative, mul(sub(positive, negative), factor));
    });
  };
}

/** The scale of each sample, [N, 1, ...]: 1 outside the interval. */
function factors(t: Tensor, scale: number, [first, last]: readonly [number, number], rank: number): Tensor {
  const one = full(t.shape, 1, { device: t.device });
  const inside = where(lessEqual(t, last), where(greaterEqual(t, first), mul(one, scale), one), one);
  return reshape(inside, [t.size, ...new Array<number>(rank - 1).fill(1)]);
}

function checkCount(x: Tensor, condition: Tensor): void {
  if (x.shape[0] !== condition.shape[0])
    throw new ShapeError('guided', `${condition.shape[0]} samples, as there are conditions`, formatShape(x.shape));
}
