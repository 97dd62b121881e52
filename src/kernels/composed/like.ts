// New tensors with the shape, the dtype and the device of another.
import { checkOptions } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { DtypeError } from '../../errors.ts';
import type { TensorOptions } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import { isFloating } from '../../tensor/dtype.ts';
import { createFilled, tensorOptions } from '../../tensor/host_numbers.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { cast } from '../cast.ts';
import { checkSameDtype } from '../op.ts';
import { type RandomOptions, randn, randomOptions, uniform } from '../random.ts';

/** The options that `x` leaves to it, completed by those of `x`. */
function optionsLike(op: string, x: Tensor, options: TensorOptions): Required<TensorOptions> {
  checkSameDtype(op, [x]);
  const { device = x.device, dtype = x.dtype, requiresGrad = false } = checkOptions(op, options, tensorOptions);
  return { device, dtype, requiresGrad };
}

/** A tensor that was made as f32, in another dtype and as a leaf. */
function inDtype(made: Tensor, { dtype, requiresGrad }: Required<TensorOptions>): Tensor {
  if (made.dtype === dtype) return made.requireGrad(requiresGrad);
  const y = noGrad(() => cast(made, dtype));
  made.dispose();
  return y.requireGrad(requiresGrad);
}

function filledLike(op: string, x: Tensor, value: number, options: TensorOptions): Tensor {
  const wanted = optionsLike(op, x, options);
  const dtype = isFloating(wanted.dtype) ? 'f32' : wanted.dtype;
  return inDtype(createFilled(op, x.shape, value, { device: wanted.device, dtype }), wanted);
}

/**
 * Every element 0, in the shape of x; dtype and device are those of x unless given.
 * @example zerosLike(tensor([1, 2, 3])); // [0, 0, 0]
 */
export function zerosLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const wanted = optionsLike('zerosLike', x, options);
  return zeros(x.shape, wanted);
}

/**
 * Every element 1, in the shape of x; dtype and device are those of x unless given.
 * @example onesLike(tensor([1, 2, 3])); // [1, 1, 1]
 */
export function onesLike(x: Tensor, options: TensorOptions = {}): Tensor {
  return filledLike('onesLike', x, 1, options);
}

/**
 * Every element `value`, in the shape of x; dtype and device are those of x unless given.
 * @throws ValueError for a value that an integer dtype cannot hold
 * @example fullLike(tensor([1, 2, 3]), 7); // [7, 7, 7]
 */
export function fullLike(x: Tensor, value: number, options: TensorOptions = {}): Tensor {
  return filledLike('fullLike', x, value, options);
}

/** Random numbers in the shape and dtype of x. */
function drawnLike(
  op: string,
  draw: (shape: Shape, options: RandomOptions) => Tensor,
  x: Tensor,
  options: RandomOptions,
): Tensor {
  checkSameDtype(op, [x]);
  if (!isFloating(x.dtype)) throw new DtypeError(op, 'a floating-point tensor', x.describe());
  const { device = x.device, requiresGrad = false, ...rest } = checkOptions(op, options, randomOptions, ['seed']);
  return inDtype(draw(x.shape, { ...rest, device }), { device, dtype: x.dtype, requiresGrad });
}

/**
 * Standard normal numbers in the shape and dtype of x: those of `randn` with the same options.
 * @example randnLike(tensor([1, 2, 3]), { seed: 1 }); // [0.3804, 0.7686, 0.3949]
 */
export function randnLike(x: Tensor, options: RandomOptions): Tensor {
  return drawnLike('randnLike', randn, x, options);
}

/**
 * Uniform numbers in [0, 1) in the shape and dtype of x: those of `uniform` with the same options. bf16 and f16 round the
 * largest to 1.
 * @example uniformLike(tensor([1, 2, 3]), { seed: 1 }); // [0.8903, 0.5127, 0.8993]
 */
export function uniformLike(x: Tensor, options: RandomOptions): Tensor {
  return drawnLike('uniformLike', uniform, x, options);
}
