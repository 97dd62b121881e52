// The portable CUDA kernels of dense convolutions.
import { productModules } from '../launch/product.ts';

export const convCuda = productModules('kernels/conv/conv.cu', {
  conv_forward: 'ptr ptr ptr ptr ptr ptr ptr f32 i32 ptr i32',
  conv_input_gradient: 'ptr ptr ptr ptr f32 i32',
  conv_weight_gradient: 'ptr ptr ptr ptr i32 i32 ptr i32',
});
