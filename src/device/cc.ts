// The host's C compiler: found once, run on one source at a time, its whole log in the error.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { CompileError } from '../errors.ts';

export interface Compiler {
  command: string;
  /** First line of `--version`: part of the cache key. */
  version: string;
}

const FLAGS = ['-O3', '-fno-math-errno', '-fno-trapping-math', '-shared', '-fPIC', '-std=gnu11'];
const LINK = process.platform === 'darwin' ? [] : ['-Wl,-z,nodelete'];

let found: Compiler | undefined;

/** Every command that is tried, in order. */
export function compilerCandidates(): string[] {
  return [process.env.CC, 'cc', 'gcc', 'clang'].filter((name): name is string => !!name);
}

/** @throws CompileError saying what was tried and what to install */
export function findCompiler(): Compiler {
  const tried = compilersTried();
  if (tried === undefined) return found as Compiler;
  throw new CompileError(`${compilerMissing(tried)}. The device wasm needs none`);
}

/** What to do about it. */
export function compilerMissing(tried: string): string {
  return (
    `the device cpu needs a C compiler; tried ${tried}. Install one (Debian, Ubuntu: ` +
    '`apt-get install gcc libc6-dev`; Fedora: `dnf install gcc`; macOS: `xcode-select --install`) or name one by CC'
  );
}

/** Looks for a compiler. @returns what was tried, where there is none; undefined where there is */
export function compilersTried(): string | undefined {
  if (found) return undefined;
  const tried: string[] = [];
  for (const command of compilerCandidates()) {
    const { status, stdout, error } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    if (status === 0) {
      found = { command, version: stdout.split('\n')[0] };
      return undefined;
    }
    tried.push(`${command} (${error ? (error as NodeJS.ErrnoException).code : `exit ${status}`})`);
  }
  return tried.join(', ');
}

/** The full flag list of a compilation with these extra flags, for the instruction set that the compiler knows by this name. */
export function compilerFlags(extra: readonly string[], march: string): string[] {
  const contraction = extra.some((flag) => flag.startsWith('-ffp-contract')) ? [] : ['-ffp-contract=fast'];
  return [...FLAGS, `-march=${march}`, ...contraction, ...extra];
}

/** What -march=native stands for here: binaries of one CPU type must not meet another that shares the home folder. */
export function cpuIdentity(): string {
  const model = cpus()[0]?.model ?? 'unknown';
  let flags = '';
  try {
    flags = /^(flags|Features)\s*:.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0] ?? '';
  } catch {
    // Not Linux: the model name has to do.
  }
  return `${process.platform} ${process.arch} ${model} ${flags}`;
}

function argumentsFor(source: string, output: string, flags: readonly string[]): string[] {
  return [...flags, '-x', 'c', source, '-o', output, ...LINK, '-lpthread'];
}

/** Compiles `source` to the shared library `output`. @param flags of compilerFlags @throws CompileError */
export function compileSync(name: string, source: string, output: string, flags: readonly string[]): void {
  const compiler = findCompiler();
  const result = spawnSync(compiler.command, argumentsFor(source, output, flags), { encoding: 'utf8' });
  if (result.status !== 0) throw failure(name, compiler, result.stderr, result.error);
}

/** As compileSync, in a process of its own. */
export function compile(name: string, source: string, output: string, flags: readonly string[]): Promise<void> {
  const compiler = findCompiler();
  return new Promise((resolve, reject) => {
    const child = spawn(compiler.command, argumentsFor(source, output, flags), { stdio: ['ignore', 'ignore', 'pipe'] });
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text;
    });
    child.on('error', (error) => reject(failure(name, compiler, log, error)));
    child.on('close', (status) => (status === 0 ? resolve() : reject(failure(name, compiler, log))));
  });
}

function failure(name: string, compiler: Compiler, log: string, cause?: Error): CompileError {
  const detail = log?.trim() || cause?.message || 'no message';
  return new CompileError(`${name}.c did not compile with ${compiler.command} (${compiler.version}):\n${detail}`, {
    cause,
  });
}
