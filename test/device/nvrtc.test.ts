// Every CUDA kernel file, compiled by the real NVRTC for both supported architectures. Needs libnvrtc (in LIBNVRTC_PATH or in a
// default folder) but not a GPU; without it these tests are skipped, and the reason is printed.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { cudaOptions } from '../../src/device/cuda/compiler.ts';
import { declaredModules } from '../../src/device/module.ts';
import { type Nvrtc, openNvrtc } from '../../src/device/native/libnvrtc.ts';
import { amalgamate } from '../../src/device/source.ts';
import { hopperBuilds } from '../../src/kernels/conv/hopper.ts';
import '../../src/kernels/index.ts';
import '../../src/kernels/inner/leaf_gradients.ts';
import '../../src/kernels/inner/linears.ts';
import '../../src/kernels/inner/optimizer.ts';
import '../../bench/gpu/step_plan.ts';
import {
  codeStatistics,
  compileStatistics,
  disassemble,
  findDisassembler,
  targets,
  targetsOf,
} from '../../bench/kernel_statistics.ts';

let nvrtc: Nvrtc | undefined;
try {
  nvrtc = openNvrtc();
} catch (error) {
  if (process.env.LIBNVRTC_PATH) throw error;
  process.stderr.write(`skipped: kernels compiled by the real NVRTC. ${(error as Error).message}\n`);
}

const modules = declaredModules().filter(({ language }) => language === 'cuda');

test.skipIf(!nvrtc)('produces zero-terminated PTX for cards newer than this NVRTC', () => {
  const [{ name, url, flags }] = modules;
  const { image } = (nvrtc as Nvrtc).compile(`${name}.cu`, amalgamate(url), cudaOptions('compute_80', flags));
  expect(new TextDecoder().decode(image)).toMatch(/\.target sm_80.*\.visible \.entry.*\0$/s);
});

const disassembler = findDisassembler();
if (nvrtc && !disassembler)
  process.stderr.write('skipped: machine code of sm_90a. There is no cuobjdump on the PATH or in CUDA_HOME\n');

// Warpgroup products, and copies of boxes and patches by tensor maps.
test.skipIf(!nvrtc).each(hopperBuilds)(
  'PTX of convolutions in tiles of $rows x $columns by $together',
  ({ columns, module: { name, url, flags } }) => {
    const { image } = (nvrtc as Nvrtc).compile(`${name}.cu`, amalgamate(url), cudaOptions('compute_90a', flags));
    const text = new TextDecoder().decode(image);
    expect(text).toContain(`wgmma.mma_async.sync.aligned.m64n${columns}k16.f32.bf16.bf16`);
    expect(text).toMatch(/cp\.async\.bulk\.tensor\.2d\S*tile/);
    expect(text).toMatch(/cp\.async\.bulk\.tensor\.4d\S*im2col/);
  },
);

test.skipIf(!nvrtc || !disassembler).each(hopperBuilds)(
  'machine code of convolutions in tiles of $rows x $columns by $together',
  ({ columns, module }) => {
    const text = disassemble(nvrtc as Nvrtc, disassembler as string, module);
    expect(text).toContain(`HGMMA.64x${columns}x16.F32.BF16`);
    expect(text).toMatch(/UTMALDG\.2D/);
    expect(text).toMatch(/UTMALDG\.4D\.IM2COL/);
  },
);

const recorded = JSON.parse(readFileSync(new URL('../../bench/results/kernels-static.json', import.meta.url), 'utf8'));

describe.skipIf(!nvrtc).each(targets)('%s', (target) => {
  const built = modules.filter((module) => targetsOf(module).includes(target));
  test.each(built.map((module) => [module.name, module] as const))(
    '%s.cu',
    (name, module) => {
      const { kernels, log, bytes } = compileStatistics(nvrtc as Nvrtc, module, target);
      expect(bytes).toBeGreaterThan(1000);
      expect(log).not.toMatch(/warning|Performance Loss/);
      expect(Object.keys(kernels).sort()).toEqual(Object.keys(module.kernels).sort());
      // A register that does not fit is spilled to memory, which is slow.
      for (const [kernel, { spilled }] of Object.entries(kernels)) expect(spilled, kernel).toBe(0);
      if (recorded.nvrtc === nvrtc?.version)
        expect(kernels, `${recorded.command} writes the record anew`).toEqual(recorded.builds[name]?.[target]);
    },
    60_000,
  );
});

// test/gpu/code_gates.test.ts checks the record; here it is compared with what NVRTC makes of the kernels today.
const disassembled = modules.filter(({ name }) => recorded.code[name]);
test
  .skipIf(!nvrtc || !disassembler || recorded.nvrtc !== nvrtc.version)
  .each(disassembled.map((module) => [module.name, module] as const))(
  'the recorded machine code of %s',
  (name, module) => {
    const kernels = new Set(Object.keys(recorded.code[name]));
    const facts = codeStatistics(nvrtc as Nvrtc, disassembler as string, module, kernels);
    expect(JSON.parse(JSON.stringify(facts)), `${recorded.command} writes the record anew`).toEqual(
      recorded.code[name],
    );
  },
  120_000,
);
