// A failed write leaves the old file, no temporary file, and one clear error.
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FileError } from '../../src/errors.ts';
import { requireWritable } from '../../src/io/atomic.ts';
import { writeFileAtomic } from '../../src/io/index.ts';
import { temporaryFolder } from './files.ts';

const failure = vi.hoisted(() => ({ code: '', at: '' }));

// The real file system, with one file-handle call that can be made to fail as on a full or broken disk.
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    async open(path: string, ...rest: unknown[]) {
      const handle = await (real.open as (...all: unknown[]) => Promise<object>)(path, ...rest);
      return new Proxy(handle, {
        get(target, key) {
          const value = Reflect.get(target, key);
          if (typeof value !== 'function') return value;
          if (failure.at !== key || !path.endsWith('.tmp')) return value.bind(target);
          return async () => {
            const error = Object.assign(new Error(failure.code), { code: failure.code, syscall: key });
            throw error;
          };
        },
      });
    },
  };
});

afterEach(() => {
  failure.at = '';
});

const bytes = (text: string) => new TextEncoder().encode(text);

describe('writeFileAtomic', () => {
  it('writes chunks of iterables and async iterables in order', async () => {
    const folder = await temporaryFolder();
    await writeFileAtomic(`${folder}/a`, [bytes('one '), bytes(''), bytes('two')]);
    async function* chunks() {
      yield bytes('three ');
      yield bytes('four');
    }
    await writeFileAtomic(`${folder}/b`, chunks());
    expect(await readFile(`${folder}/a`, 'utf8')).toBe('one two');
    expect(await readFile(`${folder}/b`, 'utf8')).toBe('three four');
    expect(await readdir(folder)).toEqual(['a', 'b']);
  });

  it('replaces the target of a symbolic link, not the link', async () => {
    const folder = await temporaryFolder();
    await writeFile(`${folder}/file`, 'old');
    await symlink(`${folder}/file`, `${folder}/link`);
    await writeFileAtomic(`${folder}/link`, [bytes('new')]);
    expect(await readFile(`${folder}/file`, 'utf8')).toBe('new');
  });

  it.each([
    ['ENOSPC', 'write', /disk full/],
    ['ENOSPC', 'sync', /disk full/],
    ['EDQUOT', 'write', /quota/],
    ['EIO', 'sync', /input\/output error/],
  ])('on %s in %s keeps the old file and leaves no other', async (code, at, message) => {
    const folder = await temporaryFolder();
    await writeFile(`${folder}/a`, 'old');
    Object.assign(failure, { code, at });
    const error = await writeFileAtomic(`${folder}/a`, [bytes('new')]).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(message);
    expect(error.message.startsWith(`${folder}/a: `)).toBe(true);
    expect(error.cause.code).toBe(code);
    expect(await readFile(`${folder}/a`, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['a']);
  });

  it('hits a real limit in the middle of a file', async () => {
    const folder = await temporaryFolder();
    const module = fileURLToPath(new URL('../../src/io/atomic.ts', import.meta.url));
    const script = `
      import { createJiti } from 'jiti';
      const { writeFileAtomic } = await createJiti(${JSON.stringify(module)}, { fsCache: false }).import(${JSON.stringify(module)});
      await writeFileAtomic(${JSON.stringify(`${folder}/a`)}, [new Uint8Array(100), new Uint8Array(1e6)])
        .catch((error) => console.log(error.name, error.message));`;
    await writeFile(`${folder}/a`, 'old');
    const shell = `trap '' XFSZ; ulimit -f 64; exec "$0" --input-type=module -e "$1"`;
    const { stdout } = await promisify(execFile)('sh', ['-c', shell, process.execPath, script]);
    expect(stdout).toMatch(/^FileError .*\/a: the file would be larger than/);
    expect(await readFile(`${folder}/a`, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['a']);
  });

  it('passes on an error of the iterable of chunks', async () => {
    const folder = await temporaryFolder();
    function* chunks() {
      yield bytes('half');
      throw new TypeError('mine');
    }
    await expect(writeFileAtomic(`${folder}/a`, chunks())).rejects.toThrow(TypeError);
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses folders, devices and paths where no file can exist', async () => {
    const folder = await temporaryFolder();
    await mkdir(`${folder}/sub`);
    await expect(writeFileAtomic(`${folder}/sub`, [])).rejects.toThrow(/sub: is a folder/);
    await expect(writeFileAtomic(`${folder}/none/a`, [])).rejects.toThrow(/none\/a: no such file or folder/);
    await expect(writeFileAtomic('/dev/full', [bytes('x')])).rejects.toThrow(/^\/dev\/full: is not a regular file/);
    expect((await stat('/dev/full')).isCharacterDevice()).toBe(true);
    await expect(writeFileAtomic('/proc/rectiflow', [bytes('x')])).rejects.toThrow(FileError);
  });
});

describe('requireWritable', () => {
  it.each([
    ['in a missing folder', 'none/x', 0, /none\/x: no such file or folder/],
    ['below a file', 'file/x', 0, /a part of the path is a file/],
    ['over a folder', 'folder', 0, /is a folder/],
    ['with a name of 5,000 characters', 'x'.repeat(5000), 0, /the name is too long/],
    ['on a disk with too little space', 'x', 1e18, /needs 1000000000000000000 bytes, but its disk has \d+ free/],
  ])('refuses a file %s', async (_, name, size, says) => {
    const folder = await temporaryFolder();
    await writeFile(`${folder}/file`, '');
    await mkdir(`${folder}/folder`);
    await expect(requireWritable(`${folder}/${name}`, size)).rejects.toThrow(says);
    expect((await readdir(folder)).sort()).toEqual(['file', 'folder']);
  });

  it('removes what a killed process left of the same file 10 minutes ago', async () => {
    const folder = await temporaryFolder();
    const left = (name: string) => `.${name}.0123456789ab.tmp`;
    const old = new Date(Date.now() - 601_000);
    for (const name of ['x.npz', 'y.npz']) {
      await writeFile(`${folder}/${left(name)}`, '');
      await utimes(`${folder}/${left(name)}`, old, old);
    }
    const written = '.x.npz.ba9876543210.tmp';
    await writeFile(`${folder}/${written}`, 'another process writes this');
    await requireWritable(`${folder}/x.npz`);
    expect((await readdir(folder)).sort()).toEqual([written, left('y.npz')]);
  });

  it('leaves nothing behind if the file can be written', async () => {
    const folder = await temporaryFolder();
    await writeFile(`${folder}/old`, 'old');
    await requireWritable(`${folder}/old`, 10);
    await requireWritable(`${folder}/new`, 10);
    expect(await readdir(folder)).toEqual(['old']);
    expect(await readFile(`${folder}/old`, 'utf8')).toBe('old');
  });
});
