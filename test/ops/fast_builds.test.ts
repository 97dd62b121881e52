// The fast builds of kernels on CUDA: each names its portable twin and has a check that runs all its kernels, every CUDA kernel file is
// the only one for its work or has a twin, and on the emulated card all of them agree.
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { loadCompanions } from '../../src/device/companions.ts';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { Precision } from '../../src/device/device.ts';
import { checkOf } from '../../src/device/fast_builds.ts';
import { type CudaModule, declaredModules } from '../../src/device/module.ts';
import { ops } from '../../src/kernels/index.ts';
import '../../src/kernels/inner/flow_inputs.ts';
import '../../src/kernels/inner/linears.ts';
import '../../src/kernels/inner/optimizer.ts';
import { full } from '../support/devices.ts';
import { fakeCuda } from '../support/fakecuda.ts';

Object.assign(process.env, fakeCuda(), { RECTIFLOW_CACHE: 'off' });
await loadCompanions('cuda');

const modules = declaredModules().filter((module): module is CudaModule => module.language === 'cuda');
const fast = modules.filter(({ twin }) => twin);
const fileOf = ({ url }: CudaModule) => fileURLToPath(url).replace(/^.*\/kernels\//, '');

/** Files of portable kernels that are not of an op by its name in the table, by what they are for. */
const others: Record<string, string> = {
  'conv/grouped.cu': 'convolutions with groups or dilation',
  'inner/accumulate.cu': 'sums of gradients',
  'inner/flow_inputs.cu': 'paths and embeddings of times',
  'inner/indices.cu': 'checks of indices',
  'inner/leaf_gradients.cu': 'gradients of parameters',
  'inner/optimizer.cu': 'the update',
};

test('every file of CUDA kernels belongs to an op, is fast and has a twin, or is listed as the only one for its work', () => {
  const ofOps = Object.values(ops).flatMap(({ cuda }) =>
    cuda === 'none' ? [] : 'url' in cuda ? [cuda] : Object.values(cuda as Record<string, CudaModule>).flat(),
  );
  const files = new Set(ofOps.flatMap((one) => ('url' in one ? [fileOf(one)] : [])));
  const twins = new Set(fast.flatMap((build) => [fileOf(build), fileOf(build.twin as CudaModule)]));
  const rest = modules.map(fileOf).filter((file) => !files.has(file) && !twins.has(file));
  expect([...new Set(rest)].sort()).toEqual(Object.keys(others).sort());
});

test('every build on tensor cores or for one target has a twin, and no twin has one', () => {
  const special = modules.filter(({ flags, target }) => target !== undefined || flags.includes('-DTENSOR_CORES'));
  expect(special.filter(({ twin }) => !twin).map(({ name }) => name)).toEqual([]);
  expect(fast.filter(({ twin }) => twin?.twin).map(({ name }) => name)).toEqual([]);
  expect(fast.filter(({ twin }) => !modules.includes(twin as CudaModule)).map(({ name }) => name)).toEqual([]);
});

test('every fast build has a check', () => {
  expect(fast.length).toBeGreaterThan(20);
  expect(fast.filter((build) => !checkOf(build)).map(({ name }) => name)).toEqual([]);
});

const targets = [{ arch: '90', target: 'sm_90a' }, ...(full ? [{ arch: '80', target: 'sm_80' }] : [])];
/** Without a full test; run/training/fast_builds.test.ts checks those that a step launches. */
const some = ['matmul.tf32.128', 'inner/linears.tf32.64'];

describe.each(targets)('on $target', ({ arch, target }) => {
  const devices = new Map<Precision, CudaDevice>();
  afterAll(() => {
    for (const device of devices.values()) device[Symbol.dispose]();
    vi.unstubAllEnvs();
  });
  const here = fast.filter(
    (build) => (build.target ?? target) === target && (full || (arch === '90' && some.includes(build.name))),
  );
  test.each(here.map((build) => [build.name, build] as const))(
    '%s agrees with its twin',
    (_, build) => {
      vi.stubEnv('FAKECUDA_ARCH', arch);
      vi.stubEnv('RECTIFLOW_VERIFY', '1');
      const precision = build.precisions?.[0] ?? 'fp32';
      const device = devices.get(precision) ?? new CudaDevice(arch === '90' ? 0 : 1, { precision });
      devices.set(precision, device);
      expect(device.fastBuilds.verdictOf(build)).toEqual({});
    },
    120_000,
  );
});
