// Gradients of the reference by central differences in float64, so that it needs no hand-written backward:
//   dL/dx ~ (L(x + h) - L(x - h)) / 2h   with L = sum(outputs * cotangents).
// With h = 1e-4 the truncation error h^2 L'''/6 and the rounding error 1e-16 L / h both stay near 1e-9.
import { type Array64, array64 } from './array.ts';

const step = 1e-4;

export type Differentiable = (inputs: Array64[]) => Array64[];

function objective(f: Differentiable, inputs: Array64[], cotangents: readonly Array64[]): number {
  let total = 0;
  f(inputs).forEach((output, o) => {
    output.data.forEach((value, i) => {
      total += value * cotangents[o].data[i];
    });
  });
  return total;
}

/** The derivative of L along `direction`, an array of the shape of input `which`. */
export function directionalDerivative(
  f: Differentiable,
  inputs: readonly Array64[],
  cotangents: readonly Array64[],
  which: number,
  direction: Float64Array,
): number {
  const shifted = (h: number) =>
    inputs.map((input, i) =>
      i === which
        ? array64(
            input.shape,
            input.data.map((value, e) => value + h * direction[e]),
          )
        : input,
    );
  const forward = objective(f, shifted(step), cotangents);
  return (forward - objective(f, shifted(-step), cotangents)) / (2 * step);
}

/** dL/dx at single elements of input `which`. */
export function partialDerivatives(
  f: Differentiable,
  inputs: readonly Array64[],
  cotangents: readonly Array64[],
  which: number,
  elements: readonly number[],
): Float64Array {
  return Float64Array.from(elements, (element) => {
    const direction = new Float64Array(inputs[which].data.length);
    direction[element] = 1;
    return directionalDerivative(f, inputs, cotangents, which, direction);
  });
}
