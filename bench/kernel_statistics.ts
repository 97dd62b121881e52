// What the CUDA compiler says of a kernel: registers of a thread, what does not fit into them, shared memory of a block.
import { cudaOptions } from '../src/device/cuda/compiler.ts';
import type { AnyModule } from '../src/device/module.ts';
import type { Nvrtc } from '../src/device/native/libnvrtc.ts';
import { amalgamate } from '../src/device/source.ts';

export interface KernelStatistics {
  registers: number;
  /** Bytes that a thread writes to memory for want of registers. */
  spilled: number;
  /** Bytes, static; dynamic memory is part of a LaunchGrid. */
  shared: number;
}

/** The architectures that are cared for: the oldest, and the fastest. */
export const targets = ['sm_80', 'sm_90a'] as const;

/** Those that a module is for. */
export function targetsOf(module: AnyModule): string[] {
  return targets.filter((target) => module.language !== 'cuda' || !module.target || module.target === target);
}

const report =
  /Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers(?:, used \d+ barriers)?(?:, (\d+) bytes smem)?/gs;

/** By kernel; also the compiler's whole log and the size of the binary. */
export function compileStatistics(
  nvrtc: Nvrtc,
  { name, url, flags }: AnyModule,
  target: string,
): { kernels: Record<string, KernelStatistics>; log: string; bytes: number } {
  const options = [...cudaOptions(target, flags), '--ptxas-options=-v'];
  const { image, log } = nvrtc.compile(`${name}.cu`, amalgamate(url), options);
  const kernels: Record<string, KernelStatistics> = {};
  for (const [, kernel, spilled, registers, shared = '0'] of log.matchAll(report))
    kernels[kernel] = { registers: Number(registers), spilled: Number(spilled), shared: Number(shared) };
  return { kernels, log, bytes: image.length };
}
