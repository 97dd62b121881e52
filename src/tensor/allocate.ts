// Allocates every tensor that has its own memory.
import type { Device } from '../device/device.ts';
import { defaultDevice } from '../device/open.ts';
import { type Dtype, dtypes, requireFloating } from './dtype.ts';
import { trackLeaks } from './leaks.ts';
import { activeScope } from './scope.ts';
import { checkSize, type Shape } from './shape.ts';
import { Storage } from './storage.ts';
import { Tensor } from './tensor.ts';

export interface TensorOptions {
  /** Default: the device opened first. */
  device?: Device;
  /** Default 'f32'. */
  dtype?: Dtype;
  requiresGrad?: boolean;
}

/**
 * Like `empty`, without checking shape and options. Ops allocate their results with it.
 * @throws ShapeError for more elements than kernels can count
 */
export function allocate(
  shape: Shape,
  { device = defaultDevice(), dtype = 'f32', requiresGrad = false }: TensorOptions,
): Tensor {
  if (requiresGrad) requireFloating('requireGrad', dtype);
  const made = new Tensor(new Storage(device, checkSize(shape) * dtypes[dtype].bytes), 0, shape, dtype);
  made.requiresGrad = requiresGrad;
  activeScope()?.adopt(made);
  trackLeaks(made);
  return made;
}
