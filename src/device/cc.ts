// The host's C compiler: found once, run on one source at a time, its whole log in the error.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { CompileError } from '../errors.ts';
import { fromEnvironment } from './environment.ts';

export interface Compiler {
  command: string;
  /** Arguments ahead of all others, those of CC: `gcc` in `ccache gcc`. */
  leading: readonly string[];
  /** First line of `--version`: part of the cache key. */
  version: string;
}

const FLAGS = ['-O3', '-fno-math-errno', '-fno-trapping-math', '-shared', '-fPIC', '-std=gnu11'];
const LINK = process.platform === 'darwin' ? [] : ['-Wl,-z,nodelete'];

/** Where CC is not set, the first of these that runs. */
const CANDIDATES = ['cc', 'gcc', 'clang'];

/** By the words that were tried. */
const found = new Map<string, Compiler>();

/** @throws CompileError saying what was tried and what to install, or that CC cannot be run */
export function findCompiler(): Compiler {
  const result = lookForCompiler();
  if ('tried' in result) throw new CompileError(`${compilerMissing(result.tried)}. The device wasm needs none`);
  return result;
}

/** What to do about it. */
export function compilerMissing(tried: string): string {
  return (
    `the device cpu needs a C compiler; tried ${tried}. Install one (Debian, Ubuntu: ` +
    '`apt-get install gcc libc6-dev`; Fedora: `dnf install gcc`; macOS: `xcode-select --install`) or name one by CC'
  );
}

/**
 * Looks for a compiler: that of CC, or the first that runs.
 * @returns what was tried, where there is none
 * @throws CompileError if CC names one that cannot be run: another in its place would be a surprise
 */
export function lookForCompiler(): Compiler | { tried: string } {
  const named = fromEnvironment('CC');
  if (named !== undefined) {
    const compiler = ask(named);
    if (typeof compiler !== 'string') return compiler;
    throw new CompileError(`CC names "${named.join(' ')}", which cannot be run: ${compiler}; mend it, or unset CC`);
  }
  const tried: string[] = [];
  for (const command of CANDIDATES) {
    const compiler = ask([command]);
    if (typeof compiler !== 'string') return compiler;
    tried.push(`${command} (${compiler})`);
  }
  return { tried: tried.join(', ') };
}

/** The compiler of these words, or why it does not run. */
function ask([command, ...leading]: readonly [string, ...string[]]): Compiler | string {
  const key = [command, ...leading].join('\0');
  const known = found.get(key);
  if (known) return known;
  const { status, signal, stdout, error } = spawnSync(command, [...leading, '--version'], { encoding: 'utf8' });
  if (error) return (error as NodeJS.ErrnoException).code ?? error.message;
  if (status !== 0) return status === null ? `${signal}` : `exit ${status}`;
  const compiler = { command, leading, version: stdout.split('\n')[0] };
  found.set(key, compiler);
  return compiler;
}

/** As a person types it. */
export function compilerName({ command, leading }: Compiler): string {
  return [command, ...leading].join(' ');
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

function argumentsFor({ leading }: Compiler, source: string, output: string, flags: readonly string[]): string[] {
  return [...leading, ...flags, '-x', 'c', source, '-o', output, ...LINK, '-lpthread'];
}

/** Compiles `source` to the shared library `output`. @param flags of compilerFlags @throws CompileError */
export function compileSync(name: string, source: string, output: string, flags: readonly string[]): void {
  const compiler = findCompiler();
  const words = argumentsFor(compiler, source, output, flags);
  const { status, stderr, error } = spawnSync(compiler.command, words, { encoding: 'utf8' });
  if (status !== 0 || !existsSync(output)) throw failure(name, compiler, flags, stderr, error);
}

/** As compileSync, in a process of its own. */
export function compile(name: string, source: string, output: string, flags: readonly string[]): Promise<void> {
  const compiler = findCompiler();
  return new Promise((resolve, reject) => {
    const words = argumentsFor(compiler, source, output, flags);
    const child = spawn(compiler.command, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text;
    });
    child.on('error', (error) => reject(failure(name, compiler, flags, log, error)));
    child.on('close', (status) =>
      status === 0 && existsSync(output) ? resolve() : reject(failure(name, compiler, flags, log)),
    );
  });
}

function failure(name: string, compiler: Compiler, flags: readonly string[], log: string, cause?: Error): CompileError {
  const own = `${compilerName(compiler)} (${compiler.version})`;
  const march = flags.find((flag) => flag.startsWith('-march=')) as string;
  const set = march.slice('-march='.length);
  // Asked only now that something is wrong: without the instruction set, does an empty file compile?
  const empty = (...more: string[]) =>
    spawnSync(compiler.command, [...compiler.leading, ...more, '-E', '-x', 'c', '/dev/null']).status === 0;
  if (empty() && !empty(march))
    return new CompileError(
      `RECTIFLOW_MARCH, or the option march, must be an instruction set that ${own} knows, got ${set}:\n${log.trim()}`,
      { cause },
    );
  const detail = log?.trim() || cause?.message || 'it wrote no file, and no message';
  return new CompileError(`${name}.c did not compile with ${own}:\n${detail}`, { cause });
}
