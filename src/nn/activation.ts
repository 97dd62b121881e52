// The nonlinearities of the official networks (Score SDE, layers.py get_act), alone and after a group norm.
import { checkArgument, oneOf, refuseExtra } from '../arguments.ts';
import { cast } from '../kernels/cast.ts';
import { add, clamp, exp, maximum, mul, relu, silu, sub } from '../kernels/elementwise.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Dropout, GroupNorm } from './layers.ts';

const functions = {
  swish: silu,
  relu,
  /** x for x >= 0, otherwise exp(x) - 1. */
  elu: (x: Tensor) => scope(() => add(relu(x), sub(exp(clamp(x, { max: 0 })), 1))),
  /** x for x >= 0, otherwise 0.2 x. */
  lrelu: (x: Tensor) => scope(() => maximum(x, mul(x, 0.2))),
};

export type Nonlinearity = keyof typeof functions;
export const nonlinearities = Object.keys(functions) as Nonlinearity[];

const nonlinearityKind = oneOf(nonlinearities);

/**
 * Applies a nonlinearity by name, element by element: 'swish' (SiLU), 'relu', 'elu' or 'lrelu' with slope 0.2.
 * @param x f32, of any shape
 * @throws ArgumentError for another name
 * @example
 * activate(tensor([-1, 2]), 'lrelu'); // [-0.2, 2]
 * activate(tensor([-1, 2]), 'relu'); // [0, 2]
 */
export function activate(x: Tensor, nonlinearity: Nonlinearity): Tensor;
export function activate(x: Tensor, nonlinearity: Nonlinearity, ...extra: unknown[]): Tensor {
  refuseExtra('activate', extra);
  checkArgument('activate', 'nonlinearity', nonlinearity, nonlinearityKind);
  return functions[nonlinearity](x);
}

/** The nonlinearity of norm(x), then dropout. With swish, all of it is fused into the norm. */
export function normActivate(
  norm: GroupNorm,
  x: Tensor | Tensor[],
  nonlinearity: Nonlinearity,
  dropout?: Dropout,
): Tensor {
  if (nonlinearity === 'swish') return norm.forward(x, { activation: 'silu', dropout: dropout?.draw() });
  return scope(() => {
    const h = activate(norm.forward(x), nonlinearity);
    return dropout ? dropout.forward(h) : h;
  });
}

/** Casts f32 to the activation dtype of its device: bf16 if the device was opened with that precision. */
export function asActivation(x: Tensor): Tensor {
  return x.device.precision === 'bf16' ? cast(x, 'bf16') : x;
}
