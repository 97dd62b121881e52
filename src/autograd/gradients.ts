// gradients(): the gradients of chosen tensors, without touching any `grad`.
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { ArgumentError, NotDifferentiableError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { dtypes } from '../tensor/dtype.ts';
import { type BackwardOptions, describeOperand, requireTensor, type Tensor, tensorKind } from '../tensor/tensor.ts';
import { runBackward } from './backward.ts';
import { gradientDtype, startingGradient } from './cotangent.ts';
import type { GraphNode } from './graph.ts';
import type { LeafSink } from './leaves.ts';
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
 * @returns a new tensor for each input, of its shape
 * @throws NotDifferentiableError for an input that does not require a gradient, for an output that depends on no tensor
 * that does, and for `createGraph`: second derivatives are not supported; UseAfterFreeError for a disposed tensor
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
  const sink: LeafSink = {
    wants: (leaf) => wanted.has(leaf),
    watched: (node, index) => computed.get(node)?.[index],
    take(input, gradient) {
      const present = found.get(input);
      found.set(input, present ? sumOf(present, gradient) : gradient);
    },
  };
  try {
    const node = output.source as GraphNode | undefined;
    if (node) runBackward(node, output, options.cotangent, options, sink);
    else if (wanted.has(output)) sink.take(output, startingGradient(output, options.cotangent));
    // The open scope owns them like any other result; each has its own memory.
    return inputs.map((input) => {
      const { device, shape } = input;
      const gradient = found.get(input);
      if (!gradient) return zeros(shape, { device, dtype: gradientDtype(input) });
      const result = allocate(shape, { device, dtype: gradient.dtype });
      device.copy(result.address, gradient.address, gradient.size * dtypes[gradient.dtype].bytes);
      return result;
    });
  } finally {
    for (const gradient of found.values()) gradient.dispose();
  }
}
