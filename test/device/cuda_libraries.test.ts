// How the CUDA device looks for the driver and NVRTC, and the errors when they are missing. Needs neither a GPU nor the libraries.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { checkVersions } from '../../src/device/cuda/survey.ts';
import { openDriver } from '../../src/device/native/libcuda.ts';
import { openNvrtc } from '../../src/device/native/libnvrtc.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rectiflow-cuda-'));
  for (const name of ['LIBCUDA_PATH', 'LIBNVRTC_PATH', 'CUDA_HOME', 'CUDA_PATH', 'VIRTUAL_ENV', 'CONDA_PREFIX'])
    vi.stubEnv(name, undefined);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

test('a missing driver library: the error contains its name, the variable and the remedy', () => {
  vi.stubEnv('LIBCUDA_PATH', join(folder, 'libcuda.so.1'));
  expect(openDriver).toThrow(join(folder, 'libcuda.so.1'));
  expect(openDriver).toThrow(/named by LIBCUDA_PATH.*NVIDIA driver.*--gpus all/);
});

test('a missing NVRTC library: the error contains its name, the variable and the remedy', () => {
  vi.stubEnv('LIBNVRTC_PATH', join(folder, 'libnvrtc.so.13'));
  expect(openNvrtc).toThrow(join(folder, 'libnvrtc.so.13'));
  expect(openNvrtc).toThrow(/named by LIBNVRTC_PATH.*pip install nvidia-cuda-nvrtc/);
});

test.each([
  ['CUDA_HOME', 'lib64'],
  ['VIRTUAL_ENV', 'lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib'],
  ['CONDA_PREFIX', 'lib/python3.9/site-packages/nvidia/cu13/lib'],
])('NVRTC is looked for under %s, in %s, its builtins first', (variable, place) => {
  const lib = join(folder, place);
  mkdirSync(lib, { recursive: true });
  for (const name of ['libnvrtc.so.13', 'libnvrtc.alt.so.13']) writeFileSync(join(lib, name), 'no library');
  vi.stubEnv(variable, folder);
  expect(openNvrtc).toThrow(join(lib, 'libnvrtc.so.13'));
  writeFileSync(join(lib, 'libnvrtc-builtins.so.13.0'), 'no library');
  expect(openNvrtc).toThrow(join(lib, 'libnvrtc-builtins.so.13.0'));
  expect(openNvrtc).not.toThrow('libnvrtc.alt');
});

test('NVRTC is looked for where Python keeps its packages, if no usual folder has it', () => {
  const lib = join(folder, 'of python/nvidia/cu13/lib');
  mkdirSync(lib, { recursive: true });
  writeFileSync(join(lib, 'libnvrtc.so.13'), 'no library');
  const python = join(folder, 'python');
  writeFileSync(python, `#!/bin/sh\necho '${join(folder, 'of python')}'\n`, { mode: 0o755 });
  vi.stubEnv('RECTIFLOW_TORCH_PYTHON', python);
  for (const variable of ['CUDA_HOME', 'VIRTUAL_ENV', 'CONDA_PREFIX']) vi.stubEnv(variable, '');
  expect(openNvrtc).toThrow(join(lib, 'libnvrtc.so.13'));
  vi.stubEnv('RECTIFLOW_TORCH_PYTHON', join(folder, 'no such python'));
  expect(openNvrtc).not.toThrow('of python');
});

test('distinguishes an NVRTC newer than the driver from a supported one', () => {
  for (const nvrtc of ['13.2', '13.0', '12.8']) expect(() => checkVersions('13.0', nvrtc)).not.toThrow();
  expect(() => checkVersions('12.4', '13.0')).toThrow(
    /NVRTC 13\.0 is newer than the driver, which serves CUDA 12\.4: update the driver, or name an NVRTC of CUDA 12 by LIBNVRTC_PATH/,
  );
});
