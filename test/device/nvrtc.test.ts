// cuda: every kernel file compiled by the real NVRTC for both architectures that are cared for. Needs libnvrtc (named by
// LIBNVRTC_PATH or where it is looked for), no GPU; without it these tests are skipped, and the reason is printed.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { cudaOptions } from '../../src/device/cuda/compiler.ts';
import { declaredModules } from '../../src/device/module.ts';
import { type Nvrtc, openNvrtc } from '../../src/device/native/libnvrtc.ts';
import { amalgamate } from '../../src/device/source.ts';
import '../../src/kernels/index.ts';
import '../../src/kernels/linears.ts';
import '../../src/kernels/ode.ts';
import '../../src/kernels/optimizer.ts';
import { compileStatistics, targets } from '../../bench/kernel_statistics.ts';

let nvrtc: Nvrtc | undefined;
try {
  nvrtc = openNvrtc();
} catch (error) {
  if (process.env.LIBNVRTC_PATH) throw error;
  process.stderr.write(`skipped: kernels compiled by the real NVRTC. ${(error as Error).message}\n`);
}

const modules = declaredModules().filter(({ language }) => language === 'cuda');

test.skipIf(!nvrtc)('PTX is text that ends in a zero, for cards that are newer than this NVRTC', () => {
  const [{ name, url, flags }] = modules;
  const { image } = (nvrtc as Nvrtc).compile(`${name}.cu`, amalgamate(url), cudaOptions('compute_80', flags));
  expect(new TextDecoder().decode(image)).toMatch(/\.target sm_80.*\.visible \.entry.*\0$/s);
});

const recorded = JSON.parse(readFileSync(new URL('../../bench/results/kernels-static.json', import.meta.url), 'utf8'));

describe.skipIf(!nvrtc).each(targets)('%s', (target) => {
  test.each(modules.map((module) => [module.name, module] as const))(
    '%s.cu',
    (name, module) => {
      const { kernels, log, bytes } = compileStatistics(nvrtc as Nvrtc, module, target);
      expect(bytes).toBeGreaterThan(1000);
      expect(log).not.toMatch(/warning/);
      expect(Object.keys(kernels).sort()).toEqual(Object.keys(module.kernels).sort());
      // A register that does not fit goes to memory, which is slow.
      for (const [kernel, { spilled }] of Object.entries(kernels)) expect(spilled, kernel).toBe(0);
      if (recorded.nvrtc === nvrtc?.version)
        expect(kernels, `${recorded.command} writes the record anew`).toEqual(recorded.builds[name]?.[target]);
    },
    60_000,
  );
});
