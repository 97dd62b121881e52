/** Folders that can be made, and places where none can be: each ends at once, in one line. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeFolders } from '../../src/folders.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-folders-'));
afterAll(() => rmSync(root, { recursive: true }));

it('makes those above it, with the mode, and takes what is there', () => {
  const path = join(root, 'a', 'b', 'c');
  makeFolders(path, 0o700);
  makeFolders(path);
  expect(statSync(join(root, 'a')).mode & 0o777).toBe(0o700);
  symlinkSync(path, join(root, 'link'));
  makeFolders(join(root, 'link', 'd'));
  expect(existsSync(join(path, 'd'))).toBe(true);
});

it('refuses a file in the way, and a link to nowhere', () => {
  writeFileSync(join(root, 'file'), '');
  symlinkSync(join(root, 'gone'), join(root, 'dangling'));
  for (const path of ['file', 'file/below', 'dangling']) expect(() => makeFolders(join(root, path))).toThrow();
});

/** In a process of its own, since what never ends would hold the tests. */
const program = (call: string) => `
import { KernelCache } from '${new URL('../../dist/device/cache.js', import.meta.url)}';
import { EventFile } from '${new URL('../../dist/io/index.js', import.meta.url)}';
import { makeFolder } from '${new URL('../../dist/run/workdir/workdir.js', import.meta.url)}';
try { console.log(await ${call}); } catch (error) { console.log(error.name, error.message); }
`;

describe.runIf(existsSync('/proc/self'))('where the system makes no folder', () => {
  it.each([
    ["makeFolder('/proc/nope')", 'FileError /proc/nope: cannot make the folder (ENOENT)'],
    ["makeFolder('/proc/self/nope/deep')", 'FileError /proc/self/nope/deep: cannot make the folder (ENOENT)'],
    ["EventFile.open('/proc/nope')", 'FileError /proc/nope: '],
    ["new KernelCache('/proc/nope/x').reason", '/proc/nope/x cannot be written (ENOENT)'],
  ])('%s ends', (call, message) => {
    const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program(call)], {
      encoding: 'utf8',
      timeout: 30_000,
      killSignal: 'SIGKILL',
    });
    expect([signal, stdout.slice(0, message.length)]).toEqual([null, message]);
  });
});
