// Messages about the environment: invalid and misspelt variables, a compiler that does not run, a cache that is not
// used.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { buildWasm } from '../support/wasm.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-environment-'));

function rectiflow(line: string, env: NodeJS.ProcessEnv) {
  return spawnSync(process.execPath, [bin, ...line.split(' ')], {
    cwd: folder,
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
}

beforeAll(buildWasm, 120_000);

it('notes an unknown variable and continues', () => {
  const { stderr, status } = rectiflow('inspect --config digits', { RECTIFLOW_THREAD: '2' });
  expect(stderr).toBe(
    'note: the environment variable RECTIFLOW_THREAD has no effect; did you mean RECTIFLOW_THREADS?\n',
  );
  expect(status).toBe(0);
});

it.each([
  ['RECTIFLOW_THREADS', 'abc', 'RECTIFLOW_THREADS must be a whole number from 1 to 256, got abc'],
  ['RECTIFLOW_TUNING', 'none.json', 'RECTIFLOW_TUNING must be a file of `rectiflow tune`, got none.json'],
  ['RECTIFLOW_DEBUG', 'yes', 'RECTIFLOW_DEBUG must be 0, 1, 2 or 3, got yes'],
  ['CC', 'no-such-cc -O1', 'CC names "no-such-cc -O1", which cannot be run: ENOENT; fix it, or unset CC'],
])('%s=%s ends it in one line', (name, text, message) => {
  const { stderr, status } = rectiflow('estimate --config digits', { [name]: text });
  expect(stderr).toBe(`rectiflow: ${message}\n`);
  expect(status).toBe(1);
});

it('notes a cache folder that is not used', () => {
  const shared = join(folder, 'shared');
  mkdirSync(shared);
  chmodSync(shared, 0o777);
  const { stderr } = rectiflow('train --config digits --workdir w --device cuda:99', { RECTIFLOW_CACHE: shared });
  expect(stderr).toContain(
    `note: ${shared} can be written by other users, who may have put other code there (remove it; it is created again): every process compiles the kernels again\n`,
  );
});

it('doctor reports the same faults', () => {
  const broken = rectiflow('doctor', { CC: 'no-such-cc', RECTIFLOW_DATA: bin });
  expect(broken.stdout).toMatch(/^MISSING +C compiler +CC names "no-such-cc", which cannot be run: ENOENT/m);
  expect(broken.stdout).toMatch(/^MISSING +environment +RECTIFLOW_DATA must be a folder, got /m);
  expect(broken.status).toBe(1);
  const wrapper = join(folder, 'wrapper');
  writeFileSync(wrapper, '#!/bin/sh\nexec cc "$@"\n');
  chmodSync(wrapper, 0o755);
  const { stdout, status } = rectiflow('doctor', { CC: wrapper });
  expect(stdout).toMatch(new RegExp(`^ok +C compiler +${wrapper}: `, 'm'));
  expect(stdout).toMatch(new RegExp(`^ok +environment +.*CC=${wrapper}`, 'm'));
  expect(status).toBe(0);
}, 240_000);
