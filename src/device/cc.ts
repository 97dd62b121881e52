// The host's C compiler: found once, run on one source at a time within a limit of time, its log in the error.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { CompileError } from '../errors.ts';
import { type Outcome, run, runSync } from './command.ts';
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

/** Milliseconds after which a compiler is stopped: asked for its version, and compiling one file. */
export const compilerLimits = { version: 30_000, file: 600_000 };

/** By the words that were tried: the compiler, or why it did not answer in time. That is not waited for again. */
const known = new Map<string, Compiler | string>();

/** @throws CompileError saying what was tried and what to install, or that CC cannot be run */
export function findCompiler(): Compiler {
  const result = lookForCompiler();
  if ('tried' in result) throw new CompileError(`${describeMissingCompiler(result.tried)}. The device wasm needs none`);
  return result;
}

/** The message for a machine without a C compiler: what was tried and how to install one. */
export function describeMissingCompiler(tried: string): string {
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
  const steps = search();
  let step = steps.next();
  while (!step.done) step = steps.next(answerOf(step.value, runSync(...versionCall(step.value))));
  return step.value;
}

/** As lookForCompiler, which knows a compiler that was found here; the event loop goes on meanwhile. */
export async function lookForCompilerAsync(): Promise<Compiler | { tried: string }> {
  const steps = search();
  let step = steps.next();
  while (!step.done) step = steps.next(answerOf(step.value, await run(...versionCall(step.value))));
  return step.value;
}

type Words = readonly [string, ...string[]];

/** Yields the words of a compiler to ask for its version, takes its answer: the compiler, or why it does not run. */
function* search(): Generator<Words, Compiler | { tried: string }, Compiler | string> {
  const named = fromEnvironment('CC');
  if (named !== undefined) {
    const compiler = known.get(named.join('\0')) ?? (yield named);
    if (typeof compiler !== 'string') return compiler;
    throw new CompileError(`CC names "${named.join(' ')}", which cannot be run: ${compiler}; mend it, or unset CC`);
  }
  const tried: string[] = [];
  for (const command of CANDIDATES) {
    const compiler = known.get(command) ?? (yield [command]);
    if (typeof compiler !== 'string') return compiler;
    tried.push(`${command} (${compiler})`);
  }
  return { tried: tried.join(', ') };
}

function versionCall([command, ...leading]: Words): [string, string[], number] {
  return [command, [...leading, '--version'], compilerLimits.version];
}

function answerOf([command, ...leading]: Words, { status, signal, stdout, error, late }: Outcome): Compiler | string {
  const words = [command, ...leading].join('\0');
  if (late) {
    const reason = `it did not tell its version within ${seconds(compilerLimits.version)}`;
    known.set(words, reason);
    return reason;
  }
  if (error) return isFolder(command) ? 'it is a folder' : (error.code ?? error.message);
  if (status !== 0) return status === null ? `${signal}` : `exit ${status}`;
  const compiler = { command, leading, version: stdout.split('\n')[0] };
  known.set(words, compiler);
  return compiler;
}

function isFolder(path: string): boolean {
  return path.includes('/') && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function seconds(milliseconds: number): string {
  return `${milliseconds / 1000} s`;
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
  check(name, compiler, output, flags, runSync(compiler.command, words, compilerLimits.file));
}

/** As compileSync; the event loop goes on meanwhile. */
export async function compile(name: string, source: string, output: string, flags: readonly string[]): Promise<void> {
  const compiler = findCompiler();
  const words = argumentsFor(compiler, source, output, flags);
  check(name, compiler, output, flags, await run(compiler.command, words, compilerLimits.file));
}

function check(name: string, compiler: Compiler, output: string, flags: readonly string[], outcome: Outcome): void {
  if (outcome.status !== 0 || !existsSync(output)) throw failure(name, compiler, flags, outcome);
}

function failure(
  name: string,
  compiler: Compiler,
  flags: readonly string[],
  { late, signal, stderr, error }: Outcome,
): CompileError {
  const own = compilerTitle(compiler);
  if (late)
    return new CompileError(
      `${own} did not compile ${name}.c within ${seconds(compilerLimits.file)} and was stopped; name another by CC`,
    );
  const march = flags.find((flag) => flag.startsWith('-march=')) as string;
  const set = march.slice('-march='.length);
  // Asked only now that something is wrong: without the instruction set, does an empty file compile?
  const empty = (...more: string[]) => {
    const words = [...compiler.leading, ...more, '-E', '-x', 'c', '/dev/null'];
    return runSync(compiler.command, words, compilerLimits.version).status === 0;
  };
  if (signal === null && empty() && !empty(march))
    return new CompileError(
      `RECTIFLOW_MARCH, or the option march, must be an instruction set that ${own} knows, got ${set}:\n${shorten(stderr)}`,
      { cause: error },
    );
  const ended = signal === null ? 'it wrote no file, and no message' : `it was ended by ${signal}`;
  const detail = shorten(stderr) || error?.message || ended;
  return new CompileError(`${name}.c did not compile with ${own}:\n${detail}`, { cause: error });
}

/** How many lines of a compiler's log an error shows: the first ones tell what is wrong. */
const MOST_LINES = 100;

function shorten(log: string): string {
  const lines = log.trim().split('\n');
  if (lines.length <= MOST_LINES) return lines.join('\n');
  return `${lines.slice(0, MOST_LINES).join('\n')}\n(${lines.length - MOST_LINES} more lines)`;
}

/** With its version, for messages. */
export function compilerTitle(compiler: Compiler): string {
  return `${compilerName(compiler)} (${compiler.version})`;
}
