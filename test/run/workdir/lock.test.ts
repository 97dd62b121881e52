// The lock of a folder: which processes it refuses, when it is taken over, and that there is one writer at any time.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FileError, LockLostError } from '../../../src/errors.ts';
import { guardFolder } from '../../../src/io/guard.ts';
import { writeFileAtomic } from '../../../src/io/index.ts';
import { type LockOptions, lockFolder, lockTiming } from '../../../src/run/workdir/lock.ts';
import { newOwner, type Owner, ownerLine, parseOwner } from '../../../src/run/workdir/lock_owner.ts';
import { full } from '../../support/devices.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-lock-'));
const children: ChildProcess[] = [];
const usual = { ...lockTiming };
const linux = process.platform === 'linux';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, 'folder-'));
  path = join(folder, 'lock');
  Object.assign(lockTiming, { beat: 20, silence: 400, look: 20, written: 100 });
});
afterEach(() => {
  Object.assign(lockTiming, usual);
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(root, { recursive: true }));

/** A process that has ended. */
const ended = spawnSync(process.execPath, ['-e', '']).pid;
const elsewhere: Partial<Owner> = { host: 'elsewhere', boot: 'another-boot', space: '1' };

function leave(changes: Partial<Owner>): Owner {
  const owner = { ...newOwner(), ...changes };
  writeFileSync(path, `${ownerLine(owner)}000000000007\n`);
  return owner;
}

const holder = () => parseOwner(readFileSync(path, 'utf8').split('\n')[0]);

/** Takes over the lock without a notice, and releases it. */
async function expectTaken(options: LockOptions = {}): Promise<void> {
  const notices: string[] = [];
  const unlock = await lockFolder(folder, { notice: (text) => notices.push(text), ...options });
  expect(notices).toEqual([]);
  expect(holder()?.pid).toBe(process.pid);
  expect(readdirSync(folder)).toEqual(['lock']);
  await unlock();
  expect(readdirSync(folder)).toEqual([]);
}

it('is held by one process, which the error of another names, and released', async () => {
  const unlock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toThrow(
    linux
      ? `in use by process ${process.pid} on ${hostname()}; give another --workdir or end that process`
      : 'in use by',
  );
  await unlock();
  expect(readdirSync(folder)).toEqual([]);
  await (await lockFolder(folder))();
});

it.each(['', 'host 12', '\0'.repeat(100), '\0\0\n'])(
  'a lock that was not written completely (%j) has no owner',
  async (text) => {
    writeFileSync(path, text);
    await expectTaken();
  },
);

describe('an owner that is certainly gone is replaced immediately', () => {
  beforeEach(() => {
    lockTiming.silence = 1e9;
  });

  it('because its process does not exist', async () => {
    leave({ pid: ended });
    await expectTaken();
  });

  it('in a container that had another host name on the same system', async (context) => {
    if (newOwner().boot === '-') context.skip('the system has no boot id');
    leave({ pid: ended, host: 'c0ffee01' });
    await expectTaken();
  });

  it('because its pid belongs to another process', async (context) => {
    if (newOwner().start === '-') context.skip('the system does not say when a process started');
    leave({ start: '1' });
    await expectTaken();
  });

  it('even if it is a zombie, whose parent does not wait for it', async (context) => {
    if (!existsSync('/proc/self/stat')) context.skip('needs /proc');
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(parent);
    const pid = Number(await new Promise((resolve) => parent.stdout.once('data', resolve)));
    // The shell itself would wait for it.
    while (readFileSync(`/proc/${parent.pid}/comm`, 'utf8') !== 'sleep\n') await sleep(5);
    process.kill(pid, 'SIGKILL');
    const stat = () => readFileSync(`/proc/${pid}/stat`, 'utf8');
    while (!/\) Z/.test(stat())) await sleep(5);
    leave({
      pid,
      start: stat()
        .slice(stat().lastIndexOf(')') + 2)
        .split(' ')[19],
    });
    await expectTaken();
  });

  it('of a Slurm job that has been started again, on any machine', async () => {
    vi.stubEnv('SLURM_JOB_ID', '4711');
    try {
      leave(elsewhere);
      vi.stubEnv('SLURM_RESTART_COUNT', '1');
      await expectTaken();
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('in the format of earlier versions', async () => {
    writeFileSync(path, `${hostname()} ${ended} 1234 0123456789abcdef\n`);
    if (linux) lockTiming.silence = 100;
    await (await lockFolder(folder))();
  });
});

describe('an owner that cannot be checked', () => {
  it.each([
    ['on another machine', elsewhere],
    ['in another container of this machine', { space: '1' }],
    ['from before a reboot of this machine', { boot: 'another-boot' }],
    ['whose start time is unknown', { start: '-' }],
  ])('%s, is replaced after a silence', async (_, changes) => {
    const { host } = leave(changes);
    const notices: string[] = [];
    const before = performance.now();
    const unlock = await lockFolder(folder, { notice: (text) => notices.push(text) });
    expect(performance.now() - before).toBeGreaterThan(lockTiming.silence / 2);
    expect(notices).toEqual([`waiting up to 0.4 s for the lock of process ${process.pid} on ${host} (${path})`]);
    expect(holder()).toMatchObject({ pid: process.pid, boot: newOwner().boot });
    await unlock();
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each([
    ['of another Slurm job', '4712', '1'],
    ['of another step of the same start of the job', '4711', '0'],
    ['of a later start of the job', '4711', '0', '1'],
  ])('%s, is waited for', async (_, id, restarts, theirs = '0') => {
    vi.stubEnv('SLURM_JOB_ID', '4711');
    vi.stubEnv('SLURM_RESTART_COUNT', theirs);
    const notices: string[] = [];
    try {
      leave(elsewhere);
      vi.stubEnv('SLURM_JOB_ID', id);
      vi.stubEnv('SLURM_RESTART_COUNT', restarts);
      await (await lockFolder(folder, { notice: (text) => notices.push(text) }))();
    } finally {
      vi.unstubAllEnvs();
    }
    expect(notices).toEqual([expect.stringContaining('on elsewhere (Slurm job 4711)')]);
  });

  it('is not replaced while its heartbeat continues', async () => {
    lockTiming.silence = 60_000;
    const { pid } = leave(elsewhere);
    const waiting = expect(lockFolder(folder)).rejects.toThrow(`in use by process ${pid} on elsewhere`);
    let ended = false;
    waiting.then(
      () => (ended = true),
      () => (ended = true),
    );
    for (let beat = 8; !ended; beat++) {
      await sleep(20);
      writeFileSync(path, readFileSync(path, 'utf8').replace(/\d+\n$/, `${beat}\n`));
    }
    await waiting;
  });

  it('may release the lock during the wait', async () => {
    lockTiming.silence = 60_000;
    leave(elsewhere);
    const waiting = lockFolder(folder);
    await sleep(100);
    rmSync(path);
    await (await waiting)();
  });

  it('is not waited for after the signal is aborted', async () => {
    lockTiming.silence = 60_000;
    leave(elsewhere);
    const controller = new AbortController();
    const waiting = expect(lockFolder(folder, { signal: controller.signal })).rejects.toThrow('enough');
    await sleep(50);
    controller.abort(new Error('enough'));
    await waiting;
    expect(holder()?.host).toBe('elsewhere');
  });

  it('is replaced even if another process was killed during its takeover', async () => {
    leave({ pid: ended });
    const { notice } = await claimed(ended);
    expect(notice).toEqual([]);
    leave({ pid: ended });
    expect((await claimed(process.pid, elsewhere)).notice).toHaveLength(1);
  });

  /** Takes over the existing lock, on which another process has left a claim. */
  async function claimed(pid: number, changes: Partial<Owner> = {}) {
    const line = readFileSync(path, 'utf8').split('\n')[0];
    const claim = `${path}.${createHash('sha256').update(line).digest('hex').slice(0, 16)}`;
    writeFileSync(claim, ownerLine({ ...newOwner(), pid, ...changes }));
    const notice: string[] = [];
    await (await lockFolder(folder, { notice: (text) => notice.push(text) }))();
    expect(readdirSync(folder)).toEqual([]);
    return { notice };
  }
});

describe('while it is held', () => {
  const beats = () => Number(readFileSync(path, 'utf8').split('\n')[1]);

  it('its heartbeat continues while this thread is busy', async () => {
    const unlock = await lockFolder(folder);
    while (beats() === 0) await sleep(5);
    const before = beats();
    // Blocks the event loop as kernels do.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    expect(beats()).toBeGreaterThan(before);
    await unlock();
  });

  it.each([
    [
      'taken over',
      () => leave(elsewhere),
      'process \\d+ on elsewhere took over the lock while this process was suspended',
    ],
    ['removed', () => rmSync(path), 'the lock is gone'],
  ])(
    'if it is %s, nothing more is written, and no file of the other process is removed',
    async (_, change, message) => {
      const unlock = await lockFolder(folder);
      await writeFileAtomic(join(folder, 'state'), [Buffer.from('old')]);
      change();
      const kept = readdirSync(folder);
      for (const name of ['state', 'sub/../state']) {
        const error = await writeFileAtomic(join(folder, name), [Buffer.from('new')]).catch((problem) => problem);
        expect(error).toBeInstanceOf(LockLostError);
        expect(error.message).toMatch(new RegExp(message));
      }
      expect(readFileSync(join(folder, 'state'), 'utf8')).toBe('old');
      await unlock();
      expect(readdirSync(folder)).toEqual(kept);
      // Outside of that folder, and afterwards, writing works as usual.
      await writeFileAtomic(`${folder}-beside`, [Buffer.from('new')]);
      await writeFileAtomic(join(folder, 'state'), [Buffer.from('new')]);
    },
  );

  it('if it is lost between the check and the rename, the rename fails', async () => {
    const unlock = await lockFolder(folder);
    // Called after the check of the lock: does what another process does that takes over the folder at that moment.
    const unguard = guardFolder(folder, () => {
      for (const name of readdirSync(folder)) if (name.endsWith('.tmp')) rmSync(join(folder, name));
      leave(elsewhere);
    });
    await expect(writeFileAtomic(join(folder, 'state'), [Buffer.from('new')])).rejects.toThrow(LockLostError);
    expect(readdirSync(folder)).toEqual(['lock']);
    unguard();
    await unlock();
  });
});

describe('a file that is not a lock is refused immediately and not changed', () => {
  it.each<[string, () => void]>([
    ['a folder', () => mkdirSync(path)],
    ['a pipe', () => execFileSync('mkfifo', [path])],
    ['a device', () => symlinkSync('/dev/zero', path)],
    ['a link to nowhere', () => symlinkSync(join(folder, 'gone'), path)],
    ['a link to itself', () => symlinkSync(path, path)],
    ['a file of 3 MB', () => writeFileSync(path, Buffer.alloc(3e6, 97))],
    ['a file that names no process', () => writeFileSync(path, 'shopping list\nmilk\n')],
  ])('%s', async (name, make) => {
    lockTiming.silence = 1e9;
    if (process.platform === 'win32' && name !== 'a folder') return;
    make();
    const error = await lockFolder(folder).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(/lock: .*: it is not a lock of this program; move it away$/);
    expect(error.message.length).toBeLessThan(300);
    expect(readdirSync(folder)).toEqual(['lock']);
  });
});

const dist = (name: string) => JSON.stringify(new URL(`../../../dist/${name}`, import.meta.url).href);
const script = (body: string) => `
  import { lockFolder, lockTiming } from ${dist('run/workdir/lock.js')};
  import { writeFileAtomic, removeLeftovers } from ${dist('io/atomic.js')};
  import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
  import { setTimeout as sleep } from 'node:timers/promises';
  const folder = process.argv[1];
  Object.assign(lockTiming, { beat: 50, silence: 500, look: 20, written: 100 });
  ${body}`;
function child(body: string, env: NodeJS.ProcessEnv = process.env) {
  const started = spawn(process.execPath, ['--input-type=module', '-e', script(body), folder], { env });
  children.push(started);
  let output = '';
  for (const stream of [started.stdout, started.stderr]) stream.on('data', (text) => (output += text));
  const ended = new Promise<number | null>((resolve) => started.on('close', resolve)).then((code) => ({
    code,
    output,
  }));
  return { started, ended, output: () => output };
}

it('is held by one at a time of many processes that take it over', { timeout: 60_000 }, async () => {
  // Overlapping critical sections would appear in the log.
  const body = `
    for (let i = 0; i < 5; ) {
      let unlock;
      try { unlock = await lockFolder(folder); } catch { await sleep(1); continue; }
      appendFileSync(folder + '/log', 'in ' + process.pid + '\\n');
      await sleep(1);
      appendFileSync(folder + '/log', 'out ' + process.pid + '\\n');
      // Every second lock is left behind, as by a process that is gone.
      if (i++ % 2 === 0) await unlock();
      else {
        const text = readFileSync(folder + '/lock', 'utf8');
        writeFileSync(folder + '/lock', text.replace(/ \\d+ /, ' ${ended} '));
      }
    }
    process.exit(0);`;
  leave({ pid: ended });
  const many = Array.from({ length: full ? 8 : 4 }, () => child(body));
  for (const { ended } of many) expect(await ended).toEqual({ code: 0, output: '' });
  const lines = readFileSync(join(folder, 'log'), 'utf8').trim().split('\n');
  expect(lines).toHaveLength(10 * many.length);
  for (let i = 0; i < lines.length; i += 2) expect(lines[i + 1]).toBe(lines[i].replace('in', 'out'));
});

it('has one writer at any time if its owner is suspended, replaced and continued', { timeout: 60_000 }, async () => {
  const writer = `
    const unlock = await lockFolder(folder, { notice: console.log });
    await removeLeftovers(folder);
    try {
      for (let i = 0; ; i++) await writeFileAtomic(folder + '/state', [Buffer.from(process.pid + ' ' + i)]);
    } catch (error) {
      console.log(error.name);
      await unlock();
      process.exit(1);
    }`;
  const writing = () => (existsSync(join(folder, 'state')) ? readFileSync(join(folder, 'state'), 'utf8') : '');
  const first = child(writer);
  while (!writing().startsWith(`${first.started.pid} `)) await sleep(5);
  first.started.kill('SIGSTOP');
  // The second process takes it for a process on another machine.
  const text = readFileSync(path, 'utf8');
  const owner = parseOwner(text.split('\n')[0]) as Owner;
  writeFileSync(path, text.replace(ownerLine(owner), ownerLine({ ...owner, ...elsewhere })));
  const second = child(writer);
  while (!writing().startsWith(`${second.started.pid} `)) await sleep(5);
  expect(second.output()).toMatch(/^waiting up to 0\.5 s for the lock of process \d+ on elsewhere/);
  first.started.kill('SIGCONT');
  const seen = new Set<string>();
  let over = false;
  const watched = first.ended.then((result) => {
    over = true;
    return result;
  });
  while (!over) {
    seen.add(writing().split(' ')[0]);
    await sleep(0);
  }
  expect(await watched).toEqual({ code: 1, output: 'LockLostError\n' });
  expect([...seen]).toEqual([String(second.started.pid)]);
  expect(holder()?.pid).toBe(second.started.pid);
});

describe.runIf(linux)('on a file system without hard links', () => {
  it.each(['EPERM', 'EOPNOTSUPP'])('(%s) it is held by one process, too', async (error) => {
    const library = preloaded(
      error,
      `int link(const char *a, const char *b) { errno = ${error}; return -1; }
       int linkat(int x, const char *a, int y, const char *b, int f) { errno = ${error}; return -1; }`,
    );
    const { ended } = child(
      `const unlock = await lockFolder(folder);
       console.log(await lockFolder(folder).catch((error) => error.message.includes('in use')));
       await unlock();
       await (await lockFolder(folder))();`,
      { ...process.env, LD_PRELOAD: library },
    );
    expect(await ended).toEqual({ code: 0, output: 'true\n' });
    expect(readdirSync(folder)).toEqual([]);
  });

  function preloaded(name: string, text: string): string {
    const library = join(root, `${name}.so`);
    writeFileSync(`${library}.c`, `#include <errno.h>\n${text}`);
    execFileSync('cc', ['-shared', '-fPIC', `${library}.c`, '-o', library]);
    return library;
  }
});
