// Faults planted in hot kernels, which the real NVRTC compiles: the gates of bench/code_gates.ts must name each of them in the machine code,
// and nothing without it. They need libnvrtc and cuobjdump but not a GPU; without them the tests are skipped, and the reason is printed.
import { expect, test } from 'vitest';
import { codeFacts } from '../../bench/code_facts.ts';
import { faultsOf } from '../../bench/code_gates.ts';
import { disassemble, findDisassembler } from '../../bench/kernel_statistics.ts';
import { declaredModules } from '../../src/device/module.ts';
import { type Nvrtc, openNvrtc } from '../../src/device/native/libnvrtc.ts';
import { amalgamate } from '../../src/device/source.ts';
import '../../src/kernels/conv/conv.ts';
import '../../src/kernels/group_norm.ts';

let nvrtc: Nvrtc | undefined;
try {
  nvrtc = openNvrtc();
} catch (error) {
  if (process.env.LIBNVRTC_PATH) throw error;
  process.stderr.write(`skipped: faults planted in machine code. ${(error as Error).message}\n`);
}
const disassembler = findDisassembler();
if (nvrtc && !disassembler)
  process.stderr.write('skipped: faults planted in machine code. There is no cuobjdump on the PATH or in CUDA_HOME\n');

interface Planted {
  what: string;
  /** The module and the kernel whose machine code is checked. */
  module: string;
  kernel: string;
  line: string;
  into: string;
  names: string;
}

const norm = { module: 'inner/group_norm_slices.bf16', kernel: 'group_norm_slices_forward_masked' };
const convolution = { module: 'conv/hopper.128x128', kernel: 'conv_hopper_forward' };
const product = { module: 'conv/conv.bf16.64', kernel: 'conv_forward' };
const serial = 'loads one after the other where sums are written';

const planted: readonly Planted[] = [
  {
    what: 'loads of 2 bytes in group norm',
    ...norm,
    line: 'DEVICE packed load(const real *x) { return *(const uint4 *)x; }',
    into: `DEVICE packed load(const real *x) {
  u32 all[8];
  for (int i = 0; i < 8; i++) all[i] = x[i].bits;
  return {all[0] | all[1] << 16, all[2] | all[3] << 16, all[4] | all[5] << 16, all[6] | all[7] << 16};
}`,
    names: 'loads or stores of 2 bytes',
  },
  {
    what: 'a division for each element in group norm',
    ...norm,
    line: 'asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));',
    into: 'y = (float)(1048576 / ((int)x + 1));',
    names: 'divisions in loops over pixels',
  },
  {
    what: 'a division in each step of a convolution',
    ...convolution,
    line: 'if ((channel += STEP) < g.in) return;',
    into: 'if ((channel = (channel + STEP) % g.in) > 0) return;',
    names: 'divisions in inner loops',
  },
  {
    what: 'addends of a convolution that are waited for one by one',
    ...convolution,
    line: 'chunk + (u64)at * (u32)width, true);',
    into: 'chunk + (u64)at * (u32)width, true), copy_async_commit(), copy_async_wait<0>();',
    names: serial,
  },
  {
    what: 'addends of a portable product that are loaded right before each store',
    ...product,
    line: 'if (row + 8 * i < rows) c.store(row + 8 * i, column, sum, bias, more[i]);',
    into: 'if (row + 8 * i < rows) c.load(more[i], row + 8 * i, column), c.store(row + 8 * i, column, sum, bias, more[i]);',
    names: serial,
  },
  {
    what: 'stores of 2 bytes in a portable product',
    ...product,
    line: 'else *(several<real, N> *)((real *)c + at(row, column)) = rounded;',
    into: 'else for (int i = 0; i < N; i++) ((real *)c)[at(row, column) + i] = rounded.of[i];',
    names: 'narrow loads or stores where sums are written',
  },
];

test.skipIf(!nvrtc || !disassembler).each(planted)(
  'the gates refuse $what',
  ({ module: name, kernel, line, into, names }) => {
    const module = declaredModules().find((one) => one.language === 'cuda' && one.name === name);
    if (!module) throw new Error(`there is no module ${name}`);
    const source = amalgamate(module.url);
    expect(source.split(line).length, `places of "${line}"`).toBe(2);
    const facts = codeFacts(disassemble(nvrtc as Nvrtc, disassembler as string, module, source.replace(line, into)));
    expect(faultsOf(kernel, facts[kernel])).toContain(names);
  },
  60_000,
);
