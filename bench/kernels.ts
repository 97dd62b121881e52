// Writes bench/results/kernels-static.json: every build of every CUDA kernel under the real NVRTC, and the machine code for sm_90a of the
// kernels of the official training step. It needs no GPU, but cuobjdump of CUDA 13 on the PATH (it is in the wheel of triton).
//   LIBNVRTC_PATH=.../libnvrtc.so.13 node --import jiti/register bench/kernels.ts
import { writeFileSync } from 'node:fs';
import { declaredModules } from '../src/device/module.ts';
import { openNvrtc } from '../src/device/native/libnvrtc.ts';
import '../src/kernels/index.ts';
import '../src/kernels/inner/linears.ts';
import '../src/kernels/inner/optimizer.ts';
import type { CodeFacts } from './code_facts.ts';
import { planStep } from './gpu/step_plan.ts';
import {
  codeStatistics,
  compileStatistics,
  findDisassembler,
  type KernelStatistics,
  kernelsOf,
  targetsOf,
} from './kernel_statistics.ts';
import { formatStatic } from './kernels_format.ts';

const nvrtc = openNvrtc();
const disassembler = findDisassembler();
if (!disassembler) throw new Error('there is no cuobjdump on the PATH or in CUDA_HOME');
const step = kernelsOf(planStep(128, 'bf16', { hopper: true }).nodes);
const modules = declaredModules().filter(({ language }) => language === 'cuda');
const builds: Record<string, Record<string, Record<string, KernelStatistics>>> = {};
const code: Record<string, Record<string, CodeFacts>> = {};
for (const module of modules.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
  builds[module.name] = Object.fromEntries(
    targetsOf(module).map((target) => [target, compileStatistics(nvrtc, module, target).kernels]),
  );
  const kernels = step.get(module.name);
  if (kernels) code[module.name] = codeStatistics(nvrtc, disassembler, module, kernels);
}

const command = 'node --import jiti/register bench/kernels.ts';
writeFileSync(
  new URL('results/kernels-static.json', import.meta.url),
  formatStatic({ nvrtc: nvrtc.version, command, builds, code }),
);
