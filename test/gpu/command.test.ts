// `npm run gpu` as it runs on a machine with a card: in a folder with only the built package and koffi. The card is the emulated
// one.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hopperBuilds } from '../../src/kernels/conv/hopper.ts';
import { full } from '../support/devices.ts';
import { fakeCuda } from '../support/fakecuda.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-gpu-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => {
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  for (const name of ['koffi', '@koromix'])
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
  fakeCuda();
}, 120_000);

function gpu(args: string[], variables: Record<string, string> = fakeCuda()) {
  const env = { ...process.env, ...variables };
  const out = args.indexOf('--out');
  // The emulated card is slow, and each test has a state of its own.
  const usual = ['--limit', '240', ...(out < 0 ? [] : ['--state', join('states', args[out + 1])])];
  const run = spawnSync(process.execPath, ['dist/gpu/main.js', ...usual, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env,
  });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}

const nowhere = { LIBCUDA_PATH: '/nowhere/libcuda.so', LIBNVRTC_PATH: '/nowhere/libnvrtc.so' };

test('a dry run lists the planned work with or without a card, and writes no files', () => {
  for (const variables of [nowhere, fakeCuda()]) {
    const { status, stdout, stderr } = gpu(['--dry-run'], variables);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    for (const part of [
      'prepare',
      'hopper',
      'step',
      'pytorch',
      'shapes',
      'ceilings',
      'golden',
      'curve',
      'ops',
      'kernels',
    ])
      expect(stdout).toMatch(new RegExp(`^  ${part} +[1-9]\\d*  `, 'm'));
    expect(stdout).toMatch(/^ {2}ops +\d{3} {2}cases/m);
  }
  expect(readdirSync(folder).sort()).toEqual(['dist', 'node_modules']);
});

test('plans the training step and prints its table without a card', () => {
  const plan = gpu(['--plan'], nowhere);
  expect(plan).toMatchObject({ status: 0, stderr: '' });
  expect(plan.stdout).toMatch(/^\d+ kernels, \d+ copies, \d+ fills$/m);
  expect(plan.stdout).toMatch(/^memory, computed: 5\.\d+ GB in use at most, 5\.\d+ GB taken from the driver$/m);
  expect(plan.stdout).toMatch(/^ +121 {2}conv_forward$/m);
  const table = gpu(['--table'], nowhere);
  expect(table).toMatchObject({ status: 0, stderr: '' });
  expect(table.stdout).toContain('measured on no card yet');
});

test('times a convolution of the network on the card', () => {
  const row = '1 x 1 at 4 x 4, 256 → 256, weight gradient';
  const { status, stdout } = gpu(['--only', 'shapes', '--filter', row, '--out', 'shapes']);
  expect(status).toBe(0);
  expect(stdout.match(/^ok +shapes .*milliseconds/gm)).toHaveLength(1);
  expect(readResults('shapes').results.items).toMatchObject([{ part: 'shapes', name: row, ok: true }]);
}, 300_000);

test('sweeps a pass of the network and stores the fastest tile', () => {
  const pass = '1 x 1 at 4 x 4, 256 → 256, input gradient';
  const { status, stdout } = gpu([
    '--only',
    'sweep',
    '--filter',
    pass,
    '--out',
    'swept',
    '--tuning',
    'tiles/found.json',
  ]);
  expect(status).toBe(0);
  const [{ values }] = readResults('swept').results.items;
  expect(Object.keys(values)).toEqual(hopperBuilds.map(({ name }) => name));
  const fastest = Object.entries<number>(values).reduce((best, one) => (one[1] < best[1] ? one : best));
  expect(stdout).toContain(`| ${pass} | ${fastest[0]} | ${fastest[1].toFixed(1)} | `);
  const text = readFileSync(join(folder, 'tiles/found.json'), 'utf8');
  expect(text).toContain(`"128 4 4 256 4 4 256 1 1 1 1 0 0 1 1 1": "${fastest[0]}"`);
}, 300_000);

test('refuses a sweep without a card of sm_90a', () => {
  for (const [variables, reason] of [
    [nowhere, /no card to run on: libcuda/],
    [{ ...fakeCuda(), FAKECUDA_ARCH: '80' }, /a sweep needs a card of sm_90a with CUDA 12 or later; this is .*sm_80/],
  ] as const) {
    const { status, stderr } = gpu(['--only', 'sweep', '--tuning', 'none.json'], variables);
    expect(status).toBe(1);
    expect(stderr).toMatch(reason);
  }
  expect(existsSync(join(folder, 'none.json'))).toBe(false);
});

test('fails without a card and names the library and the places searched', () => {
  const { status, stderr } = gpu([], nowhere);
  expect(status).toBe(1);
  expect(stderr).toMatch(/no card to run on: libcuda.*named by LIBCUDA_PATH.*\/nowhere\/libcuda\.so/);
});

test('reports usage errors', () => {
  for (const args of [['--only', 'speed'], ['--minutes', 'x'], ['--limit', '0'], ['--fast'], ['--precision', 'fp8']]) {
    const { status, stderr } = gpu(args);
    expect(status).toBe(2);
    expect(stderr).toContain('--dry-run');
  }
});

test('checks pass on the card, and an interrupted run resumes', () => {
  // The budget is enough for the cases but not for the measurements, which need more.
  const some = ['--precision', 'fp32', '--filter', 'tanh|copy|empty', '--out', 'results'];
  const cut = gpu(['--only', 'ops,ceilings', '--minutes', '0.15', ...some]);
  expect(cut.stdout).toMatch(/^ok +ops .* tanh in fp32$/m);
  expect(cut.stdout).toMatch(/0 failed, 3 are left\n[\s\S]*run it again to resume/);
  expect(cut.status).toBe(1);
  // A host that is lent may be gone before the rest is done.
  expect(readResults('results').results).toMatchObject({ left: 3, card: expect.any(String) });
  const again = gpu(['--only', 'ops', ...some]);
  expect(again.status).toBe(0);
  expect(again.stdout).not.toMatch(/^ok/m);
  const { results } = readResults('results');
  expect(results).toMatchObject({ card: expect.stringMatching(/^Emulated card 0/), version: expect.any(String) });
  expect(results.items).toContainEqual(expect.objectContaining({ part: 'ops', name: 'tanh in fp32', ok: true }));
  expect(existsSync(join(folder, 'states/results'))).toBe(false);
}, 120_000);

test('names a failed check and continues with the rest', () => {
  const golden = join(folder, 'dist/gpu/test/golden.json');
  const good = readFileSync(golden, 'utf8');
  const stored = JSON.parse(good);
  const [name] = Object.keys(stored.family.members);
  const values = new Float32Array(Uint8Array.from(Buffer.from(stored.arrays[`${name}/y`], 'base64')).buffer);
  stored.arrays[`${name}/y`] = Buffer.from(values.map((value) => value + 1).buffer).toString('base64');
  writeFileSync(golden, JSON.stringify(stored));
  try {
    const { status, stdout } = gpu(['--only', 'golden', '--precision', 'fp32', '--filter', name, '--out', 'wrong']);
    expect(status).toBe(1);
    expect(stdout).toMatch(/FAILED {2}golden: .*\n.*: output is off by [\d.]+, allowed/);
    expect(readResults('wrong').results.items[0].ok).toBe(false);
  } finally {
    writeFileSync(golden, good);
  }
}, 120_000);

test('a kernel that traps and one that never ends fail alone, and are tried again', () => {
  const kernel = join(folder, 'dist/gpu/empty.cu');
  const good = readFileSync(kernel, 'utf8');
  const some = [
    '--only',
    'ceilings,ops',
    '--precision',
    'fp32',
    '--filter',
    'tanh|empty',
    '--limit',
    '10',
    '--out',
    'faults',
  ];
  try {
    for (const [body, reason] of [
      ['__trap();', /^its process ended with/m],
      ['for (volatile int i = 0;; ) i = 1;', /^it did not end within 10 s and was stopped$/m],
    ] as const) {
      writeFileSync(kernel, `extern "C" __global__ void empty_kernel() { ${body} }\n`);
      const { status, stdout } = gpu(some);
      expect(stdout).toMatch(/1 failed/);
      expect(status).toBe(1);
      expect(stdout.match(/^FAILED ceilings .*empty kernels/gm)).toHaveLength(1);
      expect(stdout).toMatch(/\d items passed, 1 failed, 0 are left/);
      expect(stdout).toMatch(reason);
    }
    expect(readResults('faults').results.items).toContainEqual(
      expect.objectContaining({ part: 'ops', name: 'tanh in fp32', ok: true }),
    );
  } finally {
    writeFileSync(kernel, good);
  }
  const { status, stdout } = gpu(some);
  expect(status).toBe(0);
  // What had passed is not repeated.
  expect(stdout.match(/^(ok|FAILED) /gm)).toHaveLength(1);
  const [gap] = readResults('faults').results.items.filter(({ name }: { name: string }) => name === 'empty kernels');
  expect(gap.values.graphMicroseconds).toBeLessThan(5);
}, 300_000);

test('compares a convolution kernel of sm_90a with the portable one, with every tile', () => {
  for (const pass of full ? ['forward', 'input', 'weight'] : ['forward']) {
    const name = `3 x 3 at 4 x 4, 64 → 64, batch 3, ${pass}`;
    const { status, stdout } = gpu(['--only', 'hopper', '--filter', name, '--out', `hopper-${pass}`]);
    expect(stdout).toMatch(/^ok +hopper .*worst [\d.e-]+$/m);
    expect(status).toBe(0);
  }
}, 300_000);

function readResults(out: string) {
  const [name] = readdirSync(join(folder, out));
  expect(name).toMatch(/^emulated-card-0-\d{4}-\d\d-\d\d\.json$/);
  return { results: JSON.parse(readFileSync(join(folder, out, name), 'utf8')) };
}
