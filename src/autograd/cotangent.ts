// The gradient that a backward pass starts from.
import { DeviceError, DtypeError, formatShape, ShapeError } from '../errors.ts';
import { ones } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import { arithmetic } from './arithmetic.ts';
import { noGrad } from './mode.ts';

/**
 * The gradient of `root` itself: the cotangent, or 1 for a tensor of one element. The caller owns it.
 * @throws ShapeError, DtypeError, DeviceError for a cotangent that does not fit
 */
export function startingGradient(root: Tensor, cotangent: Tensor | undefined): Tensor {
  return noGrad(() =>
    scope(() => {
      const gradient = cotangent === undefined ? oneFor(root) : checkCotangent(root, cotangent);
      const dtype = gradientDtype(root);
      return alias(gradient.dtype === dtype ? gradient : arithmetic().convert(gradient, dtype));
    }),
  );
}

/** bf16 for a bf16 tensor on a device that computes in bf16, otherwise f32. */
export function gradientDtype({ device, dtype }: Tensor): 'f32' | 'bf16' {
  return device.computesBf16 && dtype === 'bf16' ? 'bf16' : 'f32';
}

function oneFor(root: Tensor): Tensor {
  if (root.size !== 1)
    throw new ShapeError('backward', 'a tensor of one element, or a cotangent of its shape', formatShape(root.shape));
  return ones(root.shape, { device: root.device });
}

function checkCotangent(root: Tensor, cotangent: Tensor): Tensor {
  requireTensor('backward', cotangent, 'a cotangent that is a tensor');
  cotangent.assertAlive('backward()');
  if (cotangent.device !== root.device)
    throw new DeviceError(`[backward] expected a cotangent on ${root.device.name}, got ${cotangent.device.name}`);
  if (!sameShape(cotangent.shape, root.shape))
    throw new ShapeError('backward', `a cotangent ${formatShape(root.shape)}`, formatShape(cotangent.shape));
  if (cotangent.dtype !== 'f32') throw new DtypeError('backward', 'a cotangent f32', cotangent.dtype);
  return cotangent;
}
