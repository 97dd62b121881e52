// gradients() and vjp(): the gradients of chosen tensors, without touching any `grad`.
import { checkOptions, kinds, type OptionKinds, refuseExtra } from '../arguments.ts';
import { ArgumentError, NotDifferentiableError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { dtypes } from '../tensor/dtype.ts';
import {
  type BackwardOptions,
  describeOperand,
  requireTensor,
  type Tensor,
  tensorKind,
  tensorsOf,
} from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { propagate, type Seed } from './backward.ts';
import { gradientDtype, startingGradient } from './cotangent.ts';
import { checkFunction, type TensorFunction } from './forward.ts';
import type { GraphNode } from './graph.ts';
import type { LeafSink } from './leaves.ts';
import { enableGrad } from './mode.ts';
import { sumOf } from './pending.ts';

export interface GradientOptions extends BackwardOptions {
  /** f32, of the shape of the output; may be left out for a tensor of one element (then 1). */
  cotangent?: Tensor;
  /** Must be false or left out: second derivatives are not supported. */
  createGraph?: boolean;
}

const gradientOptions: OptionKinds<GradientOptions> = {
  cotangent: tensorKind,
  retainGraph: kinds.boolean,
  createGraph: kinds.boolean,
};

/**
 * d(output)/d(inputs) without touching any `grad`.
 * @param inputs leaves that require a gradient, and tensors that ops computed from such leaves; one may be listed
 * twice. The gradient of an input that `output` does not depend on is zero
 * @returns a new tensor for each input, of its shape; it has no graph, so what is computed from it counts it as constant
 * @throws NotDifferentiableError for an input that does not require a gradient, for an output that depends on no tensor
 * that does, and for `createGraph`: second derivatives are not supported; UseAfterFreeError for a disposed tensor
 * @example
 * const x = tensor([1, 2, 3], { requiresGrad: true });
 * gradients(sum(square(x)), [x]); // [[2, 4, 6]]
 */
export function gradients(output: Tensor, inputs: readonly Tensor[], given: GradientOptions = {}): Tensor[] {
  const options = checkOptions('gradients', given, gradientOptions);
  requireTensor('gradients', output, 'an output tensor');
  if (!Array.isArray(inputs)) throw new ArgumentError('gradients', 'a list of input tensors', describeOperand(inputs));
  for (const input of inputs) requireTensor('gradients', input, 'a list of input tensors');
  if (options.createGraph)
    throw new NotDifferentiableError('[gradients] double backward is not supported: createGraph must be false');
  output.assertAlive('[gradients]');
  for (const input of inputs) {
    input.assertAlive('[gradients]');
    if (!input.requiresGrad)
      throw new NotDifferentiableError(input.blocked ?? `[gradients] ${input.describe()} does not require a gradient`);
  }
  if (!output.requiresGrad)
    throw new NotDifferentiableError(output.blocked ?? `[gradients] ${output.describe()} has no graph`);
  return gradientsOf([{ output, cotangent: options.cotangent }], inputs, options);
}

/** Why results of gradients() have no graph. */
const NO_SECOND =
  '[gradients] has no gradient of its own: second derivatives are gradients() or jvp() of the result of jvp()';

/** The gradients of the sum of several outputs, each times its cotangent. Outputs without a graph count as constants. */
function gradientsOf(
  outputs: readonly { output: Tensor; cotangent: Tensor | undefined }[],
  inputs: readonly Tensor[],
  options: BackwardOptions,
): Tensor[] {
  const wanted = new Set(inputs);
  const computed = new Map<GraphNode, Tensor[]>();
  for (const input of wanted) {
    const node = input.source as GraphNode | undefined;
    if (!node) continue;
    const outputs = computed.get(node) ?? [];
    outputs[input.sourceOutput] = input;
    computed.set(node, outputs);
  }
  const found = new Map<Tensor, Tensor>();
  const seeds: Seed[] = [];
  let started = false;
  const sink: LeafSink = {
    wants: (leaf) => wanted.has(leaf),
    watched: (node, index) => computed.get(node)?.[index],
    take(input, gradient) {
      const present = found.get(input);
      found.set(input, present ? sumOf(present, gradient) : gradient);
    },
  };
  try {
    for (const { output, cotangent } of outputs) {
      const node = output.source as GraphNode | undefined;
      if (node) seeds.push({ node, output: output.sourceOutput, gradient: startingGradient(output, cotangent) });
      else if (wanted.has(output)) sink.take(output, startingGradient(output, cotangent));
    }
    started = true;
    if (seeds.length > 0) propagate(seeds, options, sink);
    // The open scope owns them like any other result; each has its own memory.
    return inputs.map((input) => {
      const { device, shape } = input;
      const gradient = found.get(input);
      if (!gradient) return zeros(shape, { device, dtype: gradientDtype(input) });
      const result = allocate(shape, { device, dtype: gradient.dtype });
      device.copy(result.address, gradient.address, gradient.size * dtypes[gradient.dtype].bytes);
      result.blocked = NO_SECOND;
      return result;
    });
  } finally {
    if (!started) for (const { gradient } of seeds) gradient.dispose();
    for (const gradient of found.values()) gradient.dispose();
  }
}

/** The vector-Jacobian product of a function at one point, as a function of the cotangents of its output. */
export type Pullback<Output> = (cotangent: Output) => Tensor[];

/**
 * `fn(...primals)`, and its vector-Jacobian product (reverse mode) as a function: `pullback(cotangent)` returns the
 * gradient of sum(output * cotangent) for each primal. It may be called several times, as long as the output lives.
 * @param fn synchronous; takes one tensor for each primal and returns a tensor or a list of tensors
 * @param primals floating-point tensors; no gradient flows through them to what they were computed from
 * @throws ArgumentError, DtypeError for primals that do not fit; NotDifferentiableError by the pullback inside a jvp() and
 * for an output that is cut off from the primals by a function without a gradient, such as gradients()
 * @example
 * const [y, pullback] = vjp((x) => square(x), [tensor([1, 2])]);
 * y; // [1, 4]
 * pullback(tensor([1, 1])); // [[2, 4]]
 */
export function vjp<Output extends Tensor | Tensor[]>(
  fn: TensorFunction<Output>,
  primals: readonly Tensor[],
): [output: Output, pullback: Pullback<Output>];
export function vjp<Output extends Tensor | Tensor[]>(
  fn: TensorFunction<Output>,
  primals: readonly Tensor[],
  ...extra: unknown[]
): [Output, Pullback<Output>] {
  refuseExtra('vjp', extra);
  checkFunction('vjp', fn, primals);
  const leaves = primals.map((primal) => view(primal, primal.shape).requireGrad());
  const output = enableGrad(() => fn(...leaves));
  const outputs = tensorsOf('vjp', output);
  const pullback = (cotangent: Output) => {
    const cotangents = tensorsOf('vjp', cotangent);
    if (cotangents.length !== outputs.length)
      throw new ArgumentError('vjp', `${outputs.length} cotangents, one for each output`, `${cotangents.length}`);
    for (const t of outputs) {
      t.assertAlive('[vjp]');
      if (t.blocked && !t.requiresGrad) throw new NotDifferentiableError(t.blocked);
    }
    const seeds = outputs.map((t, i) => ({ output: t, cotangent: cotangents[i] }));
    return gradientsOf(seeds, leaves, { retainGraph: true });
  };
  return [output, pullback];
}
