// An op whose function and rules a program wrote: what customGradient() and defineOp() share.
import { gradientDtype } from '../../autograd/cotangent.ts';
import { ArgumentError, formatShape, ShapeError } from '../../errors.ts';
import { zeros } from '../../tensor/create.ts';
import { sameShape } from '../../tensor/shape.ts';
import { describeOperand, requireTensor, type Tensor, tensorsOf } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { apply, notDifferentiable, type Op } from '../op.ts';

/** What a backward or tangent rule may read besides gradients. */
export interface OpValues<Options> {
  readonly inputs: readonly Tensor[];
  /** The first output. */
  readonly output: Tensor;
  readonly outputs: readonly Tensor[];
  readonly options: Options;
}

/** The rules of a program, or the reason why one is missing. */
interface ProgramRules<Options, Output> {
  name: string;
  /** Returns a list of one gradient for each input. */
  backward: ((gradient: Output, values: OpValues<Options>) => unknown) | string;
  tangent:
    | ((tangents: readonly (Tensor | null)[], values: OpValues<Options>) => Tensor | readonly (Tensor | null)[])
    | string;
}

interface Attributes {
  count: number;
  single: boolean;
  options: unknown;
}

/**
 * @returns a function that ends each call: it gives `result`, a tensor or a list, its place in the gradient graph
 * @throws ArgumentError, ShapeError in backward for gradients that do not fit the inputs
 */
export function programOp<Options, Output extends Tensor | Tensor[]>({
  name,
  backward,
  tangent,
}: ProgramRules<Options, Output>): (
  inputs: readonly Tensor[],
  result: Output,
  options: Options,
  /** Tensors that forward made itself. Any other is returned as a new handle, which the graph may mark. */
  made?: ReadonlySet<Tensor>,
) => Output {
  const valuesOf = (inputs: readonly Tensor[], outputs: readonly Tensor[], options: unknown): OpValues<Options> => ({
    inputs,
    output: outputs[0],
    outputs,
    options: options as Options,
  });
  const op: Op<Attributes> = {
    name,
    cpu: 'none',
    cuda: 'none',
    backward:
      typeof backward === 'string'
        ? notDifferentiable(backward).backward
        : ({ grads, saved, attributes: { count, single, options } }) => {
            const values = valuesOf(saved.slice(0, count), saved.slice(count), options);
            const gradients = values.outputs.map(
              (output, i) => grads[i] ?? zeros(output.shape, { device: output.device, dtype: gradientDtype(output) }),
            );
            const list = backward((single ? gradients[0] : gradients) as Output, values);
            if (!Array.isArray(list) || list.length !== count)
              throw new ArgumentError(
                name,
                `${count} gradients from backward, one for each input`,
                Array.isArray(list) ? `${list.length}` : describeOperand(list),
              );
            return list.map((gradient, i) => checkGradient(name, gradient, values.inputs[i]));
          },
    tangent:
      typeof tangent === 'string'
        ? notDifferentiable(tangent).tangent
        : ({ parents, tangents, outputs, attributes: { options } }) =>
            tangent(tangents, valuesOf(parents as readonly Tensor[], outputs, options)),
  };
  return (inputs, result, options, made) => {
    const single = !Array.isArray(result);
    const outputs = tensorsOf(name, result).map((t) => (made?.has(t) ? t : view(t, t.shape)));
    const saved = typeof backward === 'string' ? [] : [...inputs, ...outputs];
    apply(op, outputs, { parents: inputs, saved, attributes: { count: inputs.length, single, options } });
    return (single ? outputs[0] : outputs) as Output;
  };
}

function checkGradient(name: string, gradient: unknown, input: Tensor): Tensor | null {
  if (gradient === null) return null;
  requireTensor(name, gradient, 'a backward function that returns tensors, or null for an input without a gradient');
  const dtype = gradientDtype(input);
  if (!sameShape(gradient.shape, input.shape) || gradient.dtype !== dtype)
    throw new ShapeError(name, `a gradient ${dtype} ${formatShape(input.shape)} from backward`, gradient.describe());
  return gradient;
}
