// Initial values, drawn by the counter generator so that they are the same on every device.
// Score SDE's default_init: variance scaling, fan_avg, uniform (Song et al. 2021, layers.py); scale 0 stands for 1e-10.

import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { mul, sub } from '../kernels/elementwise.ts';
import { randn, uniform } from '../kernels/random.ts';
import { full } from '../tensor/create.ts';
import { keep, scope } from '../tensor/scope.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Draws the initial values of one model: its seed, and a stream of its own for each tensor in order of creation. */
export class Initializer {
  readonly seed: number;
  readonly device: Device | undefined;
  private stream = 0;

  /** @param options seed, default 0; device, default the one opened first */
  constructor(options: { seed?: number; device?: Device } = {}) {
    this.seed = options.seed ?? 0;
    this.device = options.device;
  }

  /** U(-bound, bound). */
  uniform(shape: Shape, bound: number): Tensor {
    const draw = { device: this.device, seed: this.seed, stream: streams.initialisation + this.stream++ };
    return parameter(() => mul(sub(uniform(shape, draw), 0.5), 2 * bound));
  }

  /** N(0, deviation^2). */
  normal(shape: Shape, deviation: number): Tensor {
    const draw = { device: this.device, seed: this.seed, stream: streams.initialisation + this.stream++ };
    return parameter(() => mul(randn(shape, draw), deviation));
  }

  /** Every element `value`. */
  constant(shape: Shape, value: number): Tensor {
    return parameter(() => full(shape, value, { device: this.device }));
  }

  /**
   * Variance scaling: variance scale / ((fanIn + fanOut) / 2), uniform.
   * @param shape [out, ..., in]: the fans are out and in times the product of the middle (kernel) axes
   */
  varianceScaling(shape: Shape, scale = 1): Tensor {
    const receptive = sizeOf(shape.slice(1, -1));
    const fanAverage = (receptive * (shape[0] + shape[shape.length - 1])) / 2;
    return this.uniform(shape, Math.sqrt((3 * (scale === 0 ? 1e-10 : scale)) / fanAverage));
  }
}

function parameter(make: () => Tensor): Tensor {
  return keep(scope(() => noGrad(make))).requireGrad();
}
