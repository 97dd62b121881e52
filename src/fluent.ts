// The only place that hangs op methods on Tensor: `x.mul(2).sum()`. Optional: importing it is the opt-in.
import * as elementwise from './kernels/elementwise.ts';
import { matmul } from './kernels/matmul.ts';
import * as movement from './kernels/movement.ts';
import * as reduce from './kernels/reduce.ts';
import { softmax } from './kernels/softmax.ts';
import { Tensor } from './tensor/tensor.ts';

const methods = {
  add: elementwise.add,
  sub: elementwise.sub,
  mul: elementwise.mul,
  div: elementwise.div,
  pow: elementwise.pow,
  maximum: elementwise.maximum,
  minimum: elementwise.minimum,
  neg: elementwise.neg,
  abs: elementwise.abs,
  exp: elementwise.exp,
  log: elementwise.log,
  sqrt: elementwise.sqrt,
  sin: elementwise.sin,
  cos: elementwise.cos,
  tanh: elementwise.tanh,
  sigmoid: elementwise.sigmoid,
  silu: elementwise.silu,
  relu: elementwise.relu,
  square: elementwise.square,
  clamp: elementwise.clamp,
  sum: reduce.sum,
  mean: reduce.mean,
  max: reduce.max,
  argmax: reduce.argmax,
  softmax,
  matmul,
  reshape: movement.reshape,
  permute: movement.permute,
  transpose: movement.transpose,
  slice: movement.slice,
};

type Methods = typeof methods;
type Method<F> = F extends (first: never, ...rest: infer Rest) => infer Result ? (...rest: Rest) => Result : never;
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
