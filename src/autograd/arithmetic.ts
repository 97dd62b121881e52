// The arithmetic on gradients that a backward pass needs. Autograd imports no kernels: kernels/op.ts, which every op
// imports, provides the implementation.
import type { Device } from '../device/device.ts';
import { NotDifferentiableError } from '../errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Columns, DeferredGradient, PendingProduct } from './gradient_parts.ts';

/** Collects gradients of leaves through one backward pass and computes many of them in one launch. */
export interface DeferredGradients {
  /** target += gradient, at the latest when `flush` is called. Takes over ownership of `gradient`. */
  add(target: Tensor, gradient: DeferredGradient): void;
  flush(): void;
  /** Frees what has not been added. */
  dispose(): void;
}

export interface GradientArithmetic {
  /** A view of x through which gradients and tangents pass. */
  identity(x: Tensor): Tensor;
  convert(x: Tensor, dtype: 'f32' | 'bf16'): Tensor;
  /** target += value, in place; both of one shape and dtype. */
  accumulate(target: Tensor, value: Tensor): void;
  /** target += factor * value, in place. */
  accumulateScaled(target: Tensor, value: Tensor, factor: number): void;
  /** factor * x as a new tensor. */
  scale(x: Tensor, factor: number): Tensor;
  /** A copy of some columns of x. */
  copyColumns(x: Tensor, columns: Columns): Tensor;
  /** The sum of one or more products, as a new tensor. */
  sumProducts(products: readonly PendingProduct[]): Tensor;
  /** @throws NonFiniteError naming `op` where `t` holds a NaN or an infinity */
  assertFinite(op: string, t: Tensor, what: string): void;
  /** Undefined on devices where rules may not return deferred gradients. */
  deferredGradients(device: Device): DeferredGradients | undefined;
}

let provided: GradientArithmetic | undefined;

export function provideArithmetic(implementation: GradientArithmetic): void {
  provided = implementation;
}

/** @throws NotDifferentiableError in a program that has loaded no op */
export function arithmetic(): GradientArithmetic {
  if (!provided) throw new NotDifferentiableError('[backward] no op of the engine is loaded');
  return provided;
}
