// Folders that can be created, and places where none can be: every call returns at once, and refuses in one line.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeFolders } from '../../src/folders.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-folders-'));
afterAll(() => rmSync(root, { recursive: true }));

it('creates parents with the mode, and accepts existing folders', () => {
  const path = join(root, 'a', 'b', 'c');
  makeFolders(path, 0o700);
  makeFolders(path);
  expect(statSync(join(root, 'a')).mode & 0o777).toBe(0o700);
  symlinkSync(path, join(root, 'link'));
  makeFolders(join(root, 'link', 'd'));
  expect(existsSync(join(path, 'd'))).toBe(true);
});

it('refuses a file in the way and a dangling link', () => {
  writeFileSync(join(root, 'file'), '');
  symlinkSync(join(root, 'gone'), join(root, 'dangling'));
  for (const path of ['file', 'file/below', 'dangling']) expect(() => makeFolders(join(root, path))).toThrow();
});

/** Runs in a process of its own, since an endless loop would block the tests. */
const program = (call: string) => `
import { KernelCache } from '${new URL('../../dist/device/cache.js', import.meta.url)}';
import { EventFile } from '${new URL('../../dist/io/index.js', import.meta.url)}';
import { makeFolder } from '${new URL('../../dist/io/file.js', import.meta.url)}';
try { console.log(await ${call}); } catch (error) { console.log(error.name, error.message); }
`;

describe.runIf(existsSync('/proc/self'))('where the system creates no folder', () => {
  it.each([
    [
      "makeFolder('/proc/nope')",
      'FileError /proc/nope: cannot make the folder (ENOENT): its file system does not take new folders',
    ],
    [
      "makeFolder('/proc/self/nope/deep')",
      'FileError /proc/self/nope/deep: cannot make the folder (ENOENT): its file system does not take new folders',
    ],
    ["EventFile.open('/proc/nope')", 'FileError /proc/nope: '],
    ["new KernelCache('/proc/nope/x').reason", '/proc/nope/x cannot be written (ENOENT)'],
  ])('%s returns', (call, message) => {
    const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program(call)], {
      encoding: 'utf8',
      timeout: 30_000,
      killSignal: 'SIGKILL',
    });
    expect([signal, stdout.slice(0, message.length)]).toEqual([null, message]);
  });
});
