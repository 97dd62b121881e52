// Allocation of tensors with memory of their own, as opposed to views; reports leaked tensors.
import { debugLevel, debugLine } from '../device/debug.ts';
import type { Device } from '../device/device.ts';
import { defaultDevice } from '../device/open.ts';
import { type Dtype, dtypes, requireFloating } from './dtype.ts';
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

let registry: FinalizationRegistry<{ storage: Storage; description: string; stack: string | undefined }> | undefined;

/** The debug level, read once because trackLeaks() runs for every new tensor. */
let level: number | undefined;

/**
 * With RECTIFLOW_DEBUG set, reports a tensor that was garbage-collected without having been disposed on standard error. This
 * does not manage memory: the garbage collector does not see device memory, so it cannot be relied on.
 */
function trackLeaks(tensor: Tensor): void {
  level ??= debugLevel();
  if (level === 0) return;
  registry ??= new FinalizationRegistry(({ storage, description, stack }) => {
    if (storage.references > 0)
      debugLine(1, `leak: ${description} was never disposed${stack ? `; made at\n${stack}` : ''}`);
  });
  const stack = level >= 2 ? new Error('made here').stack : undefined;
  registry.register(tensor, { storage: tensor.storage, description: tensor.describe(), stack });
}
