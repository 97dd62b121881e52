// What a backward function of a program returns, checked before the pass continues.
import { gradientDtype } from '../../autograd/cotangent.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { sameShape } from '../../tensor/shape.ts';
import { requireTensor, type Tensor } from '../../tensor/tensor.ts';

/** @throws ShapeError, ArgumentError for what a backward function of a program returns for an input */
export function checkGradient(name: string, gradient: unknown, input: Tensor): Tensor | null {
  if (gradient === null) return null;
  requireTensor(name, gradient, 'a backward function that returns tensors, or null for an input without a gradient');
  const dtype = gradientDtype(input);
  if (!sameShape(gradient.shape, input.shape) || gradient.dtype !== dtype)
    throw new ShapeError(name, `a gradient ${dtype} ${formatShape(input.shape)} from backward`, gradient.describe());
  return gradient;
}
