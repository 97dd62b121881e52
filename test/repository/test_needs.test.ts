// `npm test` names what it needs before anything else and exits with 2; `npm run test:setup` installs it by apt-get, as root or by sudo.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

interface Need {
  name: string;
  commands?: string[];
  packages: string[];
}
const root = fileURLToPath(new URL('../..', import.meta.url));
const { isUbuntu, needs, packagesOf } = (await import(
  new URL('../../scripts/test_needs.js', import.meta.url).href
)) as {
  isUbuntu(): boolean;
  needs: Need[];
  packagesOf(missing: readonly Need[], isUbuntu: boolean): string[];
};
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-needs-'));
// Another user must be able to run what is in it.
chmodSync(folder, 0o755);
const copy = join(folder, 'test_needs.mjs');
copyFileSync(join(root, 'scripts/test_needs.js'), copy);
const record = join(folder, 'record');

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** A folder for PATH with these commands: shell scripts that note how they were called. */
function commands(title: string, scripts: Record<string, string>): string {
  const path = join(folder, title);
  mkdirSync(path);
  for (const [name, body] of Object.entries(scripts)) {
    writeFileSync(join(path, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(path, name), 0o755);
  }
  return path;
}

function script(path: string, words: readonly string[], uid = process.getuid?.()) {
  writeFileSync(record, '');
  chmodSync(record, 0o666);
  const { stdout, stderr, status } = spawnSync(process.execPath, [copy, ...words], {
    env: { PATH: path },
    encoding: 'utf8',
    uid,
  });
  return { stdout, stderr, status, calls: readFileSync(record, 'utf8') };
}

/** Every command of the list, as files that do nothing. */
const everything = Object.fromEntries(needs.flatMap(({ commands = [] }) => commands.map((name) => [name, ''])));
const noting = (name: string, more = '') => ({ [name]: `echo "${name} $*" >> ${record}; ${more}` });
/** What the script of a machine without any command of the list installs. */
const wanted = packagesOf(
  needs.filter(({ commands }) => commands),
  isUbuntu(),
);

it('npm test exits with 2 before it does anything else, and names each missing thing and the command that installs it', () => {
  const bare = commands('bare', {});
  for (const name of ['node', 'npm', 'sh'])
    symlinkSync(spawnSync('which', [name], { encoding: 'utf8' }).stdout.trim(), join(bare, name));
  const { stdout, stderr, status } = spawnSync('npm', ['test'], {
    cwd: root,
    env: { PATH: bare, HOME: folder },
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(2);
  for (const { name } of needs.filter(({ commands }) => commands))
    expect(stderr).toMatch(new RegExp(`^ {2}${name.replaceAll('+', '\\+')} `, 'm'));
  expect(stderr).toContain('Run `npm run test:setup`. It installs ');
  expect(stdout).not.toContain('check');
});

describe('the script', () => {
  it('prints nothing if everything is there', () => {
    expect(script(commands('whole', everything), [])).toEqual({ stdout: '', stderr: '', status: 0, calls: '' });
    expect(script(join(folder, 'whole'), ['--install']).stdout).toBe('test:setup: nothing to install\n');
  });

  it('names the one thing that is missing', () => {
    const { clang: _, ...rest } = everything;
    const { stderr, status } = script(commands('most', rest), []);
    expect(stderr).toMatch(
      /^npm test needs .*:\n {2}clang {2}builds kernels .*\nRun `npm run test:setup`. It installs clang \(Debian/,
    );
    expect(status).toBe(2);
  });

  it('installs by apt-get as root', (context) => {
    if (process.getuid?.() !== 0) return context.skip('needs root');
    // The packages install the commands.
    const install = `case "$1" in install) for name in ${Object.keys(everything).join(' ')}; do : > ${folder}/root/$name; chmod 755 ${folder}/root/$name; done; esac`;
    const path = commands('root', noting('apt-get', install));
    symlinkSync('/bin/chmod', join(path, 'chmod'));
    const { stdout, status, calls } = script(path, ['--install']);
    expect(calls).toBe(`apt-get update -qq\napt-get install -y --no-install-recommends ${wanted.join(' ')}\n`);
    expect(stdout).toContain('test:setup: `npm test` has what it needs\n');
    expect(status).toBe(0);
  });

  const other = process.getuid?.() === 0 ? 12345 : process.getuid?.();

  it('installs by sudo as another user', () => {
    const path = commands('sudo', { ...noting('sudo'), ...noting('apt-get') });
    const { stderr, status, calls } = script(path, ['--install'], other);
    const sudo = 'sudo env DEBIAN_FRONTEND=noninteractive apt-get';
    expect(calls).toBe(`${sudo} update -qq\n${sudo} install -y --no-install-recommends ${wanted.join(' ')}\n`);
    // These packages installed nothing.
    expect(stderr).toContain('test:setup: still missing:\n');
    expect(status).toBe(2);
  });

  it('says what root should run where there is no sudo', () => {
    const { stderr, status, calls } = script(commands('user', noting('apt-get')), ['--install'], other);
    expect(stderr).toBe(
      `test:setup: only root may install packages, and sudo was not found. Run as root:\n  apt-get install -y --no-install-recommends ${wanted.join(' ')}\n`,
    );
    expect([status, calls]).toEqual([2, '']);
  });

  it('names the packages where there is no apt-get, and stops at the first command that fails', () => {
    const none = script(commands('none', {}), ['--install']);
    expect(none.stderr).toContain(`which was not found; install what corresponds to Debian's packages `);
    expect(none.status).toBe(2);
    const failing = script(commands('failing', { ...noting('apt-get', 'exit 7'), ...noting('sudo', 'exit 7') }), [
      '--install',
    ]);
    expect(failing.calls.trim().split('\n')).toHaveLength(1);
    expect(failing.stderr).toContain('test:setup: apt-get update failed\n');
    expect(failing.status).toBe(2);
  });
});

it('.ci/run runs the commands of CONTRIBUTING.md', () => {
  const page = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');
  const [, block] = /```\n(npm ci\n.*?)```/s.exec(page) ?? [];
  const commandsOf = (text: string) => text.split(/\n| && /).filter((line) => line.startsWith('npm '));
  expect(commandsOf(block)).toEqual(['npm ci', 'npm run test:setup', 'npm test']);
  expect(commandsOf(readFileSync(join(root, '.ci/run'), 'utf8'))).toEqual(commandsOf(block));
});
