// The host's C compiler: found once, run on one source at a time with a time limit; errors quote its log.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { CompileError } from '../errors.ts';
import { type Outcome, run, runSync } from './command.ts';
import { fromEnvironment } from './environment.ts';

export interface Compiler {
  command: string;
  /** Arguments of CC that come first: `gcc` in `ccache gcc`. */
  leading: readonly string[];
  /** The first line of `--version`; part of the cache key. */
  version: string;
}

const FLAGS = ['-O3', '-fno-math-errno', '-fno-trapping-math', '-shared', '-fPIC', '-std=gnu11'];
const LINK = process.platform === 'darwin' ? [] : ['-Wl,-z,nodelete'];

/** If CC is not set, the first of these that runs is used. */
const CANDIDATES = ['cc', 'gcc', 'clang'];

/** Time limits in milliseconds for `--version` and for compiling one file. */
export const compilerLimits = { version: 30_000, file: 600_000 };

/** The compiler by command line, or why it did not answer in time; a hanging command is not tried twice. */
const known = new Map<string, Compiler | string>();

/** @throws CompileError saying what was tried and what to install, or that CC cannot be run */
export function findCompiler(): Compiler {
  const result = lookForCompiler();
  if ('tried' in result)
    throw new CompileError(`${describeMissingCompiler(result.tried)}. The device wasm does not need one`);
  return result;
}

/** The error text for a machine without a C compiler. */
export function describeMissingCompiler(tried: string): string {
  return (
    `the device cpu needs a C compiler; tried ${tried}. Install one (Debian, Ubuntu: ` +
    '`apt-get install gcc libc6-dev`; Fedora: `dnf install gcc`; macOS: `xcode-select --install`) or name one by CC'
  );
}

/**
 * Looks for a compiler: the one that CC names, or the first candidate that runs.
 * @returns what was tried, if there is none
 * @throws CompileError if CC names a command that cannot be run; another compiler in its place would be a surprise
 */
export function lookForCompiler(): Compiler | { tried: string } {
  const steps = search();
  let step = steps.next();
  while (!step.done) step = steps.next(answerOf(step.value, runSync(...versionCall(step.value))));
  return step.value;
}

/** Same as lookForCompiler, without blocking the event loop. The result is shared with it. */
export async function lookForCompilerAsync(): Promise<Compiler | { tried: string }> {
  const steps = search();
  let step = steps.next();
  while (!step.done) step = steps.next(answerOf(step.value, await run(...versionCall(step.value))));
  return step.value;
}

type Words = readonly [string, ...string[]];

/** Yields a command to be asked for its version and receives the answer: the compiler, or why it does not run. */
function* search(): Generator<Words, Compiler | { tried: string }, Compiler | string> {
  const named = fromEnvironment('CC');
  if (named !== undefined) {
    const compiler = known.get(named.join('\0')) ?? (yield named);
    if (typeof compiler !== 'string') return compiler;
    throw new CompileError(`CC names "${named.join(' ')}", which cannot be run: ${compiler}; fix it, or unset CC`);
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
    const reason = `it did not print its version within ${seconds(compilerLimits.version)}`;
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

/** The command as a person types it. */
export function compilerName({ command, leading }: Compiler): string {
  return [command, ...leading].join(' ');
}

/** All flags of a compilation. @param extra the module's own flags @param march an instruction set by the compiler's name */
export function compilerFlags(extra: readonly string[], march: string): string[] {
  const contraction = extra.some((flag) => flag.startsWith('-ffp-contract')) ? [] : ['-ffp-contract=fast'];
  return [...FLAGS, `-march=${march}`, ...contraction, ...extra];
}

/** What -march=native means on this machine: two CPU types that share a home folder must not load each other's binaries. */
export function cpuIdentity(): string {
  const model = cpus()[0]?.model ?? 'unknown';
  let flags = '';
  try {
    flags = /^(flags|Features)\s*:.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0] ?? '';
  } catch {
    // Systems other than Linux: the model name has to suffice.
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

/** Same as compileSync, without blocking the event loop. */
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
  // Find out whether the instruction set is at fault: does an empty file compile without it?
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

/** How many lines of a compiler's log an error shows. The first ones say what is wrong. */
const MOST_LINES = 100;

function shorten(log: string): string {
  const lines = log.trim().split('\n');
  if (lines.length <= MOST_LINES) return lines.join('\n');
  return `${lines.slice(0, MOST_LINES).join('\n')}\n(${lines.length - MOST_LINES} more lines)`;
}

/** The command with its version, for messages. */
export function compilerTitle(compiler: Compiler): string {
  return `${compilerName(compiler)} (${compiler.version})`;
}
