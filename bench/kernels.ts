// Writes bench/results/kernels-static.json: every build of every CUDA kernel under the real NVRTC, which needs no GPU.
//   LIBNVRTC_PATH=.../libnvrtc.so.13 node --import jiti/register bench/kernels.ts
import { writeFileSync } from 'node:fs';
import { declaredModules } from '../src/device/module.ts';
import { openNvrtc } from '../src/device/native/libnvrtc.ts';
import '../src/kernels/index.ts';
import '../src/kernels/inner/linears.ts';
import '../src/kernels/inner/optimizer.ts';
import { compileStatistics, type KernelStatistics, targetsOf } from './kernel_statistics.ts';

const nvrtc = openNvrtc();
const modules = declaredModules().filter(({ language }) => language === 'cuda');
const builds: Record<string, Record<string, Record<string, KernelStatistics>>> = {};
for (const module of modules.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
  builds[module.name] = Object.fromEntries(
    targetsOf(module).map((target) => [target, compileStatistics(nvrtc, module, target).kernels]),
  );

const command = 'node --import jiti/register bench/kernels.ts';
const text = JSON.stringify({ nvrtc: nvrtc.version, command, builds }, null, 1);
// One kernel per line.
const lines = text.replace(/\{\n\s+("registers".*)\n\s+(.*)\n\s+(.*)\n\s+\}/g, '{ $1 $2 $3 }');
writeFileSync(new URL('results/kernels-static.json', import.meta.url), `${lines}\n`);
