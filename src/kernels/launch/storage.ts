// Chooses the build of a .cu file for a tensor: there is one for each dtype of activations. On CUDA, ops whose docs say
// so take f32 and bf16; on the CPU bf16 is for storage only.
import type { Device } from '../../device/device.ts';
import { type CudaLaunchers, type CudaModule, cudaModule, type Signature } from '../../device/module.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** A dtype that activations may have. */
export type Activation = 'f32' | 'bf16';

/** The builds of one .cu file whose `real` is f32 or bf16: see storage.cuh. */
export type StorageModules<Names extends string = string> = Readonly<Record<Activation, CudaModule<Names>>>;

/**
 * Declares both builds of a file.
 * @param twins for a file of fast kernels: the builds of the portable ones (see device/fast_builds.ts)
 */
/* @__NO_SIDE_EFFECTS__ */
export function storageModules<Names extends string>(
  path: string,
  kernels: Readonly<Record<Names, Signature>>,
  { flags = [], twins }: { flags?: readonly string[]; twins?: StorageModules } = {},
): StorageModules<Names> {
  const bf16 = { flags: [...flags, '-DSTORAGE_BF16'], variant: 'bf16', precisions: ['bf16'] as const };
  return {
    f32: cudaModule(path, kernels, { flags, twin: twins?.f32 }),
    bf16: cudaModule(path, kernels, { ...bf16, twin: twins?.bf16 }),
  };
}

/** The kernels for activations of that dtype. */
export function kernelsFor<Names extends string>(
  modules: StorageModules<Names>,
  device: Device,
  dtype: Tensor['dtype'],
): CudaLaunchers<Names> {
  return device.load(modules[dtype as Activation]);
}
