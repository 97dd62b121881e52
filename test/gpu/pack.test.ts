// `npm run gpu:pack`: the packed folder works alone, with the Node in it, and its script resumes. The card is the emulated one.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fakeCuda } from '../support/fakecuda.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-pack-'));
const packed = join(folder, 'pack');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => {
  fakeCuda();
}, 120_000);

function pack(...args: string[]) {
  const script = join(root, 'scripts/gpu_pack.js');
  return spawnSync(process.execPath, [script, '--out', packed, ...args], { cwd: root, encoding: 'utf8' });
}

function firstHour(...args: string[]) {
  const env = { ...process.env, ...fakeCuda(), OUT: join(folder, 'out'), RECTIFLOW_CACHE: join(packed, 'cache') };
  const run = spawnSync('sh', [join(packed, 'first_hour.sh'), ...args], { cwd: folder, encoding: 'utf8', env });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}

function results(): { left: number; items: { part: string; name: string; ok: boolean }[] } {
  const [name] = readdirSync(join(folder, 'out')).filter((file) => /-\d{4}-\d\d-\d\d\.json$/.test(file));
  return JSON.parse(readFileSync(join(folder, 'out', name), 'utf8'));
}

test('a pack has at most 60 MB, and nothing that is not needed', () => {
  // The fastest compression, which gives the largest file.
  const { status, stdout, stderr } = pack('--level', '0', '--no-kernels');
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(Number(/: ([\d.]+) MB of 60 at most/.exec(stdout)?.[1])).toBeLessThan(60);
  expect(readdirSync(packed).sort()).toEqual(
    [
      'bin',
      'cache',
      'configs',
      'dist',
      'first_hour.sh',
      'node.version',
      'node.xz',
      'node_modules',
      'package.json',
    ].sort(),
  );
}, 240_000);

test('first_hour.sh reports a kernel that traps and one that never ends, does all else, and resumes', () => {
  const planted = [
    ['dist/gpu/empty.cu', 'empty_kernel() {}', 'empty_kernel() { for (volatile int i = 0;; ) i = 1; }'],
    ['dist/texts/kernels/ode.cu.js', 'float c5, float c6) {', 'float c5, float c6) { __trap();'],
  ] as const;
  const originals = planted.map(([file, line, into]) => {
    const text = readFileSync(join(packed, file), 'utf8');
    expect(text).toContain(line);
    writeFileSync(join(packed, file), text.replaceAll(line, into));
    return text;
  });
  const some = [
    '--only',
    'ceilings,ops',
    '--precision',
    'fp32',
    '--filter',
    'empty|tanh|linearCombination',
    '--limit',
    '12',
  ];
  const first = firstHour(...some);
  expect(first.status).toBe(1);
  expect(first.stdout).toMatch(/empty kernels\nit did not end within 12 s and was stopped/);
  expect(first.stdout).toMatch(/FAILED {2}ops: linearCombination.*\n/);
  expect(first.stdout).toMatch(/\d failed, 0 are left/);
  expect(first.stdout).toContain('not done: run it again to resume');
  expect(
    results()
      .items.filter(({ name }) => name.includes('tanh'))
      .every(({ ok }) => ok),
  ).toBe(true);
  expect(existsSync(join(folder, 'out/first_hour.log'))).toBe(true);
  planted.forEach(([file], i) => {
    writeFileSync(join(packed, file), originals[i]);
  });
  const second = firstHour(...some);
  expect(second.stdout).toContain('all is done');
  expect(second.status).toBe(0);
  // What had passed is not repeated.
  expect(second.stdout).not.toMatch(/^ok .*tanh/m);
  expect(results().items.every(({ ok }) => ok)).toBe(true);
}, 300_000);

test('without a card it ends with 1 and names what is missing, also after a run that did all', () => {
  const env = { ...process.env, LIBCUDA_PATH: '/nowhere/libcuda.so', OUT: join(folder, 'out') };
  const run = spawnSync('sh', [join(packed, 'first_hour.sh')], { encoding: 'utf8', env });
  expect(run.stdout).toMatch(/no card to run on: libcuda/);
  expect(run.stdout).not.toContain('all is done');
  expect(run.status).toBe(1);
});

test('what compute-sanitizer finds is not taken for done', () => {
  const tools = join(folder, 'tools');
  mkdirSync(tools);
  const run = (code: number) => {
    writeFileSync(join(tools, 'compute-sanitizer'), `#!/bin/sh\nexit ${code}\n`, { mode: 0o755 });
    const env = { ...process.env, ...fakeCuda(), OUT: join(folder, 'out'), PATH: `${tools}:${process.env.PATH}` };
    const words = [join(packed, 'first_hour.sh'), '--only', 'ops', '--filter', 'no such'];
    return spawnSync('sh', words, { encoding: 'utf8', env });
  };
  const found = run(9);
  expect(found.stdout).toContain('compute-sanitizer memcheck: exit code 9');
  expect(found.stdout).not.toContain('all is done');
  expect(found.status).toBe(1);
  const clean = run(0);
  expect(clean.stdout).toContain('all is done');
  expect(clean.status).toBe(0);
});

test('refuses a folder that is not a pack', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/gpu_pack.js'), '--out', root], {
    encoding: 'utf8',
  });
  expect(status).toBe(2);
  expect(stderr).toMatch(/exists and is not a pack/);
});
