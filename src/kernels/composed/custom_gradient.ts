// A function with a gradient of its own: what PyTorch writes as an autograd.Function and JAX as custom_vjp.
import { checkArgument, checkOptions, kinds, type OptionKinds, refuseExtra } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { ArgumentError } from '../../errors.ts';
import { activeScope, scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type OpValues, programOp } from '../inner/program_op.ts';
import { checkSameDtype } from '../op.ts';

/** What forward took and returned; a backward or tangent rule may read all of it. */
export type CustomGradientContext = Omit<OpValues<undefined>, 'options'>;

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
 * const roundThrough = customGradient((x) => round(x), (gradient) => gradient);
 * const reverse = customGradient((x) => x, (gradient) => neg(gradient));
 * const x = tensor([0.4, 1.6], { requiresGrad: true });
 * roundThrough(x); // [0, 2]
 * gradients(sum(roundThrough(x)), [x]); // [[1, 1]]
 * gradients(sum(reverse(x)), [x]); // [[-1, -1]]
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

  const finish = programOp<undefined, Output>({
    name,
    backward(gradient, values) {
      const result = backward(gradient, values);
      return Array.isArray(result) ? result : [result];
    },
    tangent: tangent ?? 'give customGradient() a tangent rule for forward mode',
  });
  return (...inputs: Tensor[]): Output => {
    if (inputs.length === 0) throw new ArgumentError(name, 'at least one tensor', 'none');
    for (const input of inputs) checkSameDtype(name, [input]);
    const run = () =>
      finish(
        inputs,
        noGrad(() => forward(...inputs)),
        undefined,
      );
    return activeScope() ? run() : scope(run);
  };
}
