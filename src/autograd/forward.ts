// Forward-mode differentiation: each op pushes the tangents of its operands to its result, by the tangent rule of its
// definition. Rules are written in ops, so that reverse mode and enclosing jvp() calls differentiate them in turn.
import { checkArgument, kinds, refuseExtra } from '../arguments.ts';
import { ArgumentError, DeviceError, DtypeError, formatShape, NotDifferentiableError, ShapeError } from '../errors.ts';
import { zeros } from '../tensor/create.ts';
import { isFloating } from '../tensor/dtype.ts';
import { activeScope, scope, scratch } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { describeOperand, requireTensor, type TangentHolder, type Tensor, tensorsOf } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import { arithmetic } from './arithmetic.ts';
import { gradientDtype } from './cotangent.ts';
import { activeLevels, type ForwardLevel, type ForwardStep, type TangentContext, withLevels } from './mode.ts';

/** A function of tensors that returns one tensor or several. It is synchronous. */
export type TensorFunction<Output> = (...primals: Tensor[]) => Output;

/**
 * Shows an op that has run to the running levels of forward mode, the outermost first: the rule of a level is itself
 * differentiated by the levels around it, for which its operands and its output must already have tangents.
 */
export function pushForward(step: ForwardStep): void {
  const levels = activeLevels();
  levels.forEach((level, i) => {
    withLevels(levels.slice(0, i), () => level.push(step));
  });
}

/** The tangents of one tensor, by level. */
class Tangents implements TangentHolder {
  readonly byLevel = new Map<TangentLevel, Tensor>();
  private readonly owner: Tensor;

  constructor(owner: Tensor) {
    this.owner = owner;
  }

  dispose(): void {
    for (const [level, tangent] of this.byLevel) {
      level.holders.delete(this.owner);
      tangent.dispose();
    }
    this.byLevel.clear();
  }
}

/** A running jvp(): it computes tangents as the ops run. */
class TangentLevel implements ForwardLevel {
  /** The tensors that have a tangent in this level. */
  readonly holders = new Set<Tensor>();

  tangentOf(t: Tensor | undefined): Tensor | null {
    return (t?.tangents as Tangents | undefined)?.byLevel.get(this) ?? null;
  }

  /** Takes over ownership of `tangent`. */
  attach(t: Tensor, tangent: Tensor): void {
    t.tangents ??= new Tangents(t);
    (t.tangents as Tangents).byLevel.set(this, tangent);
    this.holders.add(t);
  }

  push(step: ForwardStep): void {
    const tangents = step.parents.map((parent) => this.tangentOf(parent));
    if (tangents.every((tangent) => tangent === null)) return;
    tangentsOfStep(step, step, tangents).forEach((tangent, i) => {
      if (tangent) this.attach(step.outputs[i], tangent);
    });
  }

  end(): void {
    for (const t of this.holders) {
      const { byLevel } = t.tangents as Tangents;
      byLevel.get(this)?.dispose();
      byLevel.delete(this);
    }
    this.holders.clear();
  }
}

/**
 * The tangents of the outputs of a step, which the caller owns; null for one that is constant, such as whole numbers.
 * @param tensors the step's own tensors, or copies of their handles
 */
function tangentsOfStep(
  { name, tangent: rule, attributes }: ForwardStep,
  { parents, outputs, saved }: Pick<ForwardStep, 'parents' | 'outputs' | 'saved'>,
  tangents: readonly (Tensor | null)[],
): (Tensor | null)[] {
  if (!outputs.some(({ dtype }) => isFloating(dtype))) return outputs.map(() => null);
  if (typeof rule === 'string') throw new NotDifferentiableError(rule);
  const context: TangentContext<unknown> = { parents, tangents, output: outputs[0], outputs, saved, attributes };
  return scratch(() => {
    const inner = activeScope();
    const results = rule(context);
    const list: readonly (Tensor | null)[] = Array.isArray(results) ? results : [results as Tensor];
    return outputs.map((output, i) => {
      const result = list[i] ?? null;
      if (result === null) return null;
      requireTensor(name, result, 'a tangent rule that returns tensors');
      const dtype = gradientDtype(output);
      if (!sameShape(result.shape, output.shape) || result.dtype !== dtype)
        throw new ShapeError(name, `a tangent ${dtype} ${formatShape(output.shape)} of its rule`, result.describe());
      const tangent = result.owner === inner ? result : arithmetic().identity(result);
      tangent.owner = undefined;
      return tangent;
    });
  });
}

/**
 * `fn(...primals)` together with its derivative along `tangents`, the Jacobian-vector product (forward mode). It costs
 * about as much as two to three evaluations of `fn` and saves nothing for a backward pass. Calls nest: jvp of jvp is a
 * second derivative. `gradients()` of the result is a Hessian-vector product; the reverse order, a jvp() of gradients(),
 * is refused. Inside `fn`, results of noGrad() and whole numbers count as constants.
 *
 * Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 3; named as in JAX.
 *
 * @param fn synchronous; takes one tensor for each primal and returns a tensor or a list of tensors
 * @param primals floating-point tensors
 * @param tangents one for each primal, of its shape, f32 (bf16 where the device computes in bf16)
 * @returns the output of `fn`, and its tangent in the same structure; zeros for an output that does not depend on `primals`
 * @throws NotDifferentiableError for an op without a derivative; ArgumentError, ShapeError, DtypeError, DeviceError for
 * primals and tangents that do not fit
 * @example
 * const [y, dy] = jvp((x) => sin(x), [tensor([0, 1])], [tensor([1, 1])]);
 * y; // [0, 0.8415]
 * dy; // [1, 0.5403]
 */
export function jvp<Output extends Tensor | Tensor[]>(
  fn: TensorFunction<Output>,
  primals: readonly Tensor[],
  tangents: readonly Tensor[],
): [output: Output, tangent: Output];
export function jvp<Output extends Tensor | Tensor[]>(
  fn: TensorFunction<Output>,
  primals: readonly Tensor[],
  tangents: readonly Tensor[],
  ...extra: unknown[]
): [Output, Output] {
  refuseExtra('jvp', extra);
  checkFunction('jvp', fn, primals);
  checkTangents('jvp', primals, tangents);
  const { identity } = arithmetic();
  const level = new TangentLevel();
  try {
    return scope(() => {
      const given = primals.map((primal, i) => {
        const own = identity(primal);
        const tangent = identity(tangents[i]);
        tangent.owner = undefined;
        level.attach(own, tangent);
        return own;
      });
      const result = withLevels([...activeLevels(), level], () => fn(...given));
      const made = tensorsOf('jvp', result).map((output) => {
        const tangent = level.tangentOf(output);
        return tangent
          ? identity(tangent)
          : zeros(output.shape, { device: output.device, dtype: gradientDtype(output) });
      });
      return [result, (Array.isArray(result) ? made : made[0]) as Output];
    });
  } finally {
    level.end();
  }
}

/** One op that the linear map applies again, with handles of its own on what the op read and wrote. */
interface TapeEntry {
  step: ForwardStep;
  tensors: Pick<ForwardStep, 'parents' | 'outputs' | 'saved'>;
  /** The place of the tangent of each parent; -1 for a constant one. */
  from: readonly number[];
  /** The place of the tangent of each output. */
  to: readonly number[];
}

/** A running linearize(): it notes the ops whose results depend on the primals. */
class TapeLevel implements ForwardLevel {
  readonly entries: TapeEntry[] = [];
  readonly owned: Tensor[] = [];
  private readonly places = new WeakMap<Tensor, number>();
  private count = 0;

  place(t: Tensor): number {
    const at = this.count++;
    this.places.set(t, at);
    return at;
  }

  placeOf(t: Tensor | undefined): number {
    return (t && this.places.get(t)) ?? -1;
  }

  push(step: ForwardStep): void {
    const from = step.parents.map((parent) => this.placeOf(parent));
    if (from.every((at) => at < 0) || !step.outputs.some(({ dtype }) => isFloating(dtype))) return;
    if (typeof step.tangent === 'string') throw new NotDifferentiableError(step.tangent);
    const own = <T extends Tensor | undefined>(t: T) => {
      const handle = t && alias(t);
      if (handle) this.owned.push(handle);
      return handle as T;
    };
    const tensors = { parents: step.parents.map(own), outputs: step.outputs.map(own), saved: step.saved.map(own) };
    const to = step.outputs.map((output) => this.place(output));
    this.entries.push({ step: { ...step, parents: [], outputs: [], saved: [] }, tensors, from, to });
  }

  dispose(): void {
    for (const t of this.owned) t.dispose();
    this.owned.length = 0;
    this.entries.length = 0;
  }
}

/** The derivative of a function at one point: a linear map of tangents. It holds memory until it is disposed. */
export interface LinearMap<Output> extends Disposable {
  /** @returns the derivative along `tangents`, in the structure of the function's output */
  (...tangents: Tensor[]): Output;
  /** Frees what it holds. */
  dispose(): void;
}

/**
 * `fn(...primals)` and its derivative there as a function of the tangents, which evaluates no primal value again: for
 * many Jacobian-vector products at one point. Gradients flow from a result to its tangents, not to `primals`.
 * @param fn see jvp
 * @returns the output of `fn` and the linear map; dispose the map, or declare it with `using`, to free what it holds
 * @throws NotDifferentiableError inside a jvp() or another linearize(), and where jvp() throws it
 * @example
 * const [y, derivative] = linearize((x) => exp(x), [tensor([0, 1])]);
 * y; // [1, 2.718]
 * derivative(tensor([1, 0])); // [1, 0]
 * derivative.dispose();
 */
export function linearize<Output extends Tensor | Tensor[]>(
  fn: TensorFunction<Output>,
  primals: readonly Tensor[],
): [output: Output, derivative: LinearMap<Output>];
export function linearize<Output extends Tensor | Tensor[]>(
  fn: TensorFunction<Output>,
  primals: readonly Tensor[],
  ...extra: unknown[]
): [Output, LinearMap<Output>] {
  refuseExtra('linearize', extra);
  checkFunction('linearize', fn, primals);
  if (activeLevels().length > 0)
    throw new NotDifferentiableError('[linearize] expected no jvp() or linearize() around it; use jvp() inside jvp()');
  const own = primals.map((primal) => alias(primal));
  const level = new TapeLevel();
  level.owned.push(...own);
  const given = own.map((primal) => level.place(primal));
  let output: Output;
  let results: { at: number; like: Tensor }[];
  try {
    output = scope(() =>
      withLevels([level], () => {
        const result = fn(...own);
        // The map owns its primals, so the caller gets another handle on one that `fn` returns unchanged.
        const made = tensorsOf('linearize', result).map((t) => (own.includes(t) ? arithmetic().identity(t) : t));
        return (Array.isArray(result) ? made : made[0]) as Output;
      }),
    );
    results = tensorsOf('linearize', output).map((t) => {
      const like = alias(t);
      level.owned.push(like);
      return { at: level.placeOf(t), like };
    });
  } catch (error) {
    level.dispose();
    throw error;
  }
  const single = !Array.isArray(output);
  let disposed = false;
  const derivative = (...tangents: Tensor[]): Output => {
    if (disposed) throw new ArgumentError('linearize', 'a linear map that is not disposed', 'a disposed one');
    checkTangents('linearize', own, tangents);
    const made = scope(() => {
      const values: (Tensor | null)[] = [];
      given.forEach((at, i) => {
        values[at] = tangents[i];
      });
      for (const { step, tensors, from, to } of level.entries) {
        const known = from.map((at) => values[at] ?? null);
        if (known.every((tangent) => tangent === null)) continue;
        tangentsOfStep(step, tensors, known).forEach((tangent, i) => {
          if (tangent) activeScope()?.adopt(tangent);
          values[to[i]] = tangent;
        });
      }
      return results.map(({ at, like }) => {
        const tangent = values[at];
        return tangent
          ? arithmetic().identity(tangent)
          : zeros(like.shape, { device: like.device, dtype: gradientDtype(like) });
      });
    });
    return (single ? made[0] : made) as Output;
  };
  const dispose = () => {
    disposed = true;
    level.dispose();
  };
  return [output, Object.assign(derivative, { dispose, [Symbol.dispose]: dispose })];
}

/** @throws ArgumentError, DtypeError for a function or primals that a transformation cannot take */
export function checkFunction(op: string, fn: unknown, primals: readonly Tensor[]): void {
  checkArgument(op, 'fn', fn, kinds.callback);
  if (!Array.isArray(primals) || primals.length === 0)
    throw new ArgumentError(op, 'a list of at least one primal', describeOperand(primals));
  for (const primal of primals) {
    requireTensor(op, primal, 'a list of primals');
    primal.assertAlive(`[${op}]`);
    if (!isFloating(primal.dtype)) throw new DtypeError(op, 'floating-point primals', primal.describe());
  }
}

function checkTangents(op: string, primals: readonly Tensor[], tangents: readonly Tensor[]): void {
  if (!Array.isArray(tangents) || tangents.length !== primals.length)
    throw new ArgumentError(
      op,
      `${primals.length} tangents, one for each primal`,
      Array.isArray(tangents) ? `${tangents.length}` : describeOperand(tangents),
    );
  primals.forEach((primal, i) => {
    const tangent = tangents[i];
    requireTensor(op, tangent, 'a list of tangents');
    tangent.assertAlive(`[${op}]`);
    if (!sameShape(tangent.shape, primal.shape))
      throw new ShapeError(op, `tangent ${i} ${formatShape(primal.shape)}`, formatShape(tangent.shape));
    if (tangent.dtype !== gradientDtype(primal))
      throw new DtypeError(op, `tangent ${i} ${gradientDtype(primal)}`, tangent.describe());
    if (tangent.device !== primal.device)
      throw new DeviceError(`[${op}] expected tangent ${i} on ${primal.device.name}, got ${tangent.device.name}`);
  });
}
