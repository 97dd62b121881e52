// Rectified Flow (Liu, Gong, Liu, ICLR 2023). The convention of the whole package, stated once:
//
//   t = 0 is pi_0 (noise), t = 1 is pi_1 (data); x_t = t x_1 + (1 - t) x_0; the network predicts v = x_1 - x_0,
//   and a sample solves dx/dt = v(x, t) from x_0.
//
// A velocity is a function (x [N, ...], t [N]) -> [N, ...]. This file turns networks into velocities.
import { checkArgument, kind, kinds } from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { add, mul } from '../kernels/elementwise.ts';
import { concat, slice } from '../kernels/movement.ts';
import { checkOperands } from '../kernels/op.ts';
import { zeros } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { atOnce, type Pieces, withScope } from './pieces.ts';
import { withReplay } from './replay.ts';

/** v(x, t): x [N, ...], t [N], to [N, ...]. */
export interface Velocity {
  (x: Tensor, t: Tensor): Tensor;
  /** See `replayable`. */
  readonly replayable?: boolean;
}

/** A velocity whose evaluation can be interrupted between its parts. */
export interface VelocityInPieces extends Velocity, Disposable {
  /** The same result as the function's. */
  inPieces(x: Tensor, t: Tensor): Pieces<Tensor>;
}

/** The velocity that `inPieces` evaluates: all pieces at once if it is called as a function. */
export function fromPieces(inPieces: VelocityInPieces['inPieces']): Velocity & Pick<VelocityInPieces, 'inPieces'> {
  const velocity = (x: Tensor, t: Tensor) => atOnce(inPieces(x, t));
  return Object.assign(velocity, { inPieces });
}

/** v(x, t) in the pieces of the velocity; a plain function is one piece. */
function* evaluateInPieces(velocity: Velocity, x: Tensor, t: Tensor): Pieces<Tensor> {
  const { inPieces } = velocity as Partial<VelocityInPieces>;
  const v = inPieces ? yield* inPieces(x, t) : velocity(x, t);
  yield;
  return v;
}

/** v(x, t) at one time for all samples. @throws ShapeError for a velocity of another shape than x */
export function* velocityAt(velocity: Velocity, x: Tensor, t: number): Pieces<Tensor> {
  const times = add(zeros([x.shape[0]], { device: x.device }), t);
  return checkVelocity(yield* evaluateInPieces(velocity, x, times), x);
}

/** The same velocity; `observe` is called after each evaluation. */
export function withObserver(velocity: Velocity, observe: (x: Tensor, t: Tensor, v: Tensor) => void): Velocity {
  return fromPieces(function* (x, t) {
    const v = yield* evaluateInPieces(velocity, x, t);
    observe(x, t, v);
    return v;
  });
}

/**
 * @returns `v`, the result of a velocity for x
 * @throws ArgumentError, DtypeError, ShapeError for anything but a tensor of x's shape
 */
export function checkVelocity(v: unknown, x: Tensor): Tensor {
  requireTensor('velocity', v, 'a function that returns a tensor');
  checkOperands('velocity', [x, v]);
  if (!sameShape(v.shape, x.shape))
    throw new ShapeError('velocity', `a result ${formatShape(x.shape)} as x`, formatShape(v.shape));
  return v;
}

/**
 * Checks the arguments that every solver takes.
 * @throws ArgumentError, DtypeError, ShapeError for anything but points [N, ...]
 */
export function checkPath(op: string, velocity: Velocity, start: Tensor): void {
  checkArgument(op, 'velocity', velocity, kinds.callback);
  checkOperands(op, [start]);
  if (start.rank === 0) throw new ShapeError(op, 'points [N, ...]', formatShape(start.shape));
}

/** The official network takes the label 999 t. */
export const TIME_SCALE = 999;

const networkKind = kind(
  'an object with a method forward(x, labels)',
  (value) => typeof (value as { forward?: unknown } | null)?.forward === 'function',
);

/**
 * The velocity of a network that takes (x, labels) with labels = 999 t; the only place where time is scaled.
 * @example
 * const network = new UNet({
 *   ...ddpmppCifar10,
 *   imageSize: 8, channels: 1, baseChannels: 16, channelMultipliers: [1, 2], residualBlocks: 1, attentionResolutions: [4],
 * }).eval();
 * const velocity = networkVelocity(network);
 * velocity(randn([2, 8, 8, 1], { seed: 1 }), tensor([0.1, 0.9])).shape; // [2, 8, 8, 1]
 */
export function networkVelocity(network: { forward(x: Tensor, labels: Tensor): Tensor }): Velocity {
  checkArgument('networkVelocity', 'network', network, networkKind);
  return (x, t) => network.forward(x, mul(t, TIME_SCALE));
}

/**
 * Marks a velocity that launches the same work for all points of one shape and reads no values on the host, such as a
 * network in evaluation mode. Samplers then call it twice for a shape, and replay the recorded work from then on.
 * @example
 * const network = new MLP([2, 32, 2]);
 * const velocity = replayable((x) => network.forward(x));
 * const { samples } = await sample(velocity, { shape: [2], count: 100, seed: 1, solver: 'euler', steps: 50 });
 * samples.length; // 200
 */
export function replayable(velocity: Velocity): Velocity {
  checkArgument('replayable', 'velocity', velocity, kinds.callback);
  return Object.assign((x: Tensor, t: Tensor) => velocity(x, t), { replayable: true });
}

/**
 * The same velocity, evaluated on at most `size` samples at a time inside noGrad(), and replayed if it is replayable.
 * The values are the same; memory and time differ, and results have no gradient. It keeps the memory of its recording
 * until it is disposed.
 * @example
 * const network = new MLP([2, 32, 2]);
 * const velocity = withMicroBatches((x) => network.forward(x), 16);
 * velocity(randn([100, 2], { seed: 1 }), zeros([100])).shape; // [100, 2]
 * velocity[Symbol.dispose]();
 */
export function withMicroBatches(velocity: Velocity, size: number): VelocityInPieces {
  checkArgument('withMicroBatches', 'velocity', velocity, kinds.callback);
  checkArgument('withMicroBatches', 'size', size, kinds.count);
  const evaluate = withReplay(velocity, velocity.replayable === true);
  const batched = fromPieces((x, t) => {
    checkOperands('withMicroBatches', [x, t]);
    return inParts(x.shape[0], size, (from, to) => noGrad(() => evaluate(rows(x, from, to), rows(t, from, to))));
  });
  return Object.assign(batched, { [Symbol.dispose]: () => evaluate[Symbol.dispose]() });
}

/** `evaluate(from, to)` over n samples, at most `size` at a time, the results joined along the first axis. */
export function inParts(n: number, size: number, evaluate: (from: number, to: number) => Tensor): Pieces<Tensor> {
  return withScope(function* () {
    if (n <= size) return evaluate(0, n);
    const parts: Tensor[] = [];
    for (let from = 0; from < n; from += size) {
      const to = Math.min(n, from + size);
      parts.push(scope(() => evaluate(from, to)));
      yield;
    }
    return concat(parts, 0);
  });
}

/** Samples [from, to) of x; x itself where that is all. */
export function rows(x: Tensor, from: number, to: number): Tensor {
  const [n, ...rest] = x.shape;
  if (from === 0 && to === n) return x;
  return slice(x, [from, ...rest.map(() => 0)], [to, ...rest]);
}
