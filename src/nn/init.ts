// Initial values, drawn by the counter-based generator so that they are the same on every device. The default is Score
// SDE's default_init: variance scaling, fan_avg, uniform (Song et al. 2021, layers.py); scale 0 stands for 1e-10.

import { checkArgument, checkOptions, instanceOf, kinds, type OptionKinds } from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { deviceKind } from '../device/device.ts';
import { mul, sub } from '../kernels/elementwise.ts';
import { randn, uniform } from '../kernels/random.ts';
import { full } from '../tensor/create.ts';
import { keep, scope } from '../tensor/scope.ts';
import { checkShape, type Shape, sizeOf } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';

interface InitializerOptions {
  /** Default 0. */
  seed?: number;
  /** Default: the first device opened. */
  device?: Device;
}

const initializerOptions: OptionKinds<InitializerOptions> = { seed: kinds.whole, device: deviceKind };

/**
 * Draws the initial values of one model from its seed, with one random stream per tensor in order of creation.
 * @example
 * const init = new Initializer({ seed: 1 });
 * const [first, second] = [new Linear(8, 8, init), new Linear(8, 8, init)];
 * all(equal(first.weight, second.weight)); // false
 * init.constant([2], 0.5); // [0.5, 0.5]
 */
export class Initializer {
  readonly seed: number;
  readonly device: Device | undefined;
  private stream = 0;

  constructor(options: InitializerOptions = {}) {
    const { seed = 0, device } = checkOptions('Initializer', options, initializerOptions);
    this.seed = seed;
    this.device = device;
  }

  /** A parameter drawn from U(-bound, bound). */
  uniform(shape: Shape, bound: number): Tensor {
    checkArgument('Initializer.uniform', 'bound', bound, kinds.number);
    const draw = { device: this.device, seed: this.seed, stream: streams.initialisation + this.stream++ };
    return parameter(() => mul(sub(uniform(shape, draw), 0.5), 2 * bound));
  }

  /** A parameter drawn from N(0, deviation^2). */
  normal(shape: Shape, deviation: number): Tensor {
    checkArgument('Initializer.normal', 'deviation', deviation, kinds.number);
    const draw = { device: this.device, seed: this.seed, stream: streams.initialisation + this.stream++ };
    return parameter(() => mul(randn(shape, draw), deviation));
  }

  /** A parameter filled with `value`. */
  constant(shape: Shape, value: number): Tensor {
    return parameter(() => full(shape, value, { device: this.device }));
  }

  /**
   * A uniform parameter by variance scaling, with variance scale / ((fanIn + fanOut) / 2).
   * @param shape [out, ..., in]; each fan is out or in times the product of the middle (kernel) axes
   */
  varianceScaling(shape: Shape, scale = 1): Tensor {
    checkShape('Initializer.varianceScaling', shape);
    checkArgument('Initializer.varianceScaling', 'scale', scale, kinds.notNegative);
    const receptive = sizeOf(shape.slice(1, -1));
    const fanAverage = (receptive * (shape[0] + shape[shape.length - 1])) / 2;
    return this.uniform(shape, Math.sqrt((3 * (scale === 0 ? 1e-10 : scale)) / fanAverage));
  }
}

/** @throws ArgumentError for anything but an Initializer */
export function checkInitializer(layer: string, init: Initializer): void {
  checkArgument(layer, 'init', init, initializerKind);
}

const initializerKind = instanceOf(Initializer, 'an Initializer');

function parameter(make: () => Tensor): Tensor {
  return keep(scope(() => noGrad(make))).requireGrad();
}
