// cuda: every kernel file compiled by the real NVRTC for both architectures that are cared for. Needs libnvrtc (named by
// LIBNVRTC_PATH or where it is looked for), no GPU; without it these tests are skipped, and the reason is printed.
import { describe, expect, test } from 'vitest';
import { cudaOptions } from '../../src/device/cuda/compiler.ts';
import { declaredModules } from '../../src/device/module.ts';
import { type Nvrtc, openNvrtc } from '../../src/device/native/libnvrtc.ts';
import { amalgamate } from '../../src/device/source.ts';
import '../../src/kernels/index.ts';
import '../../src/kernels/ode.ts';
import '../../src/kernels/optimizer.ts';

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

describe.skipIf(!nvrtc).each(['sm_80', 'sm_90a'])('%s', (target) => {
  test.each(modules.map((module) => [module.name, module] as const))('%s.cu', (name, { url, flags }) => {
    const options = [...cudaOptions(target, flags), '--ptxas-options=-v'];
    const { image, log } = (nvrtc as Nvrtc).compile(`${name}.cu`, amalgamate(url), options);
    expect(image.length).toBeGreaterThan(1000);
    expect(log).not.toMatch(/warning/);
    // A register that does not fit goes to memory, which is slow.
    const spills = [...log.matchAll(/(\d+) bytes spill stores/g)].map(([, bytes]) => Number(bytes));
    expect(spills.length).toBeGreaterThan(0);
    expect(Math.max(...spills)).toBe(0);
  });
});
