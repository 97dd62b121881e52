// A function with a gradient of its own: what PyTorch writes as an autograd.Function and JAX as custom_vjp.
import { checkArgument, checkOptions, kinds, type OptionKinds, refuseExtra } from '../../arguments.ts';
import { gradientDtype } from '../../autograd/cotangent.ts';
import { noGrad } from '../../autograd/mode.ts';
import { ArgumentError } from '../../errors.ts';
import { zeros } from '../../tensor/create.ts';
import { activeScope, scope } from '../../tensor/scope.ts';
import { type Tensor, tensorsOf } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { checkGradient } from '../inner/check_gradient.ts';
import { apply, checkSameDtype, notDifferentiable, type Op } from '../op.ts';

/** What forward took and returned; a backward or tangent rule may read all of it. */
export interface CustomGradientContext {
  readonly inputs: readonly Tensor[];
  /** The first output. */
  readonly output: Tensor;
  readonly outputs: readonly Tensor[];
}

export interface CustomGradientOptions {
  /** How messages call the function; default 'customGradient'. */
  name?: string;
  /**
   * The tangent of the output (of each output) from those of the inputs, null for a constant input; written in ops. jvp()
   * throws where it is left out.
   */
  tangent?: (
    tangents: readonly (Tensor | null)[],
    context: CustomGradientContext,
  ) => Tensor | readonly (Tensor | null)[];
}

const customGradientOptions: OptionKinds<CustomGradientOptions> = { name: kinds.text, tangent: kinds.callback };

/**
 * A function that computes `forward` and whose gradient is computed by `backward`: for straight-through estimators,
 * gradients that are clipped, reversed or more stable than those of the parts. Tensors that `forward` makes and does not
 * return are freed with the open scope; without an open scope, when it returns.
 * @param forward synchronous; takes tensors, runs untraced, and returns a tensor or a list of tensors. Gradients reach
 * its arguments only, not tensors that it reaches by itself
 * @param backward the gradient of each input, in its shape: one tensor for a single input, otherwise a list, with null for
 * an input without one. `gradient` is the gradient of the output, or a list for a list of outputs (zeros for one that
 * received none). Runs untraced
 * @returns the function; it takes the same tensors as `forward`
 * @throws ShapeError in backward for a gradient that does not fit its input
 * @example
 * // Rounds, and passes the gradient straight through.
 * const roundThrough = customGradient((x) => round(x), (gradient) => gradient);
 * // The identity, whose gradient changes its sign.
 * const reverse = customGradient((x) => x, (gradient) => neg(gradient));
 */
export function customGradient<Output extends Tensor | Tensor[]>(
  forward: (...inputs: Tensor[]) => Output,
  backward: (gradient: Output, context: CustomGradientContext) => Tensor | readonly (Tensor | null)[],
  options?: CustomGradientOptions,
): (...inputs: Tensor[]) => Output;
export function customGradient<Output extends Tensor | Tensor[]>(
  forward: (...inputs: Tensor[]) => Output,
  backward: (gradient: Output, context: CustomGradientContext) => Tensor | readonly (Tensor | null)[],
  options: CustomGradientOptions = {},
  ...extra: unknown[]
): (...inputs: Tensor[]) => Output {
  refuseExtra('customGradient', extra);
  checkArgument('customGradient', 'forward', forward, kinds.callback);
  checkArgument('customGradient', 'backward', backward, kinds.callback);
  const { name = 'customGradient', tangent } = checkOptions('customGradient', options, customGradientOptions);

  const op: Op<{ count: number; single: boolean }> = {
    name,
    cpu: 'none',
    cuda: 'none',
    backward({ grads, saved, attributes: { count, single } }) {
      const [inputs, outputs] = [saved.slice(0, count), saved.slice(count)];
      const gradients = outputs.map(
        (output, i) => grads[i] ?? zeros(output.shape, { device: output.device, dtype: gradientDtype(output) }),
      );
      const given = (single ? gradients[0] : gradients) as Output;
      const result = backward(given, { inputs, output: outputs[0], outputs });
      const list = Array.isArray(result) ? result : [result];
      if (list.length !== count)
        throw new ArgumentError(name, `${count} gradients from backward, one for each input`, `${list.length}`);
      return list.map((gradient, i) => checkGradient(name, gradient, inputs[i]));
    },
    tangent: tangent
      ? ({ parents, tangents, outputs }) =>
          tangent(tangents, { inputs: parents as readonly Tensor[], output: outputs[0], outputs })
      : notDifferentiable('give customGradient() a tangent rule for forward mode').tangent,
  };
  return (...inputs: Tensor[]): Output => {
    if (inputs.length === 0) throw new ArgumentError(name, 'at least one tensor', 'none');
    for (const input of inputs) checkSameDtype(name, [input]);
    const run = () => {
      const result = noGrad(() => forward(...inputs));
      // Each output is a handle of its own: forward may return an input, or the same tensor twice.
      return { single: !Array.isArray(result), outputs: tensorsOf(name, result).map((t) => view(t, t.shape)) };
    };
    const { single, outputs } = activeScope() ? run() : scope(run);
    apply(op, outputs, {
      parents: inputs,
      saved: [...inputs, ...outputs],
      attributes: { count: inputs.length, single },
    });
    return (single ? outputs[0] : outputs) as Output;
  };
}
