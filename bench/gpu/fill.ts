// Fills a cache with the kernels of one architecture by NVRTC, without a card, so that they need not be compiled on its host.

import { loadCompanions } from '../../src/device/companions.ts';
import { CudaCompiler } from '../../src/device/cuda/compiler.ts';
import { type CudaModule, declaredModules } from '../../src/device/module.ts';
import { openNvrtc } from '../../src/device/native/libnvrtc.ts';
import '../../src/kernels/index.ts';

/**
 * Compiles into the cache that RECTIFLOW_CACHE names. It serves hosts with the same version of NVRTC.
 * @param architecture such as sm_90a
 * @returns how many modules there are
 */
export async function fillCache(architecture: string): Promise<number> {
  await loadCompanions('cuda');
  const modules = declaredModules()
    .filter((module): module is CudaModule => module.language === 'cuda')
    .filter(({ target }) => target === undefined || target === architecture);
  await new CudaCompiler(openNvrtc(), { name: architecture, binary: 'cubin' }).fill(modules);
  return modules.length;
}
