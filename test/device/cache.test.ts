// The compile cache of the CPU under concurrency, damage and hostile folders. Needs a C compiler.
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
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cacheKey, KernelCache } from '../../src/device/cache.ts';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;

const otherUser = { uid: 12345, gid: 12345 };
/** Why no other user can run the program, if so: only root can switch users, whose home others may not read. */
function noOtherUser(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can switch users';
  const read = 'require("node:fs").accessSync(process.argv[1])';
  const { status } = spawnSync(process.execPath, ['-e', read, join(root, 'package.json')], otherUser);
  return status === 0 ? undefined : 'other users cannot read this repository';
}

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
import { accumulate } from '${new URL('../../dist/kernels/inner/accumulate.js', import.meta.url)}';
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

test('a key depends on every part and on the boundaries between parts', () => {
  const keys = [cacheKey('a', ['x', 'y']), cacheKey('a', ['xy']), cacheKey('a', ['x', 'z']), cacheKey('b', ['x', 'y'])];
  expect(new Set(keys).size).toBe(4);
  expect(cacheKey('conv/forward', ['x'])).toMatch(/^conv_forward-[0-9a-f]{32}$/);
});

test('the second process compiles nothing; the compiled source is stored next to the binary', () => {
  const first = run(folder);
  expect(first.stdout).toBe('11,22,33\n');
  expect(first.stderr).toContain('compiled inner/accumulate');
  const second = run(folder);
  expect(second.stdout).toBe('11,22,33\n');
  expect(second.stderr).not.toContain('compiled');
  const sources = readdirSync(folder).filter((name) => name.startsWith('inner_accumulate') && name.endsWith('.c'));
  expect(sources).toHaveLength(1);
  expect(readFileSync(join(folder, sources[0]), 'utf8')).toContain('accumulate_add');
});

test('recompiles a damaged, truncated or emptied binary and never loads it', () => {
  run(folder);
  const binary = readdirSync(folder).find(
    (name) => name.startsWith('inner_accumulate') && name.endsWith('.so'),
  ) as string;
  const good = readFileSync(join(folder, binary));
  const flipped = Buffer.from(good);
  flipped[good.length >> 1] ^= 255;
  for (const damage of [flipped, good.subarray(0, 1000), Buffer.alloc(0)]) {
    writeFileSync(join(folder, binary), damage);
    const { stdout, stderr } = run(folder);
    expect(stdout).toBe('11,22,33\n');
    expect(stderr).toContain('compiled inner/accumulate');
  }
});

test('eight concurrent processes on an empty folder all succeed and leave no stray file', async () => {
  const results = await Promise.all(
    Array.from(
      { length: 8 },
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

test('does not use a folder on a full disk', (context) => {
  const disk = join(folder, 'disk');
  mkdirSync(disk, { mode: 0o700 });
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', disk]);
  if (status !== 0) context.skip('needs to mount a tmpfs');
  try {
    expect(new KernelCache(disk).reason).toContain('cannot be written (ENOSPC)');
    expect(readdirSync(disk)).toEqual([]);
    expect(run(disk).stdout).toBe('11,22,33\n');
  } finally {
    spawnSync('umount', [disk]);
  }
});

test("does not use a link, a file, another user's folder or a folder that others can write to", () => {
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

test('an unusable cache folder costs a compilation, not the result', () => {
  chmodSync(folder, 0o777);
  const { status, stdout } = run(folder);
  expect(stdout).toBe('11,22,33\n');
  expect(status).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
});

test('resolves a relative folder against the working directory, even if its name begins with a dash', () => {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: folder,
    encoding: 'utf8',
    env: environment('-o_x'),
  });
  expect(stdout, stderr).toBe('11,22,33\n');
  expect(readdirSync(join(folder, '-o_x')).filter((name) => name.startsWith('inner_accumulate'))).toHaveLength(3);
  expect(readdirSync(folder)).toEqual(['-o_x']);
});

test('reports what was tried and what to install if there is no compiler', () => {
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

/** A cache that has one entry. */
function stocked(): { cache: KernelCache; file: (ending: string) => string } {
  const cache = new KernelCache(folder);
  const { output, commit } = cache.stage(key, 'source');
  writeFileSync(output, 'binary');
  commit();
  expect(cache.read(key)?.toString()).toBe('binary');
  return { cache, file: (ending) => join(folder, `${key}.${ending}`) };
}

test.each(['so', 'sum'])('rewrites a .%s file that others can write to, instead of using it', (ending) => {
  const { cache, file } = stocked();
  chmodSync(file(ending), 0o666);
  expect(cache.read(key)).toBeUndefined();
  expect(cache.find(key)).toBeUndefined();
  stocked();
});

test.skipIf(process.getuid?.() !== 0)("does not use another user's file (only root can create one)", () => {
  for (const ending of ['so', 'sum']) {
    const { cache, file } = stocked();
    chownSync(file(ending), 12345, 12345);
    expect(cache.read(key)).toBeUndefined();
  }
});

test('does not follow a link in place of a file', () => {
  const { cache, file } = stocked();
  const elsewhere = join(folder, 'elsewhere');
  writeFileSync(elsewhere, 'binary');
  rmSync(file('so'));
  symlinkSync(elsewhere, file('so'));
  expect(cache.read(key)).toBeUndefined();
});

test('asks to remove a folder that others could write to, because its files may be theirs', () => {
  chmodSync(folder, 0o777);
  expect(new KernelCache(folder).reason).toBe(
    `${folder} can be written by other users, who may have put other code there (remove it; it is created again)`,
  );
});

test('a user without a home folder gets a private folder that is removed at exit', (context) => {
  const reason = noOtherUser();
  if (reason !== undefined) context.skip(reason);
  chmodSync(folder, 0o777);
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, TMPDIR: folder },
    ...otherUser,
  });
  expect([status, stdout]).toEqual([0, '11,22,33\n']);
  expect(readdirSync(folder)).toEqual([]);
});

describe('parent folders', () => {
  /** A cache two levels below a folder of this mode and owner. */
  function below(mode: number, owner = process.getuid?.() as number): KernelCache {
    const above = join(folder, `above-${mode.toString(8)}-${owner}`);
    mkdirSync(above);
    chmodSync(above, mode);
    chownSync(above, owner, owner);
    return new KernelCache(join(above, 'a', 'kernels'));
  }

  test.each([0o777, 0o775, 0o770, 0o757])('must not be writable by others (refuses mode %o)', (mode) => {
    expect(below(mode).reason).toMatch(/above-\d+-\d+, above .*kernels, can be changed by other users/);
  });

  test.each([0o755, 0o700, 0o1777, 0o1775])(
    'may be readable, or writable with the sticky bit (accepts mode %o)',
    (mode) => {
      expect(below(mode).reason).toBeUndefined();
    },
  );

  test.skipIf(process.getuid?.() !== 0)('must belong to this user or root (only root can create others)', () => {
    expect(below(0o755, 12345).reason).toContain('can be changed by other users');
    expect(below(0o1777, 12345).reason).toContain('can be changed by other users');
  });

  test('are checked along the resolved path of links', () => {
    const open = join(folder, 'open');
    mkdirSync(join(open, 'a'), { recursive: true });
    chmodSync(open, 0o777);
    symlinkSync(join(open, 'a'), join(folder, 'link'));
    expect(new KernelCache(join(folder, 'link', 'kernels')).reason).toContain(`${open}, above`);
    chmodSync(open, 0o755);
    // The link may point elsewhere later.
    expect(new KernelCache(join(folder, 'link', 'kernels')).folder).toBe(join(open, 'a', 'kernels'));
  });

  test('are also checked for CUDA images', () => {
    const open = join(folder, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    const cuda = new KernelCache(join(open, 'kernels'), { source: 'cu', binary: 'cubin' });
    expect(cuda.reason).toContain('can be changed by other users');
    expect(cuda.read(key)).toBeUndefined();
  });
});

test('a user with umask 002 and a private group has a cache that is reused', (context) => {
  const reason = noOtherUser();
  if (reason !== undefined) context.skip(reason);
  chmodSync(folder, 0o755);
  const home = join(folder, 'home');
  mkdirSync(home);
  chownSync(home, otherUser.uid, otherUser.gid);
  const script = `umask 002; mkdir -p ${home}/.cache/x; exec "$0" --input-type=module -e "$1"`;
  const start = () =>
    spawnSync('/bin/sh', ['-c', script, process.execPath, program], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: home, TMPDIR: folder, RECTIFLOW_DEBUG: '1' },
      ...otherUser,
    });
  // The group is not in the list of groups, so others may be members of it.
  const unknown = start();
  expect(unknown.stdout, unknown.stderr).toBe('11,22,33\n');
  expect(readdirSync(join(home, '.cache'))).not.toContain('kernels');
  chmodSync(join(home, '.cache'), 0o755);
  expect(start().stderr).toContain('compiled');
  const again = start();
  expect(again.stdout).toBe('11,22,33\n');
  expect(again.stderr).not.toContain('compiled');
});

/** Runs a command with a separate file system mounted at `place` with these options, which only root may do. */
function mounted(place: string, options: string, command: readonly string[], env: NodeJS.ProcessEnv) {
  const script = 'mount -t tmpfs -o "$1,mode=0700" tmpfs "$2" && shift 2 && exec "$@"';
  return spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', options, place, ...command], { encoding: 'utf8', env });
}

const refusal = mounted(tmpdir(), 'noexec', ['true'], process.env);
if (refusal.status !== 0) process.stderr.write(`skipped: caches that are mounted noexec. ${refusal.stderr}\n`);

test.skipIf(refusal.status !== 0)(
  "accepts folders writable by this user's private group and refuses those writable by a shared group",
  () => {
    chmodSync(folder, 0o755);
    const home = join(folder, 'home');
    mkdirSync(join(home, '.cache'), { recursive: true });
    const text = `
    import { KernelCache } from '${new URL('../../dist/device/cache.js', import.meta.url)}';
    console.log(new KernelCache().reason ?? 'taken');`;
    const script =
      'mount --bind "$1/group" /etc/group && shift && umask 002 && exec setpriv --reuid 12345 --regid 12345 --clear-groups "$@"';
    const answer = (groups: string) => {
      writeFileSync(join(folder, 'group'), groups);
      for (const path of [home, join(home, '.cache')]) {
        chownSync(path, 12345, 12345);
        chmodSync(path, 0o775);
      }
      const words = ['-m', 'sh', '-c', script, 'sh', folder, process.execPath, '--input-type=module', '-e', text];
      return spawnSync('unshare', words, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: home } }).stdout;
    };
    expect(answer('root:x:0:\nsomebody:x:12345:\n')).toBe('taken\n');
    expect(answer('root:x:0:\nsomebody:x:12345:other\n')).toContain('can be changed by other users');
    expect(answer('root:x:0:\n')).toContain('can be changed by other users');
  },
);

describe.skipIf(refusal.status !== 0)('on a noexec file system', () => {
  const words = [process.execPath, '--input-type=module', '-e', program];

  test('the cache is not used: kernels are compiled elsewhere, and doctor reports it', () => {
    const env = { ...environment(folder), TMPDIR: '/tmp' };
    const { stdout, stderr } = mounted(folder, 'noexec', words, env);
    expect(stdout, stderr).toBe('11,22,33\n');
    const text = `
      import { cacheFinding } from '${new URL('../../dist/run/machine/doctor.js', import.meta.url)}';
      console.log(JSON.stringify(cacheFinding()));`;
    const doctor = mounted(folder, 'noexec', [process.execPath, '--input-type=module', '-e', text], env);
    const reason = `${folder} is mounted noexec (RECTIFLOW_CACHE=DIR names another place)`;
    expect(JSON.parse(doctor.stdout)).toEqual({
      what: 'kernel cache',
      state: 'note',
      detail: `${reason}; every process compiles the kernels again`,
      remedy: 'repair the folder, or set RECTIFLOW_CACHE to another',
    });
  });

  test('the temporary folder is not used', () => {
    const { stdout, stderr } = mounted(folder, 'noexec', words, { ...environment('off'), TMPDIR: folder });
    expect(stdout, stderr).toBe('11,22,33\n');
  });

  test('CUDA images may be cached', () => {
    const text = `
      import { KernelCache } from '${new URL('../../dist/device/cache.js', import.meta.url)}';
      console.log(new KernelCache(undefined, { source: 'cu', binary: 'cubin' }).folder);`;
    const { stdout } = mounted(
      folder,
      'noexec',
      [process.execPath, '--input-type=module', '-e', text],
      environment(folder),
    );
    expect(stdout).toBe(`${folder}\n`);
  });

  test('the error names all folders if none is usable, and the default device is wasm', () => {
    buildWasm();
    const text = `
      import { openDevice } from '/mnt/dist/device/open.js';
      import { openDefaultDevice } from '/mnt/dist/device/open_default.js';
      await openDevice('cpu').catch((error) => console.log(error.name, error.message));
      console.log((await openDefaultDevice('cpu', { threads: 1 }, (text) => console.log(text))).kind);`;
    const script =
      'mount --bind "$1" /mnt && shift; for place in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o noexec tmpfs $place; done; exec "$@"';
    const { stdout, stderr } = spawnSync(
      'unshare',
      ['-m', 'sh', '-c', script, 'sh', root, process.execPath, '--input-type=module', '-e', text],
      { encoding: 'utf8', env: { PATH: process.env.PATH, RECTIFLOW_CACHE: 'off', TMPDIR: '/tmp' }, cwd: '/' },
    );
    expect(stdout, stderr).toMatch(
      /^DeviceError no folder can hold compiled kernels: \/tmp.*noexec.*; \/var\/tmp.*; \/dev\/shm.*\(RECTIFLOW_CACHE=DIR names another place\)\nno folder .*: computing in WebAssembly, on the device wasm\nwasm\n$/,
    );
  });
});
