// Random numbers of a batch as one value, like a key of JAX: element e of sample i is a function of (seed, stream,
// first + i, e) alone, whatever the batch, the device or the number of threads. A batch drawn in parts gets the numbers
// of the whole.
import { checkArgument, checkOptions, instanceOf, kinds, type OptionKinds, refuseInert } from '../arguments.ts';
import { type Device, deviceKind } from '../device/device.ts';
import { mul } from '../kernels/elementwise.ts';
import { randn, uniform } from '../kernels/random.ts';
import { Counter } from '../tensor/counter.ts';
import { scope } from '../tensor/scope.ts';
import type { Shape } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { lawKinds, type TimeLaw, timesByLaw } from './times.ts';

export interface DrawSource {
  /** A whole number from 0 to 2^53. */
  seed: number;
  /** Number of the first sample of the batch in the run; default 0. */
  first?: number;
  /**
   * Device memory that `first` counts from, so that a recorded step draws other numbers at each replay; default 0.
   * @internal
   */
  origin?: Counter;
  /** Default: the default device. */
  device?: Device;
}

const sourceKinds: OptionKinds<DrawSource> = {
  seed: kinds.whole,
  first: kinds.whole,
  origin: instanceOf(Counter, 'a Counter'),
  device: deviceKind,
};

export interface NoiseOptions {
  /** Standard deviation; default 1. */
  scale?: number;
  /** Default: the stream of training's noise. */
  stream?: number;
}

const noiseKinds: OptionKinds<NoiseOptions> = { scale: kinds.notNegative, stream: kinds.whole };

/** The law of times, default 'uniform', with its parameters; and where they are drawn from. */
export interface TimeOptions extends Partial<TimeLaw> {
  /** Default: the stream of training's times. */
  stream?: number;
}

const timeKinds: OptionKinds<TimeOptions> = { ...lawKinds, stream: kinds.whole };

/**
 * Where the random numbers of a batch come from. It holds no tensors and does not change: the same call gives the same
 * numbers.
 * @example
 * const draw = new Draw({ seed: 1, first: 32 });
 * draw.noise([4, 2]).shape; // [4, 2]
 * // The third sample of the batch is the first one of the draw that skips two.
 * equal(gather(draw.times(3), tensor([2], { dtype: 'i32' })), draw.skip(2).times(1)); // [true]
 */
export class Draw {
  readonly seed: number;
  readonly first: number;
  /** @internal */
  readonly origin: Counter | undefined;
  readonly device: Device | undefined;

  /** @throws ArgumentError for a seed or a number of a sample that is not a whole number >= 0 */
  constructor(source: DrawSource) {
    const { seed, first = 0, origin, device } = checkOptions('Draw', source, sourceKinds, ['seed']);
    this.seed = seed;
    this.first = first;
    this.origin = origin;
    this.device = device;
    Object.freeze(this);
  }

  /** The same draw on another device, with the same bits. */
  on(device: Device): Draw {
    checkArgument('Draw.on', 'device', device, deviceKind);
    return new Draw({ ...this.source(), device });
  }

  /** The draw of the samples that follow after the first `count`. */
  skip(count: number): Draw {
    checkArgument('Draw.skip', 'count', count, kinds.whole);
    return new Draw({ ...this.source(), first: this.first + count });
  }

  /**
   * Standard normal numbers.
   * @param shape [N, ...], N samples
   * @param stream distinct for each use of one seed
   */
  normal(shape: Shape, stream: number): Tensor {
    checkArgument('Draw.normal', 'stream', stream, kinds.whole);
    return randn(shape, { ...this.source(), stream });
  }

  /**
   * Uniform numbers in [0, 1), multiples of 2^-24.
   * @param shape [N, ...], N samples
   * @param stream distinct for each use of one seed
   */
  uniform(shape: Shape, stream: number): Tensor {
    checkArgument('Draw.uniform', 'stream', stream, kinds.whole);
    return uniform(shape, { ...this.source(), stream });
  }

  /** Starts x_0 of paths, normal with mean 0. @param shape [N, ...], N samples */
  noise(shape: Shape, options: NoiseOptions = {}): Tensor {
    const { scale = 1, stream = streams.noise } = checkOptions('Draw.noise', options, noiseKinds);
    if (scale === 1) return this.normal(shape, stream);
    return scope(() => mul(this.normal(shape, stream), scale));
  }

  /**
   * [n] times in [eps, 1], eps = 1e-3: uniform, or by another law (times.ts has their formulas).
   * @throws ValueError for parameters out of range; ArgumentError for an unknown law, or a parameter that it does not
   * have
   */
  times(n: number, options: TimeOptions = {}): Tensor {
    checkArgument('Draw.times', 'n', n, kinds.whole);
    const { stream = streams.times, law = 'uniform', ...parameters } = checkOptions('Draw.times', options, timeKinds);
    const numbers = { uniform: () => this.uniform([n], stream), normal: () => this.normal([n], stream) };
    return scope(() => timesByLaw({ law, ...parameters }, numbers));
  }

  private source(): DrawSource {
    const { seed, first, origin, device } = this;
    return { seed, first, origin, device };
  }
}

export const drawKind = instanceOf(Draw, 'a Draw');

/**
 * The options that select random numbers: a seed and the number of the batch's first sample, or a Draw.
 */
export type DrawnBy =
  | { seed: number; first?: number; draw?: undefined }
  | { draw: Draw; seed?: undefined; first?: undefined };

export const drawnByKinds: OptionKinds<DrawnBy> = { seed: kinds.whole, first: kinds.whole, draw: drawKind };

/** The draw that the options name, on a device. @throws ArgumentError for both, or neither */
export function drawOf(op: string, options: DrawnBy, device: Device): Draw {
  const { seed, first, draw } = options;
  if (draw) {
    refuseInert(op, options, ['seed', 'first'], 'with a draw, which has its own');
    return draw.on(device);
  }
  checkArgument(op, 'seed', seed, kinds.whole);
  return new Draw({ seed, first, device });
}
