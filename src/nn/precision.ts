// The dtype of a network's activations.
import { cast } from '../kernels/cast.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Casts f32 to the activation dtype of its device: bf16 if the device was opened with that precision. */
export function asActivation(x: Tensor): Tensor {
  return x.device.precision === 'bf16' ? cast(x, 'bf16') : x;
}
