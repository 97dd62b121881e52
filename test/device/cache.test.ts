// cpu: the compile cache under concurrency, damage and hostile folders. Needs a C compiler.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cacheKey, KernelCache } from '../../src/device/cache.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rectiflow-cache-test-'));
  chmodSync(folder, 0o700);
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A process that opens the CPU device with this cache and runs one kernel; prints the result. */
const program = `
import { openDevice, tensor } from '${new URL('../../dist/index.js', import.meta.url)}';
import { accumulate } from '${new URL('../../dist/kernels/accumulate.js', import.meta.url)}';
await openDevice('cpu');
const x = tensor([1, 2, 3]);
accumulate(x, tensor([10, 20, 30]));
console.log([...x.dataSync()].join(','));
`;

function environment(cache: string): NodeJS.ProcessEnv {
  return { ...process.env, RECTIFLOW_CACHE: cache, RECTIFLOW_DEBUG: '1' };
}

function run(cache: string) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: environment(cache),
  });
}

test('a key depends on every part and on where the parts are cut', () => {
  const keys = [cacheKey('a', ['x', 'y']), cacheKey('a', ['xy']), cacheKey('a', ['x', 'z']), cacheKey('b', ['x', 'y'])];
  expect(new Set(keys).size).toBe(4);
  expect(cacheKey('conv/forward', ['x'])).toMatch(/^conv_forward-[0-9a-f]{32}$/);
});

test('the second process compiles nothing; the source that ran lies beside the binary', () => {
  const first = run(folder);
  expect(first.stdout).toBe('11,22,33\n');
  expect(first.stderr).toContain('compiled accumulate');
  const second = run(folder);
  expect(second.stdout).toBe('11,22,33\n');
  expect(second.stderr).not.toContain('compiled');
  const sources = readdirSync(folder).filter((name) => name.startsWith('accumulate') && name.endsWith('.c'));
  expect(sources).toHaveLength(1);
  expect(readFileSync(join(folder, sources[0]), 'utf8')).toContain('accumulate_add');
});

test('a damaged, truncated or emptied binary is compiled again, never loaded', () => {
  run(folder);
  const binary = readdirSync(folder).find((name) => name.startsWith('accumulate') && name.endsWith('.so')) as string;
  const good = readFileSync(join(folder, binary));
  const flipped = Buffer.from(good);
  flipped[good.length >> 1] ^= 255;
  for (const damage of [flipped, good.subarray(0, 1000), Buffer.alloc(0)]) {
    writeFileSync(join(folder, binary), damage);
    const { stdout, stderr } = run(folder);
    expect(stdout).toBe('11,22,33\n');
    expect(stderr).toContain('compiled accumulate');
  }
});

test('six processes at once on an empty folder all succeed and leave no stray file', async () => {
  const results = await Promise.all(
    Array.from(
      { length: 6 },
      () =>
        new Promise<{ code: number | null; out: string }>((resolve) => {
          const child = spawn(process.execPath, ['--input-type=module', '-e', program], { env: environment(folder) });
          let out = '';
          child.stdout.on('data', (text) => {
            out += text;
          });
          child.on('close', (code) => resolve({ code, out }));
        }),
    ),
  );
  for (const result of results) expect(result).toEqual({ code: 0, out: '11,22,33\n' });
  for (const name of readdirSync(folder)) expect(name).toMatch(/^\w+-[0-9a-f]{32}\.(so|c|sum)$/);
});

test("a folder that others can write, a link, a file or another user's folder is not used", () => {
  const usable = join(folder, 'mine');
  expect(new KernelCache(usable).reason).toBeUndefined();

  chmodSync(usable, 0o777);
  expect(new KernelCache(usable).reason).toContain('can be written by other users');
  expect(new KernelCache(usable).folder).not.toBe(usable);

  chmodSync(usable, 0o700);
  const link = join(folder, 'link');
  symlinkSync(usable, link);
  expect(new KernelCache(link).reason).toContain('is not a folder');

  const file = join(folder, 'file');
  writeFileSync(file, '');
  expect(new KernelCache(file).reason).toContain('cannot be written');

  if (process.getuid?.() === 0) {
    const foreign = join(folder, 'foreign');
    mkdirSync(foreign, { mode: 0o700 });
    chownSync(foreign, 12345, 12345);
    expect(new KernelCache(foreign).reason).toContain('belongs to another user');
  }
});

test('a cache folder that may not be used costs a compilation, not the result', () => {
  chmodSync(folder, 0o777);
  const { status, stdout } = run(folder);
  expect(stdout).toBe('11,22,33\n');
  expect(status).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
});

test('a relative folder is one below the working directory, also where its name begins with a dash', () => {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: folder,
    encoding: 'utf8',
    env: environment('-o_x'),
  });
  expect(stdout, stderr).toBe('11,22,33\n');
  expect(readdirSync(join(folder, '-o_x')).filter((name) => name.startsWith('accumulate'))).toHaveLength(3);
  expect(readdirSync(folder)).toEqual(['-o_x']);
});

test('without a compiler the error says what was tried and what to install', () => {
  const { CC: _, ...env } = environment(folder);
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: { ...env, PATH: folder },
  });
  expect(status).toBe(1);
  expect(stderr).toContain('tried cc (ENOENT), gcc (ENOENT), clang (ENOENT)');
  expect(stderr).toContain('apt-get install gcc libc6-dev');
});

const key = cacheKey('kernel', ['text']);

/** A cache with one entry. */
function stocked(): { cache: KernelCache; file: (ending: string) => string } {
  const cache = new KernelCache(folder);
  const { output, commit } = cache.stage(key, 'source');
  writeFileSync(output, 'binary');
  commit();
  expect(cache.read(key)?.toString()).toBe('binary');
  return { cache, file: (ending) => join(folder, `${key}.${ending}`) };
}

test.each(['so', 'sum'])('a .%s that others can write is not taken, and is written anew', (ending) => {
  const { cache, file } = stocked();
  chmodSync(file(ending), 0o666);
  expect(cache.read(key)).toBeUndefined();
  expect(cache.find(key)).toBeUndefined();
  stocked();
});

test.skipIf(process.getuid?.() !== 0)('a file of another user is not taken (only root can make one)', () => {
  for (const ending of ['so', 'sum']) {
    const { cache, file } = stocked();
    chownSync(file(ending), 12345, 12345);
    expect(cache.read(key)).toBeUndefined();
  }
});

test('a link in the place of a file is not followed', () => {
  const { cache, file } = stocked();
  const elsewhere = join(folder, 'elsewhere');
  writeFileSync(elsewhere, 'binary');
  rmSync(file('so'));
  symlinkSync(elsewhere, file('so'));
  expect(cache.read(key)).toBeUndefined();
});

test('a folder that others could write is to be removed: what it holds may be theirs', () => {
  chmodSync(folder, 0o777);
  expect(new KernelCache(folder).reason).toBe(
    `${folder} can be written by other users, who may have put other code there (remove it, and it is made anew)`,
  );
});

test.skipIf(process.getuid?.() !== 0)(
  'a user without a home folder computes in a private folder that goes at the end (only root can be one)',
  () => {
    chmodSync(folder, 0o777);
    const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, TMPDIR: folder },
      uid: 12345,
      gid: 12345,
    });
    expect([status, stdout]).toEqual([0, '11,22,33\n']);
    expect(readdirSync(folder)).toEqual([]);
  },
);
