// Folders are made with those that they lie in, and a refusal of the system ends the attempt.
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { KernelCache } from '../../src/device/cache.ts';
import { FileError } from '../../src/errors.ts';
import { makeFolders } from '../../src/folders.ts';
import { EventFile } from '../../src/io/index.ts';
import { makeFolder } from '../../src/run/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-folders-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('makes a folder and those above it, once and again', () => {
  const path = join(folder, 'a', 'b', 'c');
  makeFolders(path, 0o700);
  makeFolders(`${path}/`);
  expect(statSync(path).isDirectory()).toBe(true);
  if (process.platform !== 'win32') expect(statSync(join(folder, 'a')).mode & 0o777).toBe(0o700);
  makeFolders(join(folder, 'missing', '..', 'd'));
  expect(existsSync(join(folder, 'd'))).toBe(true);
  expect(existsSync(join(folder, 'missing'))).toBe(false);
});

it('refuses a file, what would lie in one, and a link to nothing', () => {
  writeFileSync(join(folder, 'file'), '');
  symlinkSync(join(folder, 'nothing'), join(folder, 'link'));
  expect(() => makeFolders(join(folder, 'file'))).toThrow(/EEXIST/);
  expect(() => makeFolders(join(folder, 'file', 'x', 'y'))).toThrow(/ENOTDIR/);
  expect(() => makeFolders(join(folder, 'link', 'x'))).toThrow(/EEXIST/);
});

// mkdir of Node never ends there.
it.runIf(existsSync('/proc/self'))('ends where the system says that a folder is missing which is there', async () => {
  const cannot = new FileError('/proc/rectiflow/x', 'the folder cannot be made (ENOENT)');
  expect(() => makeFolder('/proc/rectiflow/x')).toThrow(cannot);
  await expect(EventFile.open('/proc/rectiflow')).rejects.toThrow(FileError);
  expect(new KernelCache('/proc/rectiflow').reason).toBe('/proc/rectiflow cannot be written (ENOENT)');
});
