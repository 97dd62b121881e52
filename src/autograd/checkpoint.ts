// Activation checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): a part of the network
// runs untraced and keeps only its inputs; backward runs it again, traced, and propagates through that graph.
//
// Each use of an input or a parameter in the part is an edge of its own, so that gradients are added one by one in the
// order of the plain graph: the sums have the same bits.
import { checkArgument, kinds, refuseExtra } from '../arguments.ts';
import { ArgumentError, formatShape, NotDifferentiableError, ValueError } from '../errors.ts';
import { activeScope, scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { describeOperand, requireTensor, Tensor, tensorsOf } from '../tensor/tensor.ts';
import { alias, view } from '../tensor/view.ts';
import { propagate, type Seed } from './backward.ts';
import { assertUnwritten, attach, type BackwardRule, GraphNode } from './graph.ts';
import { activeLevels, enableGrad, isTracing, type Witness, withWitness } from './mode.ts';

/** The part of a computation that runs twice. It takes tensors and returns one or several. */
export type Checkpointed<Output> = (...inputs: Tensor[]) => Output;

interface Attributes {
  fn: Checkpointed<unknown>;
  /** Which inputs require a gradient. */
  requires: readonly boolean[];
  /** One per edge: the index of an input, or a leaf that `fn` reaches by itself. */
  uses: readonly (number | Tensor)[];
  /** How often the memory of each such leaf had been written. */
  writes: readonly number[];
  outputs: readonly Tensor['shape'][];
}

/**
 * `fn(...inputs)`, whose intermediate tensors are freed at once and recomputed in backward. One more forward pass buys
 * a peak memory of one part at a time. Gradients reach the inputs, and leaves (parameters) that `fn` reaches by itself.
 * @param fn synchronous and the same each time: it must not depend on what changes before backward, such as a counter
 * @param inputs must include every tensor `fn` uses that was computed from something that requires a gradient;
 * constants and parameters that `fn` reaches by itself must live until backward
 * @returns what `fn` returns, as tensors of the open scope
 * @throws ValueError if `fn` returns anything but a tensor or a list of tensors, or does something else in backward
 * than before; NotDifferentiableError if it reaches a computed tensor that is not among `inputs`
 * @example
 * const x = tensor([1, 2], { requiresGrad: true });
 * sum(checkpoint((x) => square(exp(x)), [x])).backward();
 * x.grad; // [14.78, 109.2]
 */
export function checkpoint<Output extends Tensor | Tensor[]>(
  fn: Checkpointed<Output>,
  inputs: readonly Tensor[],
): Output;
export function checkpoint<Output extends Tensor | Tensor[]>(
  fn: Checkpointed<Output>,
  inputs: readonly Tensor[],
  ...extra: unknown[]
): Output {
  refuseExtra('checkpoint', extra);
  checkArgument('checkpoint', 'fn', fn, kinds.callback);
  if (!Array.isArray(inputs)) throw new ArgumentError('checkpoint', 'a list of input tensors', describeOperand(inputs));
  for (const input of inputs) {
    requireTensor('checkpoint', input, 'a list of input tensors');
    input.assertAlive('[checkpoint]');
  }
  // If nothing is traced, nothing needs saving. An active witness or a jvp() sees the ops of `fn` one by one.
  if (!isTracing() || activeLevels().length > 0) return fn(...inputs);
  const requires = inputs.map((input) => input.requiresGrad);
  const uses: (number | Tensor)[] = [];
  const { outputs, attached, single } = scope(() => {
    const given = inputs.map((input, i) => leafLike(input, requires[i]));
    /** The tensors that the plain graph would mark as requiring a gradient. */
    const computed = new Set<Tensor>();
    const requiresGrad = (t: Tensor | undefined) => t !== undefined && (t.requiresGrad || computed.has(t));
    const note = (t: Tensor | undefined) => {
      if (!t?.requiresGrad) return;
      if (t.source)
        throw new NotDifferentiableError(
          `[checkpoint] the function uses ${t.describe()}, which has a gradient but is not an input; pass it in inputs`,
        );
      const input = given.indexOf(t);
      uses.push(input < 0 ? t : input);
    };
    // Does what apply() does in the plain graph.
    const witness: Witness = (parents, results, noGradient) => {
      const differentiable = parents.some(requiresGrad);
      if (differentiable && noGradient === undefined) {
        parents.forEach(note);
        for (const t of results) computed.add(t);
      } else {
        const blocked = differentiable ? noGradient : parents.find((parent) => parent?.blocked)?.blocked;
        for (const t of results) t.blocked = blocked;
      }
    };
    const result = withWitness(witness, () => fn(...given));
    const made = tensorsOf('checkpoint', result);
    // An input that `fn` returns unchanged is used too.
    made.forEach(note);
    return {
      outputs: made.map((t) => windowOf(t)),
      attached: made.map(requiresGrad),
      single: !Array.isArray(result),
    };
  });
  if (attached.includes(true)) {
    const writes = uses.map((use) => (typeof use === 'number' ? 0 : use.storage.writes));
    const attributes: Attributes = { fn, requires, uses, writes, outputs: outputs.map(({ shape }) => shape) };
    const node = new GraphNode({
      name: 'checkpoint',
      rule: recompute as BackwardRule<unknown>,
      parents: uses.map((use) => (typeof use === 'number' ? inputs[use] : use)),
      saved: inputs,
      attributes,
      outputs: outputs.length,
    });
    attach(
      node,
      outputs.map((t, i) => (attached[i] ? t : undefined)),
    );
  }
  return (single ? outputs[0] : outputs) as Output;
}

const recompute: BackwardRule<Attributes> = ({ grads, saved, needs, attributes }) => {
  const { fn, requires, uses, writes, outputs: shapes } = attributes;
  uses.forEach((use, i) => {
    if (typeof use !== 'number') assertUnwritten('checkpoint', use, writes[i]);
  });
  const frozen = uses.find((use) => use instanceof Tensor && !use.requiresGrad);
  if (frozen instanceof Tensor) throw changeError(`use of ${frozen.describe()} with a gradient`, 'it requires none');
  const given = saved.map((t, i) => leafLike(t, requires[i]));
  const outputs = tensorsOf(
    'checkpoint',
    enableGrad(() => fn(...given)),
  );
  if (outputs.length !== shapes.length || outputs.some((t, i) => !sameShape(t.shape, shapes[i])))
    throw changeError(shapes.map(formatShape).join(', '), outputs.map(({ shape }) => formatShape(shape)).join(', '));

  const results = new Array<Tensor | null>(uses.length).fill(null);
  const isUseOf = (leaf: Tensor) => (use: number | Tensor) => (typeof use === 'number' ? given[use] : use) === leaf;
  const deliver = (leaf: Tensor, gradient: Tensor) => {
    activeScope()?.adopt(gradient);
    const place = uses.findIndex((use, i) => results[i] === null && isUseOf(leaf)(use));
    if (place < 0)
      throw changeError(`${uses.length} uses of its inputs and parameters`, `another of ${leaf.describe()}`);
    results[place] = gradient;
  };
  const constant = outputs.findIndex((output, i) => grads[i] && !output.requiresGrad);
  if (constant >= 0) throw changeError(`output ${constant} with a gradient`, 'it has none');
  const seeds: Seed[] = [];
  for (const [i, output] of outputs.entries()) {
    const grad = grads[i];
    if (!grad) continue;
    if (output.source)
      seeds.push({ node: output.source as GraphNode, output: output.sourceOutput, gradient: alias(grad) });
    else deliver(output, alias(grad));
  }
  // A leaf that the first run did not use is passed on to deliver(), which throws.
  const wants = (leaf: Tensor) => needs[uses.findIndex(isUseOf(leaf))] ?? true;
  propagate(seeds, {}, { wants, take: deliver, ignoresHooks: true });
  return results;
};

/** A view of `t` at which the graph ends. */
function leafLike(t: Tensor, requiresGrad: boolean): Tensor {
  return windowOf(t).requireGrad(requiresGrad);
}

/**
 * A view of `t` without its graph. It keeps the reason (`blocked`) if an op without a gradient cut the path to
 * parameters.
 */
function windowOf(t: Tensor): Tensor {
  const window = view(t, t.shape);
  window.blocked = t.blocked;
  return window;
}

function changeError(before: string, now: string): ValueError {
  return new ValueError(`[checkpoint] the function must do the same in backward: it made ${before} before, now ${now}`);
}
