// Readers against damaged and malicious files: each returns a value or throws an error of this package, within two
// seconds of CPU time and 512 MB, and nothing is run or written. They run in a process of their own, so that a crash
// fails this test only. RECTIFLOW_TEST_FULL=1 reads 5,000 damaged files instead of 250.
import { execFile } from 'node:child_process';
import { truncate, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { FileError } from '../../src/errors.ts';
import { readNpy, readNpz, readPth, readSafetensors } from '../../src/io/index.ts';
import type { HostileReport } from '../support/hostile_child.ts';
import { temporaryFolder } from './files.ts';

const full = process.env.RECTIFLOW_TEST_FULL === '1';
const mutations = full ? 5000 : 250;

it(`survives ${mutations} damaged files and the malicious ones`, { timeout: full ? 900_000 : 120_000 }, async () => {
  const folder = await temporaryFolder();
  const child = fileURLToPath(new URL('../support/hostile_child.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'jiti/register', child, folder, String(mutations)],
    {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      timeout: full ? 800_000 : 110_000,
      killSignal: 'SIGKILL',
    },
  );
  const report: HostileReport = JSON.parse(stdout);
  expect(report.failures).toEqual([]);
  expect(report.left).toEqual([]);
  expect(report.files).toBeGreaterThan(mutations + 150);
  expect(report.slowest.milliseconds, report.slowest.what).toBeLessThan(2000);
  expect(report.maxMegabytes).toBeLessThan(512);
});

it('refuses a file larger than any memory', async () => {
  const path = `${await temporaryFolder()}/huge`;
  await writeFile(path, '');
  await truncate(path, 2 ** 42);
  for (const read of [readNpy, readNpz, readPth, readSafetensors]) await expect(read(path)).rejects.toThrow(FileError);
  await expect(readNpy(path)).rejects.toThrow(/there is no memory for 4398046511104 bytes/);
});
