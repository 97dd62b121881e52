// gradcheck(): the gradients of a function against finite differences, as torch.autograd.gradcheck, for an engine of f32: along
// random directions, with a step that the precision of f32 allows, extrapolated (Richardson) and summed in double.
import { checkArgument, checkOptions, kinds, type OptionKinds, refuseExtra } from '../arguments.ts';
import { jvp, type TensorFunction } from '../autograd/forward.ts';
import { vjp } from '../autograd/gradients.ts';
import { noGrad } from '../autograd/mode.ts';
import { ArgumentError, formatShape, RectiflowError } from '../errors.ts';
import { tensor } from '../tensor/create.ts';
import { isFloating } from '../tensor/dtype.ts';
import { scope } from '../tensor/scope.ts';
import { describeOperand, requireTensor, type Tensor, tensorsOf } from '../tensor/tensor.ts';

/**
 * A gradient that finite differences contradict. The message names the input and its worst element.
 * @example
 * const wrong = customGradient((x) => square(x), (gradient) => gradient);
 * try {
 *   gradcheck(wrong, [tensor([1, 2])]);
 * } catch (error) {
 *   error instanceof GradcheckError; // true
 * }
 */
export class GradcheckError extends RectiflowError {}

export interface GradcheckOptions {
  /** Seed of directions and cotangents; default 0. */
  seed?: number;
  /** How many random directions are tried; default 3. */
  directions?: number;
  /** Step of the differences; default 1/64. Smaller near a kink or a pole; larger where values are large. */
  step?: number;
  /**
   * Largest difference, as a share of the norm of the gradient; default 0.01. It grows by what the differences of two step
   * sizes leave uncertain, at most by 0.1.
   */
  tolerance?: number;
  /** Smallest norm that counts, for gradients that are 0; default 1e-3. */
  absolute?: number;
  /** Whether jvp() is compared as well; default true. False for functions without tangent rules. */
  forward?: boolean;
}

const gradcheckOptions: OptionKinds<GradcheckOptions> = {
  seed: kinds.whole,
  directions: kinds.count,
  step: kinds.positive,
  tolerance: kinds.positive,
  absolute: kinds.positive,
  forward: kinds.boolean,
};

/** Elements that are probed one by one to name the worst. */
const MOST_PROBED = 64;
/** Largest difference of forward and reverse mode, as a share of the sum of magnitudes. */
const LAW_TOLERANCE = 1e-3;

/**
 * Checks the gradients of `fn` at `inputs`: reverse mode against central differences of the values, and forward mode
 * against reverse mode by the law <J u, w> = <u, J^T w>.
 * @param fn synchronous and deterministic (give random draws a fixed seed); returns a tensor or a list of tensors
 * @param inputs f32 tensors away from kinks; tensors of whole numbers and booleans are passed on as constants
 * @throws GradcheckError where they differ, with the input, its worst element and both numbers
 * @example
 * const loss = (x) => mean(square(sin(x)));
 * // Nothing is returned if the gradients agree.
 * gradcheck(loss, [randn([3, 4], { seed: 1 })]); // undefined
 */
export function gradcheck(
  fn: TensorFunction<Tensor | Tensor[]>,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
  ...extra: unknown[]
): void {
  refuseExtra('gradcheck', extra);
  checkArgument('gradcheck', 'fn', fn, kinds.callback);
  const checked = checkOptions('gradcheck', options, gradcheckOptions);
  const { seed = 0, directions = 3, step = 1 / 64, tolerance = 0.01, absolute = 1e-3, forward = true } = checked;
  if (!Array.isArray(inputs) || inputs.length === 0)
    throw new ArgumentError('gradcheck', 'a list of at least one input tensor', describeOperand(inputs));
  for (const input of inputs) requireTensor('gradcheck', input, 'a list of input tensors');
  const moving = inputs.flatMap((input, i) => (isFloating(input.dtype) ? [i] : []));
  if (moving.length === 0) throw new ArgumentError('gradcheck', 'an input of floating dtype', 'none');
  const [{ device }] = inputs;
  const draw = generator(seed);
  const points = moving.map((i) => inputs[i].dataSync() as Float32Array);
  const shapes = moving.map((i) => inputs[i].shape);
  const make = (values: Float32Array, shape: readonly number[]) => tensor(values, { shape, device });
  const run = (...given: Tensor[]) => fn(...inputs.map((input, i) => given[moving.indexOf(i)] ?? input));

  for (let direction = 0; direction < directions; direction++)
    scope(() => {
      const primals = points.map((values, i) => make(values, shapes[i]));
      const [output, pullback] = vjp(run, primals);
      const outputs = tensorsOf('gradcheck', output);
      const weights = outputs.map(({ size }) => Float32Array.from({ length: size }, () => 2 * draw() - 1));
      const cotangents = weights.map((values, i) => make(values, outputs[i].shape));
      const gradients = pullback((Array.isArray(output) ? cotangents : cotangents[0]) as typeof output).map(
        (t) => t.dataSync() as Float32Array,
      );
      const directionsOf = points.map(({ length }) => Float32Array.from({ length }, () => (draw() < 0.5 ? -1 : 1)));

      /** sum(outputs * weights) at points + h u, in double. */
      const objective = (u: readonly Float32Array[], h: number) =>
        scope(() => {
          const moved = points.map((values, i) =>
            make(
              values.map((value, e) => value + h * u[i][e]),
              shapes[i],
            ),
          );
          const results = tensorsOf(
            'gradcheck',
            noGrad(() => run(...moved)),
          );
          return results.reduce((total, t, i) => total + dot(t.dataSync() as Float32Array, weights[i]).total, 0);
        });
      const slope = (u: readonly Float32Array[]) => differences((h) => objective(u, h), step);

      const norm = Math.max(absolute, Math.sqrt(gradients.reduce((total, g) => total + dot(g, g).total, 0)));
      const analytic = gradients.reduce((total, g, i) => total + dot(g, directionsOf[i]).total, 0);
      const numeric = slope(directionsOf);
      const allowed = tolerance * norm + Math.min(numeric.uncertainty, 0.1 * norm);
      if (!(Math.abs(analytic - numeric.value) <= allowed)) {
        const worst = worstElement(gradients, shapes, (which, element) => {
          const unit = points.map(({ length }) => new Float32Array(length));
          unit[which][element] = 1;
          return slope(unit).value;
        });
        throw new GradcheckError(
          `[gradcheck] backward gives ${show(analytic)} along a random direction, finite differences ${show(numeric.value)}; ` +
            `the largest difference is at input ${moving[worst.which]} ${worst.place}: ${show(worst.analytic)} and ${show(worst.numeric)}`,
        );
      }
      if (forward) {
        const tangents = directionsOf.map((values, i) => make(values, shapes[i]));
        const moved = tensorsOf('gradcheck', jvp(run, primals, tangents)[1]);
        const parts = moved.map((t, i) => dot(t.dataSync() as Float32Array, weights[i]));
        const pushed = parts.reduce((total, part) => total + part.total, 0);
        const scale = parts.reduce((total, part) => total + part.magnitude, absolute);
        if (!(Math.abs(pushed - analytic) <= LAW_TOLERANCE * (scale + Math.abs(analytic))))
          throw new GradcheckError(
            `[gradcheck] forward mode gives ${show(pushed)} along a random direction, reverse mode ${show(analytic)}`,
          );
      }
    });
}

function show(value: number): string {
  return Number.isFinite(value) ? value.toPrecision(4) : `${value}`;
}

/** The derivative of f at 0 by central differences of two steps, extrapolated; and how much the two differ. */
function differences(f: (h: number) => number, step: number): { value: number; uncertainty: number } {
  const [wide, narrow] = [step, step / 2].map((h) => (f(h) - f(-h)) / (2 * h));
  return { value: (4 * narrow - wide) / 3, uncertainty: Math.abs(wide - narrow) };
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): { total: number; magnitude: number } {
  let [total, magnitude] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    total += a[i] * b[i];
    magnitude += Math.abs(a[i] * b[i]);
  }
  return { total, magnitude };
}

interface WorstElement {
  which: number;
  place: string;
  analytic: number;
  numeric: number;
}

/** The element, among the first ones of each input, whose gradient differs most from the differences. */
function worstElement(
  gradients: readonly Float32Array[],
  shapes: readonly (readonly number[])[],
  slope: (which: number, element: number) => number,
): WorstElement {
  let worst: WorstElement = { which: 0, place: '', analytic: 0, numeric: 0 };
  let largest = -1;
  gradients.forEach((gradient, which) => {
    for (let element = 0; element < Math.min(gradient.length, MOST_PROBED); element++) {
      const numeric = slope(which, element);
      const difference = Math.abs(numeric - gradient[element]);
      // A NaN is the worst of all.
      if (difference <= largest) continue;
      largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
      worst = { which, place: placeOf(element, shapes[which]), analytic: gradient[element], numeric };
    }
  });
  return worst;
}

/** The multi-index of an element, as [1, 2]. */
function placeOf(element: number, shape: readonly number[]): string {
  const index: number[] = [];
  let rest = element;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return formatShape(index);
}

/** Uniform numbers in [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
