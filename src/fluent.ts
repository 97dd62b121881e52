/// <reference types="node" preserve="true" />
// Adds ops to Tensor as methods: `x.mul(2).sum()`. Nothing else does; importing this file is the opt-in.
import * as elementwise from './kernels/elementwise.ts';
import { matmul } from './kernels/matmul.ts';
import * as movement from './kernels/movement.ts';
import * as reduce from './kernels/reduce.ts';
import { softmax } from './kernels/softmax.ts';
import { Tensor } from './tensor/tensor.ts';

const methods = {
  /** this + b, broadcast. */
  add: elementwise.add,
  /** this - b, broadcast. */
  sub: elementwise.sub,
  /** this times b, element by element, broadcast. */
  mul: elementwise.mul,
  /** this / b, broadcast. */
  div: elementwise.div,
  /** this^b, broadcast. */
  pow: elementwise.pow,
  /** The larger of this and b, broadcast. */
  maximum: elementwise.maximum,
  /** The smaller of this and b, broadcast. */
  minimum: elementwise.minimum,
  /** -this. */
  neg: elementwise.neg,
  /** |this|. */
  abs: elementwise.abs,
  /** e^this. */
  exp: elementwise.exp,
  /** The natural logarithm. */
  log: elementwise.log,
  /** The square root. */
  sqrt: elementwise.sqrt,
  /** The sine, in radians. */
  sin: elementwise.sin,
  /** The cosine, in radians. */
  cos: elementwise.cos,
  /** The hyperbolic tangent. */
  tanh: elementwise.tanh,
  /** 1 / (1 + e^-this). */
  sigmoid: elementwise.sigmoid,
  /** this sigmoid(this). */
  silu: elementwise.silu,
  /** max(this, 0). */
  relu: elementwise.relu,
  /** this^2. */
  square: elementwise.square,
  /** Limits to [min, max]. */
  clamp: elementwise.clamp,
  /** The sum over all axes, or those given. */
  sum: reduce.sum,
  /** The mean over all axes, or those given. */
  mean: reduce.mean,
  /** The largest element over all axes, or those given. */
  max: reduce.max,
  /** The index of the largest element along an axis, as i32. */
  argmax: reduce.argmax,
  /** Softmax along the last axis, or the one given. */
  softmax,
  /** The product of matrices. */
  matmul,
  /** The same elements in another shape. */
  reshape: movement.reshape,
  /** The axes in another order. */
  permute: movement.permute,
  /** The last two axes exchanged. */
  transpose: movement.transpose,
  /** The elements from `starts` to before `ends`, one of each per axis. */
  slice: movement.slice,
};

type Methods = typeof methods;
// Tensor must be named in a type here: methods is without annotations, and the compiler drops an import that only
// inferred types need from the declarations when the import's type is also augmented below.
type Method<F> = F extends (first: Tensor, ...rest: infer Rest) => infer Result ? (...rest: Rest) => Result : never;
type Fluent = { [Name in keyof Methods]: Method<Methods[Name]> };

declare module './tensor/tensor.ts' {
  interface Tensor extends Fluent {}
}

for (const [name, method] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: unknown[]) {
      return (method as (...values: unknown[]) => unknown)(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
