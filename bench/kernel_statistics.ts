// The CUDA compiler's statistics of a kernel: registers and spills per thread, shared memory per block; and its machine code.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cudaOptions } from '../src/device/cuda/compiler.ts';
import type { AnyModule } from '../src/device/module.ts';
import type { Nvrtc } from '../src/device/native/libnvrtc.ts';
import { amalgamate } from '../src/device/source.ts';
import { type CodeFacts, codeFacts } from './code_facts.ts';
import type { PlannedNode } from './gpu/planning_device.ts';

export interface KernelStatistics {
  registers: number;
  /** Bytes that a thread spills to memory. */
  spilled: number;
  /** Static bytes; a launch adds dynamic ones. */
  shared: number;
}

/** The supported architectures: the oldest and the fastest. */
export const targets = ['sm_80', 'sm_90a'] as const;

/** The architectures that a module is built for. */
export function targetsOf(module: AnyModule): string[] {
  return targets.filter((target) => module.language !== 'cuda' || !module.target || module.target === target);
}

const report =
  /Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers(?:, used \d+ barriers)?(?:, (\d+) bytes smem)?/gs;

/** Statistics by kernel, with the compiler's log and the size of the binary. */
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

/** The first cuobjdump on the PATH or in CUDA_HOME; undefined if there is none. The wheel of triton contains one too. */
export function findDisassembler(): string | undefined {
  return ['cuobjdump', join(process.env.CUDA_HOME ?? '/usr/local/cuda', 'bin/cuobjdump')].find(
    (command) => spawnSync(command, ['--version']).status === 0,
  );
}

/** The machine code of a module as text. @param source instead of the module's own, for tests */
export function disassemble(
  nvrtc: Nvrtc,
  disassembler: string,
  { name, url, flags }: AnyModule,
  source = amalgamate(url),
): string {
  const { image } = nvrtc.compile(`${name}.cu`, source, cudaOptions('sm_90a', flags));
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-sass-'));
  try {
    writeFileSync(join(folder, 'image.cubin'), image);
    const { status, stdout, stderr } = spawnSync(disassembler, ['-sass', join(folder, 'image.cubin')], {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
    if (status !== 0) throw new Error(`${disassembler} failed: ${stderr}`);
    return stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The kernels of a planned step by module. */
export function kernelsOf(nodes: readonly PlannedNode[]): Map<string, Set<string>> {
  const kernels = new Map<string, Set<string>>();
  for (const { kind, name, module = '' } of nodes)
    if (kind === 'kernel') kernels.set(module, (kernels.get(module) ?? new Set<string>()).add(name));
  return kernels;
}

/** What is known of the machine code of some kernels of a module. */
export function codeStatistics(
  nvrtc: Nvrtc,
  disassembler: string,
  module: AnyModule,
  kernels: ReadonlySet<string>,
): Record<string, CodeFacts> {
  const facts = codeFacts(disassemble(nvrtc, disassembler, module));
  return Object.fromEntries([...kernels].sort().map((name) => [name, facts[name]]));
}
