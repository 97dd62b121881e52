// Compilers of the CPU device that misbehave, hang or are interrupted. Each is a script. A library is kept only if it loads, the
// message names the compiler, and neither processes nor files are left over.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { libraryFault } from '../../src/device/binary.ts';
import { findCompiler } from '../../src/device/cc.ts';
import { CpuCompiler } from '../../src/device/cpu_compiler.ts';
import { convKernels } from '../../src/kernels/conv/direct.ts';

const real = findCompiler().command;
let folder: string;
let cache: string;
let temporary: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rectiflow-compiler-test-'));
  cache = join(folder, 'cache');
  temporary = join(folder, 'tmp');
  mkdirSync(temporary);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

// Loaded twice, its kernels would run on the pool of one device with the scratch memory of another.
test('a file that two devices compile at the same time is loaded once', async () => {
  vi.stubEnv('RECTIFLOW_CACHE', cache);
  const opened = [1, 2].map(async () => {
    const compiler = new CpuCompiler();
    await compiler.prepare([convKernels]);
    return compiler.library(convKernels);
  });
  const [first, second] = await Promise.all(opened);
  expect(first).toBe(second);
}, 240_000);

/** Writes a fake compiler of that name: its version, and the shell commands that it runs to compile; $out is the output path. */
function compiler(name: string, body: string, version = 'echo fake 1.0'): string {
  const file = join(folder, name);
  const script = `#!/bin/sh
case " $* " in *" --version "*) ${version}; exit;; esac
before=; for word; do [ "$before" = -o ] && out=$word; before=$word; done
${body}
`;
  writeFileSync(file, script);
  chmodSync(file, 0o755);
  return file;
}

const dist = (path: string) => new URL(`../../dist/${path}`, import.meta.url).href;

/** A program that opens the device, with the compiler's time limits in milliseconds if given. */
const program = (limits = {}, ahead = '') => `
import { compilerLimits } from '${dist('device/cc.js')}';
import { openDevice, ones } from '${dist('index.js')}';
Object.assign(compilerLimits, ${JSON.stringify(limits)});
${ahead}
await openDevice('cpu');
console.log(ones([3]).dataSync().join());
`;

function environment(cc: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { ...process.env, CC: cc, RECTIFLOW_CACHE: cache, TMPDIR: temporary, ...more };
}

function run(cc: string, text = program(), more: NodeJS.ProcessEnv = {}) {
  const options = { encoding: 'utf8', env: environment(cc, more), timeout: 50_000 } as const;
  return spawnSync(process.execPath, ['--input-type=module', '-e', text], options);
}

/** The live processes of this test, whose command lines name its folder. */
function alive(): string[] {
  const { stdout } = spawnSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line.includes(folder));
}

/** Waits until none is alive: a killed process takes a moment to exit; one that was not killed sleeps longer than a test may take. */
async function untilGone(): Promise<void> {
  while (alive().length > 0) await setTimeout(20);
}

const kept = (ending: string) => readdirSync(cache).filter((name) => name.endsWith(ending));

describe("a compiler's output is not kept", () => {
  const foreign = process.arch === 'x64' ? 183 : 62;
  test.each([
    ['nothing', ':', /did not compile with .*fake-cc \(fake 1\.0\):\nit wrote no file/],
    ['an empty file', ': > "$out"', /it is empty/],
    ['a text', 'echo garbage > "$out"', /it does not begin as an ELF file/],
    ['a file that is cut short', `${real} "$@" && truncate -s -100 "$out"`, /it is cut short/],
    [
      'a library for another architecture',
      `${real} "$@" && printf '\\${foreign.toString(8)}' | dd of="$out" bs=1 seek=18 conv=notrunc 2>/dev/null`,
      /it is for another architecture/,
    ],
    ['a program', `echo 'int main(void){return 0;}' | ${real} -no-pie -x c - -o "$out"`, /it is not a shared library/],
    ['a library of something else', `echo 'int x;' | ${real} -shared -x c - -o "$out"`, /runtime_\w+/],
  ])('%s', (_, body, message) => {
    const cc = compiler('fake-cc', body);
    const first = run(cc);
    expect(first.stderr).toMatch(message);
    expect(first.stderr).toContain('CompileError');
    expect(first.stderr).toContain(cc);
    expect(first.status).toBe(1);
    expect(readdirSync(cache)).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
  });
});

test('quotes the beginning of a long compiler message', () => {
  const cc = compiler('cc', 'seq 200000 >&2; exit 1');
  const { stderr, status } = run(cc);
  expect(stderr).toMatch(/did not compile with .*:\n1\n2\n3\n/);
  expect(stderr).toContain('\n100\n(199900 more lines)\n');
  expect(stderr).not.toContain('\n101\n');
  expect(status).toBe(1);
});

describe('a cached library that does not load is compiled again, once', () => {
  /** The checksum is right: the file was already like this when it was stored, or a dependency of it is gone. */
  test.each([
    ['a text', Buffer.from('garbage')],
    ['a cut', undefined],
  ])('%s', (_, content) => {
    expect(run(real).stdout).toBe('1,1,1\n');
    const [name] = kept('.so').filter((file) => file.startsWith('cpu_runtime'));
    const path = join(cache, name);
    const bytes = content ?? readFileSync(path).subarray(0, 9000);
    writeFileSync(path, bytes);
    writeFileSync(path.replace(/so$/, 'sum'), createHash('sha256').update(bytes).digest('hex'));
    const second = run(real, program(), { RECTIFLOW_DEBUG: '1' });
    expect(second.stdout, second.stderr).toBe('1,1,1\n');
    expect(second.stderr).toMatch(/compiling cpu_runtime again: .*(cut short|ELF)/);
    expect(run(real, program(), { RECTIFLOW_DEBUG: '1' }).stderr).not.toContain('compil');
  });
});

describe('a compiler that hangs', () => {
  const sleep = () => `sh -c 'sleep 1000; : ${folder}'`;

  test('at --version is stopped with all its child processes; another compiler is tried, or the error names it', async () => {
    const cc = compiler('cc', ':', sleep());
    const named = run(cc, program({ version: 300 }));
    expect(named.stderr).toContain(
      `CC names "${cc}", which cannot be run: it did not print its version within 0.3 s; fix it, or unset CC`,
    );
    expect(named.status).toBe(1);
    await untilGone();
    const found = run('', program({ version: 2500 }), { PATH: `${folder}:${process.env.PATH}` });
    expect(found.stdout, found.stderr).toBe('1,1,1\n');
    // It runs once: a second call would wait with the event loop blocked, and the child processes would stay.
    await untilGone();
  });

  test.each([
    ['by itself', (command: string) => command],
    ['and takes no notice of SIGTERM', (command: string) => `trap '' TERM; ${command}`],
    ['in a process that it left behind', (command: string) => `${command} & wait`],
  ])('while it compiles, %s, is stopped with all that it started', async (_, made) => {
    const cc = compiler('cc', made(sleep()));
    const { stderr, status } = run(cc, program({ file: 300 }));
    expect(stderr).toContain(
      `${cc} (fake 1.0) did not compile cpu_runtime.c within 0.3 s and was stopped; name another by CC`,
    );
    expect(status).toBe(1);
    await untilGone();
    expect(readdirSync(cache)).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('while it compiles a kernel at its first use is stopped', () => {
    const cc = compiler('cc', `case "$out" in *accumulate*) exec sleep 1000;; esac; exec ${real} "$@"`);
    const text = `${program()}
      compilerLimits.file = 300;
      import { accumulate } from '${dist('kernels/inner/accumulate.js')}';
      accumulate(ones([3]), ones([3]));`;
    expect(run(cc, text).stderr).toMatch(/did not compile inner\/accumulate\.c within 0\.3 s and was stopped/);
  });

  test.each(['off', 'cache'])(
    'ends with the process, on a signal or process.exit, and leaves nothing (%s)',
    async (name) => {
      const more = { RECTIFLOW_CACHE: name === 'off' ? 'off' : cache };
      for (const end of name === 'off' ? (['SIGINT', 'SIGHUP', 'exit', 'throw'] as const) : (['SIGTERM'] as const)) {
        const started = join(folder, `started-${end}`);
        const cc = compiler('cc', `: > ${started}; ${sleep()}`);
        const watch = `import { existsSync } from 'node:fs';
        const timer = setInterval(() => {
          if (!existsSync('${started}')) return;
          if ('${end}' === 'exit') process.exit(7);
          clearInterval(timer);
          if ('${end}' === 'throw') throw new Error('from a timer');
        }, 20);`;
        const text = program({}, watch);
        const child = spawn(process.execPath, ['--input-type=module', '-e', text], {
          env: environment(cc, more),
          stdio: 'ignore',
        });
        const closed = once(child, 'close');
        while (!existsSync(started)) await setTimeout(10);
        if (end !== 'exit' && end !== 'throw') child.kill(end);
        const [status, signal] = await closed;
        expect([status, signal]).toEqual(end === 'exit' ? [7, null] : end === 'throw' ? [1, null] : [null, end]);
        await untilGone();
        expect(readdirSync(temporary)).toEqual([]);
        if (existsSync(cache)) expect(readdirSync(cache)).toEqual([]);
      }
    },
  );

  test("a program's own signal listener decides whether it ends; the compilation throws", async () => {
    const started = join(folder, 'started');
    const cc = compiler('cc', `: > ${started}; ${sleep()}`);
    const text = `
      import { openDevice } from '${dist('index.js')}';
      process.on('SIGINT', () => console.log('own'));
      await openDevice('cpu').catch((error) => console.log(error.message));
      console.log('listeners', process.listenerCount('SIGINT'), process.listenerCount('SIGTERM'));`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', text], { env: environment(cc) });
    let out = '';
    child.stdout.on('data', (data) => {
      out += data;
    });
    const closed = once(child, 'close');
    while (!existsSync(started)) await setTimeout(10);
    child.kill('SIGINT');
    expect(await closed).toEqual([0, null]);
    expect(out).toMatch(/^own\ncpu_runtime\.c did not compile with .*\nit was ended by SIG\w+\nlisteners 1 0\n$/);
    await untilGone();
  });
});

describe('CC', () => {
  test.each([
    ['a command that is not there', 'no-such-cc', 'ENOENT'],
    ['a file that may not be executed', 'plain', 'EACCES'],
    ['a folder', '.', 'it is a folder'],
    ['a wrapper without the rest of its words', '"ccache gcc"', 'ENOENT'],
    ['a command whose first word is not there', 'no-such-wrapper gcc', 'ENOENT'],
    ['one that ends with an error', 'false', 'exit 1'],
  ])('%s is refused', (_, name, reason) => {
    writeFileSync(join(folder, 'plain'), '');
    const cc = name === 'plain' ? join(folder, 'plain') : name === '.' ? folder : name;
    const { stderr, status } = run(cc);
    expect(stderr).toContain(`which cannot be run: ${reason}; fix it, or unset CC`);
    expect(status).toBe(1);
  });

  test('may be a wrapper with arguments', () => {
    const log = join(folder, 'log');
    const wrapper = join(folder, 'wrap');
    writeFileSync(wrapper, `#!/bin/sh\necho "$1" >> ${log}\nexec "$@"\n`);
    chmodSync(wrapper, 0o755);
    expect(run(`${wrapper} ${real}`).stdout).toBe('1,1,1\n');
    expect(new Set(readFileSync(log, 'utf8').trim().split('\n'))).toEqual(new Set([real]));
  });
});

describe('without a cache nothing stays in the temporary folder', () => {
  test.each([
    ['after work', ''],
    ['after an error', "throw new Error('x');"],
    ['after process.exit', 'process.exit(0);'],
  ])('%s', (_, end) => {
    const text = `${program()}
      import { accumulate } from '${dist('kernels/inner/accumulate.js')}';
      import { readdirSync } from 'node:fs';
      accumulate(ones([3]), ones([3]));
      console.log(readdirSync('${temporary}').length, process.listenerCount('SIGINT'));
      ${end}`;
    const { stdout } = run(real, text, { RECTIFLOW_CACHE: 'off' });
    // Nor does anything stay while the program runs.
    expect(stdout).toBe('1,1,1\n0 0\n');
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('after a worker', () => {
    const text = `
      import { Worker } from 'node:worker_threads';
      const url = new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(program())}));
      await Promise.all([1, 2].map(() => new Promise((resolve) => new Worker(url).on('exit', resolve))));`;
    const { stdout, stderr } = run(real, text, { RECTIFLOW_CACHE: 'off' });
    expect(stdout, stderr).toBe('1,1,1\n1,1,1\n');
    expect(readdirSync(temporary)).toEqual([]);
  });
});

test('finds no fault in a complete library, and one in any truncation of it', () => {
  const file = join(folder, 'x.so');
  spawnSync(real, ['-shared', '-x', 'c', '-', '-o', file], { input: 'int x;' });
  const bytes = readFileSync(file);
  expect(libraryFault(bytes)).toBeUndefined();
  for (let length = 0; length < bytes.length; length += 61)
    expect(libraryFault(bytes.subarray(0, length))).toBeTypeOf('string');
});
