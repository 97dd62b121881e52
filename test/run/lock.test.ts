/** The lock of a work directory, where the file system has no hard links and where what is there is broken. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { FileError } from '../../src/errors.ts';
import { lockFolder } from '../../src/run/lock.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-lock-'));
afterAll(() => rmSync(root, { recursive: true }));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, 'folder-'));
});

it('is held by one, named in the refusal of the other, and given back', async () => {
  const unlock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toThrow(`in use by process ${process.pid} on`);
  await unlock();
  expect(existsSync(join(folder, 'lock'))).toBe(false);
  await (await lockFolder(folder))();
});

it.each(['', 'host 12'])('a lock that was never written whole (%j) is nobody’s', async (text) => {
  writeFileSync(join(folder, 'lock'), text);
  const unlock = await lockFolder(folder);
  expect(readFileSync(join(folder, 'lock'), 'utf8')).toContain(` ${process.pid} `);
  await unlock();
});

describe.runIf(process.platform === 'linux')('without hard links', () => {
  /** A process in which link() fails as it does there. */
  function locking(error: string, program: string) {
    const source = join(root, 'nolink.c');
    const library = join(root, `${error}.so`);
    writeFileSync(
      source,
      `#include <errno.h>
       int link(const char *a, const char *b) { errno = ${error}; return -1; }
       int linkat(int x, const char *a, int y, const char *b, int f) { errno = ${error}; return -1; }`,
    );
    execFileSync('cc', ['-shared', '-fPIC', source, '-o', library]);
    const module = new URL('../../dist/run/lock.js', import.meta.url);
    return spawnSync(
      process.execPath,
      ['--input-type=module', '-e', `import { lockFolder } from '${module}'; ${program}`, folder],
      { encoding: 'utf8', env: { ...process.env, LD_PRELOAD: library } },
    );
  }

  it.each(['EPERM', 'EOPNOTSUPP'])('%s: it is held by one all the same', (error) => {
    const { stdout, stderr } = locking(
      error,
      `const unlock = await lockFolder(process.argv[1]);
       console.log(await lockFolder(process.argv[1]).catch((error) => error.message.includes('in use')));
       await unlock();
       await (await lockFolder(process.argv[1]))();
       console.log('again');`,
    );
    expect([stderr, stdout]).toEqual(['', 'true\nagain\n']);
    expect(existsSync(join(folder, 'lock'))).toBe(false);
  });

  it('what else goes wrong is told', () => {
    const { stdout } = locking('EIO', `console.log(await lockFolder(process.argv[1]).catch((error) => error.name));`);
    expect(stdout).toBe(`${FileError.name}\n`);
  });
});
