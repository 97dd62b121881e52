// The training objective: E D(x_1 - x_0, v(x_t, t)), D the squared distance in the paper (equation 1), t uniform unless
// it is given. Distillation may measure the end of the path instead: D of x_1 and x_0 + v.
import { checkArgument, checkOptions, kinds, type OptionKinds, refuseExtra, refuseInert } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { add, mul, sqrt, square, sub } from '../kernels/elementwise.ts';
import { straightPath } from '../kernels/inner/flow_inputs.ts';
import { mse } from '../kernels/loss.ts';
import { reshape } from '../kernels/movement.ts';
import { checkOperands } from '../kernels/op.ts';
import { mean, sum } from '../kernels/reduce.ts';
import { sameShape } from '../tensor/shape.ts';
import { requireTensor, type Tensor, tensorKind } from '../tensor/tensor.ts';
import { type DrawnBy, drawnByKinds, drawOf } from './draw.ts';
import { checkVelocity, type Velocity } from './velocity.ts';

interface LossSettings {
  /** Starts of the paths, [N, ...] as x1; default: noise that is drawn, independent of the data. */
  x0?: Tensor;
  /** [N] in [0, 1]; default: uniform times that are drawn. */
  t?: Tensor;
  /** Standard deviation of the noise that is drawn as x0; default 1. */
  noiseScale?: number;
  /** The input of the network in place of x_t, such as x0 itself for distillation from t = 0. */
  input?: Tensor;
  /** Default: the mean squared difference of v and x1 - x0. */
  distance?: Distance;
  /**
   * The squared loss of a sample is the mean over its dimensions (default), or with false half their sum. Not with a
   * `distance`.
   */
  reduceMean?: boolean;
}

/**
 * Where x0 and t are drawn from (`seed` and `first`, the number of the batch's first sample, or a `draw`), and how the
 * loss is measured. Draws are made on the device of x1. If x0 and t are both given, nothing is drawn.
 */
export type LossOptions = LossSettings & (DrawnBy | Undrawn);

interface Undrawn {
  x0: Tensor;
  t: Tensor;
  seed?: undefined;
  first?: undefined;
  draw?: undefined;
}

const lossOptions: OptionKinds<LossOptions> = {
  ...drawnByKinds,
  x0: tensorKind,
  t: tensorKind,
  noiseScale: kinds.notNegative,
  input: tensorKind,
  distance: kinds.callback,
  reduceMean: kinds.boolean,
};

/**
 * The loss [] of a batch, a mean over samples, from the velocity v [N, ...], the ends x0 and x1 of the paths and the
 * times t [N].
 */
export type Distance = (v: Tensor, x0: Tensor, x1: Tensor, t: Tensor) => Tensor;

/**
 * Mean pseudo-Huber loss over samples, with c = 0.00054 sqrt(dimensions) (Song, Dhariwal 2024, section 3.3); a `distance` of
 * rectifiedFlowLoss.
 * @param v velocity [N, ...], as x0 and x1
 * @returns the loss []
 * @throws ShapeError for points of different shapes
 * @example
 * const [x0, x1] = [zeros([1, 2]), tensor([[3, 4]])];
 * const distance = (v, x0, x1) => pseudoHuber(v, x0, x1);
 * const loss = rectifiedFlowLoss((x) => mul(x, 0), x1, { x0, t: tensor([0.5]), distance });
 * loss; // 4.999
 */
export function pseudoHuber(v: Tensor, x0: Tensor, x1: Tensor): Tensor {
  requireTensor('pseudoHuber', x1);
  return mean(pseudoHubers(v, x0, x1, 0.00054 * Math.sqrt(x1.size / x1.shape[0])));
}

/**
 * Pseudo-Huber loss [N] of each sample, sqrt(||v - (x1 - x0)||^2 + c^2) - c: quadratic near 0, linear far from it.
 * @param v velocity [N, ...], as x0 and x1
 * @throws ShapeError for points of different shapes
 * @example
 * const [v, x0] = [zeros([2, 2]), zeros([2, 2])];
 * pseudoHubers(v, x0, tensor([[3, 4], [0, 0]]), 0.01); // [4.99, 0]
 */
export function pseudoHubers(v: Tensor, x0: Tensor, x1: Tensor, c: number): Tensor {
  checkOperands('pseudoHubers', [v, x0, x1]);
  checkEnds('pseudoHubers', [v, x0, x1]);
  checkArgument('pseudoHubers', 'c', c, kinds.notNegative);
  const error = reshape(sub(v, sub(x1, x0)), [x1.shape[0], x1.size / x1.shape[0]]);
  return sub(sqrt(add(sum(square(error), { axes: [1] }), c * c)), c);
}

/**
 * @throws ShapeError unless all points have one shape [N, ...] and times, if given, the shape [N]; ops would broadcast
 * others
 */
function checkEnds(op: string, points: readonly Tensor[], t?: Tensor): void {
  const [{ shape }] = points;
  if (shape.length > 0 && points.every((x) => sameShape(x.shape, shape)) && (!t || sameShape(t.shape, [shape[0]])))
    return;
  const got = [...points, ...(t ? [t] : [])].map((x) => formatShape(x.shape)).join(', ');
  throw new ShapeError(op, `points of one shape [N, ...]${t ? ' and times [N]' : ''}`, got);
}

/**
 * x_t = t x_1 + (1 - t) x_0, t [N] over x [N, ...].
 * @throws ShapeError for points of different shapes or times that are not [N]
 * @example
 * interpolate(tensor([[0, 0]]), tensor([[2, 4]]), tensor([0.25])); // [[0.5, 1]]
 */
export function interpolate(x0: Tensor, x1: Tensor, t: Tensor): Tensor;
export function interpolate(x0: Tensor, x1: Tensor, t: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('interpolate', extra);
  checkOperands('interpolate', [x0, x1, t]);
  checkEnds('interpolate', [x0, x1], t);
  const times = reshape(t, [t.size, ...x1.shape.slice(1).map(() => 1)]);
  return add(mul(times, x1), mul(sub(1, times), x0));
}

function isUndrawn(options: LossOptions): options is LossSettings & Undrawn {
  const { x0, t, seed, first, draw } = options;
  return x0 !== undefined && t !== undefined && seed === undefined && first === undefined && draw === undefined;
}

/** The given starts and times, and draws of those that are not given. */
function drawMissing(options: LossSettings & DrawnBy, x1: Tensor): { x0: Tensor; t: Tensor } {
  const draw = drawOf('rectifiedFlowLoss', options, x1.device);
  const { noiseScale: scale, x0 = draw.noise(x1.shape, { scale }), t = draw.times(x1.shape[0]) } = options;
  return { x0, t };
}

/**
 * Loss of the velocity on straight lines from x0 to x1, by default the mean squared error of v against x1 - x0 (Liu, Gong, Liu 2023,
 * equation 1).
 * @param x1 data [N, ...]
 * @returns the loss [], a mean over samples
 * @throws ArgumentError without a seed or a draw for what is not given; ShapeError for x0, t or a velocity of another shape
 * @example
 * const network = new MLP([3, 32, 2]);
 * const velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
 * const x1 = tensor(samplePoints('two_moons', 64, 1), { shape: [64, 2] });
 * const loss = rectifiedFlowLoss(velocity, x1, { seed: 0, first: 0 });
 * loss.shape; // []
 * loss.backward();
 */
export function rectifiedFlowLoss(velocity: Velocity, x1: Tensor, options: LossOptions): Tensor {
  checkArgument('rectifiedFlowLoss', 'velocity', velocity, kinds.callback);
  checkOperands('rectifiedFlowLoss', [x1]);
  const checked = checkOptions('rectifiedFlowLoss', options, lossOptions);
  if (checked.x0) refuseInert('rectifiedFlowLoss', checked, ['noiseScale'], 'with x0, which is taken as it is');
  if (checked.distance) refuseInert('rectifiedFlowLoss', checked, ['reduceMean'], 'with a distance, which is the loss');
  const { input, distance, reduceMean = true } = checked;
  if (x1.shape.length === 0) throw new ShapeError('rectifiedFlowLoss', 'x1 [N, ...]', formatShape(x1.shape));
  const { x0, t } = isUndrawn(checked) ? checked : drawMissing(checked, x1);
  if (!sameShape(x0.shape, x1.shape) || !sameShape(t.shape, [x1.shape[0]]))
    throw new ShapeError(
      'rectifiedFlowLoss',
      'x1 and x0 of one shape [N, ...] and t [N]',
      [x1, x0, t].map(({ shape }) => formatShape(shape)).join(', '),
    );
  const path = input || distance ? undefined : straightPath(x0, x1, t);
  const v = checkVelocity(velocity(input ?? path?.point ?? interpolate(x0, x1, t), t), x1);
  if (distance) {
    const measured: unknown = distance(v, x0, x1, t);
    requireTensor('rectifiedFlowLoss', measured, 'a distance that returns a loss tensor');
    return measured;
  }
  const error = mse(v, path?.direction ?? sub(x1, x0));
  return reduceMean ? error : mul(error, x1.size / x1.shape[0] / 2);
}
