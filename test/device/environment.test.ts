// Environment variables: the table here has each one that is read, an invalid value is an error that names the variable, and CC is
// respected.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { findTorch } from '../../bench/gpu/pytorch.ts';
import { KernelCache } from '../../src/device/cache.ts';
import { compilerName, findCompiler } from '../../src/device/cc.ts';
import { CpuDevice } from '../../src/device/cpu.ts';
import { debugLevel } from '../../src/device/debug.ts';
import {
  defaultThreads,
  fromEnvironment,
  surveyEnvironment,
  type VariableName,
  variables,
} from '../../src/device/environment.ts';
import { textModule } from '../../src/device/module.ts';
import { Mpi } from '../../src/device/mpi.ts';
import { openDriver } from '../../src/device/native/libcuda.ts';
import { openNvrtc } from '../../src/device/native/libnvrtc.ts';
import { openDefaultDevice } from '../../src/device/open_default.ts';
import { linkText } from '../../src/device/wasm_compiler.ts';
import { RectiflowError } from '../../src/errors.ts';
import { findEigenSolver } from '../../src/eval/lapack.ts';
import { useNamedTuning } from '../../src/run/machine/tuning.ts';
import { userDataFolder } from '../../src/run/machine/user_files.ts';
import { Watchdog } from '../../src/run/ranks/watchdog.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-environment-'));
const file = join(folder, 'file');
writeFileSync(file, 'no JSON');

afterEach(() => {
  vi.unstubAllEnvs();
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** A function that reads the variable, and invalid values of it. */
type Row = [use: () => unknown, ...nonsense: string[]];
/** A variable of other programs, which only suggests a place to look or a text to quote. */
const hint = 'hint';

/** Where a module of the device wasm would go. */
const place = { base: 2 ** 20, bytes: 2 ** 18, memory: 2 ** 21 };

const rows: Record<VariableName, Row | typeof hint> = {
  RECTIFLOW_THREADS: [defaultThreads, 'abc', '0', '-1', '1e9', '1.5', ' '],
  RECTIFLOW_MARCH: [() => new CpuDevice(), 'nonsense', 'native -o x', '/'],
  RECTIFLOW_TUNING: [useNamedTuning, join(folder, 'none.json'), file, folder],
  RECTIFLOW_CACHE: [() => new KernelCache(), file],
  RECTIFLOW_DATA: [userDataFolder, file],
  RECTIFLOW_DEBUG: [debugLevel, 'yes', '4', '-1', '1.5', 'constructor'],
  RECTIFLOW_CUDA_CACHING: [() => fromEnvironment('RECTIFLOW_CUDA_CACHING'), 'no', '2'],
  RECTIFLOW_VERIFY: [() => fromEnvironment('RECTIFLOW_VERIFY'), 'no', '2'],
  RECTIFLOW_MPI: [
    () => new Mpi({ rank: 0, size: 2, localRank: 0, localSize: 2, by: 'Open MPI' }),
    file,
    join(folder, 'none.so'),
  ],
  RECTIFLOW_TIMEOUT: [() => new Watchdog('rank 0'), '0', '-1', 'soon', 'Infinity'],
  RECTIFLOW_TORCH_PYTHON: [findTorch, 'no-such-python'],
  CC: [findCompiler, 'no-such-cc', 'false', folder, ' ', 'cc "', 'cc; true', '""'],
  CLANG: [() => linkText(textModule('c', 'none', '#include "pool.h"\n', {}), place), 'no-such-clang'],
  WASM_LD: [() => linkText(textModule('c', 'none', '#include "pool.h"\n', {}), place), 'no-such-linker'],
  LIBCUDA_PATH: [openDriver, '/nonexistent'],
  LIBNVRTC_PATH: [openNvrtc, '/nonexistent'],
  LIBLAPACK_PATH: [findEigenSolver, '/nonexistent'],
  CUDA_HOME: hint,
  CUDA_PATH: hint,
  CUDA_VISIBLE_DEVICES: hint,
  VIRTUAL_ENV: hint,
  CONDA_PREFIX: hint,
  XDG_CACHE_HOME: hint,
  XDG_RUNTIME_DIR: hint,
};

const cases = Object.entries(rows).flatMap(([name, row]) =>
  row === hint ? [] : row.slice(1).map((text) => [name, text as string, row[0]] as const),
);

it.each(cases)('%s=%s is an error that names both', async (name, text, use) => {
  vi.stubEnv(name, text);
  const error = await new Promise((resolve) => resolve(use())).then(
    () => 'no error',
    (error) => error,
  );
  expect(error).toBeInstanceOf(RectiflowError);
  expect(error.message).toContain(name);
  expect(error.message).toContain(text);
});

it('treats an empty variable as unset', () => {
  for (const name of Object.keys(variables) as VariableName[]) {
    vi.stubEnv(name, '');
    expect(fromEnvironment(name)).toBeUndefined();
  }
});

it('lists every variable that is read in the table, and the docs show the table', () => {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  const readers = sources.filter((name) => readFileSync(join(root, 'src', name), 'utf8').includes('process.env'));
  // A terminal's own variables, such as TERM, change no result.
  expect(readers.sort()).toEqual(['cli/terminal.ts', 'device/environment.ts']);
  expect(Object.keys(rows)).toEqual(Object.keys(variables));
  const page = readFileSync(join(root, 'docs/library.md'), 'utf8');
  const documented = [...page.matchAll(/^\| `([A-Z_]+)` \| (.*) \|$/gm)].map(([, name, meaning]) => [
    name,
    meaning !== '',
  ]);
  expect(documented).toEqual(Object.keys(variables).map((name) => [name, true]));
});

it('reports unknown names and suggests the nearest known one', () => {
  vi.stubEnv('RECTIFLOW_THREAD', '2');
  vi.stubEnv('RECTIFLOW_TEST_ANYTHING', '1');
  vi.stubEnv('RECTIFLOW_DEBUG', 'yes');
  const { unknown, wrong } = surveyEnvironment();
  expect(unknown).toEqual(['the environment variable RECTIFLOW_THREAD has no effect; did you mean RECTIFLOW_THREADS?']);
  expect(wrong).toEqual(['RECTIFLOW_DEBUG must be 0, 1, 2 or 3, got yes']);
});

it('resolves relative folders against the working directory', () => {
  vi.stubEnv('RECTIFLOW_DATA', '-data');
  expect(userDataFolder()).toBe(join(process.cwd(), '-data'));
  // The XDG specification: "an implementation should consider the path invalid and ignore it".
  vi.stubEnv('RECTIFLOW_CACHE', '');
  vi.stubEnv('XDG_CACHE_HOME', 'relative');
  expect(new KernelCache().folder).not.toContain('relative');
});

it('does not fall back to another device if CC does not run', async () => {
  vi.stubEnv('CC', 'no-such-cc');
  await expect(openDefaultDevice('cpu', {}, () => {})).rejects.toThrow(
    'CC names "no-such-cc", which cannot be run: ENOENT; fix it, or unset CC',
  );
});

it('names a CC that writes no output', () => {
  vi.stubEnv('CC', 'true');
  vi.stubEnv('RECTIFLOW_CACHE', join(folder, 'cache'));
  expect(() => new CpuDevice()).toThrow(/cpu_runtime\.c did not compile with true \(.*\):\nit wrote no file/);
});

it('accepts a CC with arguments and with a path that contains spaces', () => {
  vi.stubEnv('CC', '');
  const real = findCompiler().command;
  const wrapper = join(folder, 'my cc');
  const log = join(folder, 'log');
  writeFileSync(wrapper, `#!/bin/sh\necho "$@" >> '${log}'\nexec ${real} "$@"\n`);
  chmodSync(wrapper, 0o755);
  vi.stubEnv('CC', wrapper);
  expect(compilerName(findCompiler())).toBe(wrapper);
  vi.stubEnv('CC', `"${wrapper}" -DFIRST='a b' -DSECOND`);
  expect(findCompiler()).toMatchObject({ command: wrapper, leading: ['-DFIRST=a b', '-DSECOND'] });
  const program = `import { openDevice, ones } from 'rectiflow'; await openDevice('cpu'); console.log(ones([2]).dataSync().length)`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, RECTIFLOW_CACHE: join(folder, 'kernels') },
  });
  expect(stdout, stderr).toBe('2\n');
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  expect(lines.length).toBeGreaterThan(2);
  expect(lines.slice(1).every((line) => line.startsWith('-DFIRST=a b -DSECOND '))).toBe(true);
});
