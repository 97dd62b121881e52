// `rectiflow pairs` as a process: the table, JSON, exit codes.
import { spawnSync } from 'node:child_process';
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { makePairs, planOf } from '../support/pairs.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const rectiflow = (...args: string[]) => spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8' });

it('prints its findings, and exits with 1 if a check fails', async () => {
  const root = await makePairs();
  const whole = rectiflow('pairs', root);
  expect(whole.status).toBe(0);
  const lines = whole.stdout.trimEnd().split('\n');
  expect(lines.map((line) => line.slice(0, 23).trimEnd())).toEqual([
    'ok      folder 7     50',
    'ok      count        50',
    'ok      checksums    7',
    'ok      finite       ev',
    'ok      z0 is noise  me',
    'ok      order        z1',
    'ok      z0 unique    al',
    'ok      z1 unique    al',
    'ok      z1 channels  z1',
  ]);
  truncateSync(join(root, '7/z1_000003.npy'), 10);
  const broken = rectiflow('pairs', root);
  expect(broken.stdout).toMatch(/^BROKEN {2}folder 7 {2}.*z1_000003\.npy: has 10 bytes, expected \d+/);
  expect(broken.status).toBe(1);
});

it('escapes the name of a folder', async () => {
  const root = await makePairs({ count: 2 }, { name: '\x1b[31m7\nok' });
  const { stdout, stderr } = rectiflow('pairs', root);
  expect(stdout).toContain('folder \\x1b[31m7\\x0aok  2 pairs');
  expect(stdout + stderr).not.toContain('\x1b');
});

it('compares with a configuration and its data', async () => {
  const { noise } = planOf();
  const root = await makePairs({ shape: [1, 8, 8], noise: { ...noise, scale: 2 }, layout: 'official' });
  const { status, stdout } = rectiflow('pairs', root, '--config', 'digits', '--data', '--json', '--limit', '20');
  const { broken, findings } = JSON.parse(stdout);
  expect([broken, status]).toEqual([true, 1]);
  const by = Object.fromEntries(findings.map(({ what, ...rest }: { what: string }) => [what, rest]));
  expect(by.count).toEqual({ state: 'note', detail: '50 pairs; 7 has 50 of 10,000 planned' });
  expect(by['z0 unique'].detail).toBe('all 20 differ');
  expect(by['z1 channels']).toMatchObject({
    state: 'broken',
    detail: expect.stringMatching(/; the data: mean -0\.\d+, deviation/),
  });
  expect(by['z0 of 7']).toEqual({ state: 'ok', detail: 'equals the noise of seed 7' });
});

it.each<[string[], number, RegExp]>([
  [['pairs'], 2, /give the folder of the pairs: rectiflow pairs DIR/],
  [['pairs', 'gone'], 1, /gone: no such folder; check the path/],
  [['pairs', 'gone', '--data'], 2, /--data and --config\.KEY require --config CONFIG/],
  [['pairs', 'gone', '--limit', '0'], 2, /--limit expects a whole number from 1 to 2147483647, got "0"/],
])('%j', (args, code, message) => {
  const { status, stderr } = rectiflow(...args);
  expect(stderr).toMatch(message);
  expect(status).toBe(code);
});

it('prints help', () => {
  const { status, stdout } = rectiflow('pairs', '--help');
  expect(stdout).toMatch(/^rectiflow pairs DIR - check whether stored pairs are fit for training/);
  expect(status).toBe(0);
});
