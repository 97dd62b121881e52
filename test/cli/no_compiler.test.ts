// Commands without a C compiler: they compute in WebAssembly with a notice, and fail if --device cpu is given.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-no-compiler-'));
const notice =
  'note: no C compiler was found (tried cc (ENOENT), gcc (ENOENT), clang (ENOENT)): computing in WebAssembly, ' +
  'on the device wasm; a C compiler makes it about twice as fast (Debian, Ubuntu: `apt-get install gcc`)\n';

beforeAll(() => {
  buildWasm();
  mkdirSync(join(folder, 'empty'));
}, 120_000);

function rectiflow(args: readonly string[], home = root) {
  const { CC: _, ...env } = process.env;
  return spawnSync(process.execPath, [join(home, 'bin/rectiflow.js'), ...args], {
    cwd: folder,
    env: { ...env, PATH: join(folder, 'empty'), RECTIFLOW_DATA: join(folder, 'data') },
    encoding: 'utf8',
    timeout: 240_000,
  });
}

const overrides = (values: Record<string, unknown>) =>
  Object.entries(values).map(([path, value]) => `--config.${path}=${value}`);
const tiny = overrides({ 'model.nf': 8, 'training.batch_size': 16, 'training.n_iters': 4 });

it('quickstart completes, and its first line names the device', () => {
  const stages = { 'chain.reflow_iters': 4, 'chain.distil_iters': 4, 'chain.pairs': 40, 'chain.pair_steps': 3 };
  const rest = { 'chain.classifier': false, 'eval.num_samples': 12, 'eval.straightness_samples': 2 };
  const { stdout, stderr, status } = rectiflow([
    'quickstart',
    '--out',
    'chain',
    '--threads',
    '1',
    ...tiny,
    ...overrides({ ...stages, ...rest }),
  ]);
  expect(stderr.slice(0, notice.length)).toBe(notice);
  expect(stdout).toContain('report: chain/report.html');
  expect(status, stderr).toBe(0);
}, 240_000);

it('training gives the losses of the device wasm', () => {
  const losses = [[], ['--device', 'wasm', '--threads', '1']].map((more, i) => {
    const words = ['train', '--config', 'digits', '--workdir', `run${i}`, ...tiny, ...more];
    const { stderr, status } = rectiflow(words);
    expect(status, stderr).toBe(0);
    expect(stderr.includes(notice)).toBe(i === 0);
    const lines = readFileSync(join(folder, `run${i}/log.jsonl`), 'utf8')
      .trim()
      .split('\n');
    return lines.map((line) => JSON.parse(line).loss);
  });
  expect(losses[0]).toHaveLength(5);
  expect(losses[1]).toEqual(losses[0]);
}, 120_000);

it('--device cpu is an error', () => {
  const words = ['train', '--config', 'digits', '--workdir', 'named', ...tiny, '--device', 'cpu'];
  const { stderr, status } = rectiflow(words);
  expect(stderr).toMatch(
    /^rectiflow: the device cpu needs a C compiler; tried cc \(ENOENT\), .*The device wasm does not need one\n$/,
  );
  expect(status).toBe(1);
});

it('a precision that neither device supports is an error', () => {
  const words = ['train', '--config', 'digits', '--workdir', 'precise', ...tiny, '--config.precision=bf16'];
  const { stderr, status } = rectiflow(words);
  expect(stderr).toBe('rectiflow: precision bf16 needs the device cuda; cpu computes in fp32\n');
  expect(status).toBe(1);
});

it('doctor reports the device that is used', () => {
  const { stdout, status } = rectiflow(['doctor']);
  expect(stdout).toMatch(/^note +C compiler +the device cpu needs a C compiler/m);
  expect(stdout).toMatch(/-> install one, or set CC; without one, commands use the device wasm/);
  expect(stdout).toMatch(/^ok +device wasm +the same kernels in WebAssembly, \d+ threads?/m);
  expect(status).toBe(0);
});

it('if the WebAssembly module is missing too, the error names both remedies and doctor fails', () => {
  const copy = join(folder, 'copy');
  for (const name of ['dist', 'bin', 'configs', 'assets', 'package.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  rmSync(join(copy, 'dist/wasm'), { recursive: true });
  const { stderr, status } = rectiflow(['train', '--config', 'digits', '--workdir', 'neither', ...tiny], copy);
  expect(stderr).toMatch(/apt-get install gcc/);
  expect(stderr).toMatch(/npm run build:wasm/);
  expect(status).toBe(1);
  const doctor = rectiflow(['doctor'], copy);
  expect(doctor.stdout).toMatch(/^MISSING +C compiler/m);
  expect(doctor.stdout).toMatch(/^note +device wasm .*npm run build:wasm/m);
  expect(doctor.status).toBe(1);
});
