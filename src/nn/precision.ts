// In which dtype a network keeps its activations.
import { cast } from '../kernels/cast.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** x, f32, as activations are kept on its device: bf16 where that was opened so. */
export function asActivation(x: Tensor): Tensor {
  return x.device.precision === 'bf16' ? cast(x, 'bf16') : x;
}
