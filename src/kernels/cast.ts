// Conversion between dtypes. f32 is the hub: other pairs go through it.
import { cudaModule, kernelModule } from '../device/module.ts';
import { empty } from '../tensor/create.ts';
import { type Dtype, isFloating } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { perElement } from './geometry.ts';
import { apply, checkOperands, defineOp, notDifferentiable } from './op.ts';

const CONVERSION = 'ptr ptr i32';

const conversions = {
  cast_to_bf16: CONVERSION,
  cast_to_f16: CONVERSION,
  cast_to_i32: CONVERSION,
  cast_to_u8: CONVERSION,
  cast_to_bool: CONVERSION,
  cast_from_bf16: CONVERSION,
  cast_from_f16: CONVERSION,
  cast_from_i32: CONVERSION,
  cast_from_u8: CONVERSION,
};

export const castKernels = kernelModule(import.meta.url, './cast.c', conversions);
const cudaKernels = cudaModule(import.meta.url, './cast.cu', conversions);

type Name = keyof typeof castKernels.kernels;

function converted(x: Tensor, kernel: Name, dtype: Dtype): Tensor {
  const y = empty(x.shape, { device: x.device, dtype });
  const { device, size } = x;
  if (size === 0) return y;
  if (device.kind === 'cuda') device.load(cudaKernels)[kernel](perElement(size), x.address, y.address, size);
  else device.load(castKernels)[kernel](x.address, y.address, size);
  return y;
}

/** The gradient of a rounding is taken as 1; it is f32 whatever the dtypes. */
export const castOp = defineOp({
  name: 'cast',
  cpu: castKernels,
  cuda: cudaKernels,
  backward: ({ grad }) => [view(grad, grad.shape)],
});

export const castToWholeOp = defineOp({
  name: 'cast',
  cpu: castKernels,
  cuda: cudaKernels,
  backward: notDifferentiable('whole numbers have no gradient'),
});

/** x in another dtype. f32 to i32 and u8 cuts towards zero and clamps, NaN becomes 0; to bool: whether it is not 0. */
export function cast(x: Tensor, dtype: Dtype): Tensor {
  checkOperands('cast', [x], x.dtype);
  const op = isFloating(dtype) ? castOp : castToWholeOp;
  const from = { f32: undefined, bf16: 'bf16', f16: 'f16', i32: 'i32', u8: 'u8', bool: 'u8' }[x.dtype];
  if (x.dtype === dtype) return apply(op, view(x, x.shape), { parents: [x] });
  const wide = from ? converted(x, `cast_from_${from}` as Name, 'f32') : x;
  if (dtype === 'f32') return apply(op, wide, { parents: [x] });
  const y = converted(wide, `cast_to_${dtype}` as Name, dtype);
  if (wide !== x) wide.dispose();
  return apply(op, y, { parents: [x] });
}
