// Conversion between dtypes without a gradient. Pairs of dtypes without f32 are converted through f32.
import { cudaModule, kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';

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

export const castKernels = kernelModule('kernels/cast.c', conversions);
export const castCuda = cudaModule('kernels/cast.cu', conversions);

type Name = keyof typeof castKernels.kernels;

/** The name of a dtype in the names of kernels. */
const names = { bf16: 'bf16', f16: 'f16', i32: 'i32', u8: 'u8', bool: 'u8' } as const;

/** x in that dtype; x itself if it already has it. */
export function convertDtype(x: Tensor, dtype: Dtype): Tensor {
  if (x.dtype === dtype) return x;
  const wide = x.dtype === 'f32' ? x : launch(x, `cast_from_${names[x.dtype]}`, 'f32');
  if (dtype === 'f32') return wide;
  const y = launch(wide, `cast_to_${dtype}`, dtype);
  if (wide !== x) wide.dispose();
  return y;
}

/** Writes x (f32) as bf16 to y, which has as many elements. */
export function writeBf16(x: Tensor, y: Tensor): void {
  run(x, 'cast_to_bf16', y);
}

function launch(x: Tensor, kernel: Name, dtype: Dtype): Tensor {
  const y = allocate(x.shape, { device: x.device, dtype });
  run(x, kernel, y);
  return y;
}

function run({ device, address, size }: Tensor, kernel: Name, y: Tensor): void {
  if (size === 0) return;
  if (device.kind === 'cuda') device.load(castCuda)[kernel](perElement(size, 8), address, y.address, size);
  else device.load(castKernels)[kernel](address, y.address, size);
}
