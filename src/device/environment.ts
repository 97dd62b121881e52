// Every environment variable that the package reads, and its values; docs/library.md says what they mean. No other file reads the
// environment. An empty variable counts as unset; an invalid value is an error wherever it is used.
import { statSync } from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { resolve } from 'node:path';
import { isWhole } from '../arguments.ts';
import { nearestName, ValueError } from '../errors.ts';

/** The maximum number of threads of one device. */
export const MOST_THREADS = 256;

interface Variable<T> {
  /** Completes "NAME must be ...". */
  expected: string;
  /** Parses the text; undefined if it is invalid. */
  read(text: string): T | undefined;
}

const anyText = (expected: string): Variable<string> => ({ expected, read: (text) => text });

const oneOf = <T>(expected: string, values: Record<string, T>): Variable<T> => ({
  expected,
  read: (text) => (Object.hasOwn(values, text) ? values[text] : undefined),
});

/** A folder that exists or can be created; relative paths start at the working directory. */
const folder: Variable<string> = {
  expected: 'a folder',
  read: (text) => ((kindOf(text) ?? 'folder') === 'folder' ? resolve(text) : undefined),
};

const library = anyText('a library');
const place = anyText('a folder');

export const variables = {
  RECTIFLOW_THREADS: {
    expected: `a whole number from 1 to ${MOST_THREADS}`,
    read: (text: string) => whole(Number(text), 1, MOST_THREADS),
  },
  RECTIFLOW_MARCH: {
    expected: 'the name of an instruction set, such as x86-64-v3',
    read: (text: string) => (/^[\w.+-]+$/.test(text) ? text : undefined),
  },
  RECTIFLOW_TUNING: {
    expected: 'a file of `rectiflow tune`',
    read: (text: string) => (kindOf(text) === 'file' ? text : undefined),
  },
  RECTIFLOW_CACHE: {
    expected: 'a folder, or off',
    read: (text: string) => (text === 'off' ? text : folder.read(text)),
  },
  RECTIFLOW_DATA: folder,
  RECTIFLOW_DEBUG: oneOf('0, 1, 2 or 3', { 0: 0, 1: 1, 2: 2, 3: 3 }),
  RECTIFLOW_CUDA_CACHING: oneOf('0 or 1', { 0: false, 1: true }),
  RECTIFLOW_VERIFY: oneOf('0 or 1', { 0: false, 1: true }),
  RECTIFLOW_MPI: library,
  RECTIFLOW_TIMEOUT: {
    expected: 'a whole number of seconds',
    read: (text: string) => whole(Number(text), 1, 1e6),
  },
  RECTIFLOW_TORCH_PYTHON: anyText('a Python that runs'),
  CC: { expected: 'a command, its words separated by blanks', read: commandWords },
  CLANG: anyText('a command'),
  WASM_LD: anyText('a command'),
  LIBCUDA_PATH: library,
  LIBNVRTC_PATH: library,
  LIBLAPACK_PATH: library,
  // The variables below are shared with other programs and only add places to look; missing folders are skipped.
  CUDA_HOME: place,
  CUDA_PATH: place,
  CUDA_VISIBLE_DEVICES: anyText('numbers of cards'),
  VIRTUAL_ENV: place,
  CONDA_PREFIX: place,
  XDG_CACHE_HOME: anyText('an absolute folder'),
  XDG_RUNTIME_DIR: place,
} satisfies Record<string, Variable<unknown>>;

export type VariableName = keyof typeof variables;
type ValueOf<Name extends VariableName> = NonNullable<ReturnType<(typeof variables)[Name]['read']>>;

/** The value of a variable; undefined if it is not set. @throws ValueError naming the variable, its value and what is expected */
export function fromEnvironment<Name extends VariableName>(name: Name): ValueOf<Name> | undefined {
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  const { expected, read } = variables[name];
  const value = read(text);
  if (value === undefined) throw new ValueError(`${name} must be ${expected}, got ${text}`);
  return value as ValueOf<Name>;
}

/** Undefined for a user without HOME and without a passwd entry, as in a container that runs with a numeric user id. */
export function homeFolder(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

/** A summary of the environment for `doctor` and the CLI. */
interface EnvironmentSurvey {
  /** Variables of this package that are set, as "NAME=text". */
  set: string[];
  /** Invalid values, one line each. */
  wrong: string[];
  /** Unknown names with our prefix, one line each: probably typos, which would have no effect. */
  unknown: string[];
}

export function surveyEnvironment(): EnvironmentSurvey {
  const names = Object.keys(variables) as VariableName[];
  const ours = names.filter((name) => /^(RECTIFLOW_|CC$|LIB)/.test(name) && process.env[name]);
  const wrong = ours.flatMap((name) => {
    try {
      fromEnvironment(name);
      return [];
    } catch (error) {
      return [(error as Error).message];
    }
  });
  // Variables of the tests are not checked here.
  const strange = Object.keys(process.env).filter(
    (name) => /^RECTIFLOW_(?!TEST_)/.test(name) && !Object.hasOwn(variables, name),
  );
  const unknown = strange.map((name) => {
    const known = names.filter((one) => one.startsWith('RECTIFLOW_'));
    const near = nearestName(name, known);
    return `the environment variable ${name} has no effect; ${near ? `did you mean ${near}?` : `known are ${known.join(', ')}`}`;
  });
  return { set: ours.map((name) => `${name}=${process.env[name]}`), wrong, unknown };
}

/** All variables of the table that are set, as "NAME=text". */
export function variablesInUse(): string[] {
  return Object.keys(variables).flatMap((name) => (process.env[name] ? [`${name}=${process.env[name]}`] : []));
}

/** The names of the user and of the machine that the environment holds. */
export function namesInEnvironment(): { users: string[]; hosts: string[] } {
  const values = (names: readonly string[]) => names.flatMap((name) => process.env[name] || []);
  return { users: values(['USER', 'LOGNAME', 'USERNAME', 'SUDO_USER']), hosts: values(['HOSTNAME', 'COMPUTERNAME']) };
}

function whole(value: number, least: number, most: number): number | undefined {
  return isWhole(value, least, most) ? value : undefined;
}

/** What a path names: undefined for nothing, 'nowhere' for a path that cannot exist: below a file, in a loop of links, or too long. */
function kindOf(path: string): 'file' | 'folder' | 'nowhere' | undefined {
  try {
    const info = statSync(path, { throwIfNoEntry: false });
    return info && (info.isDirectory() ? 'folder' : 'file');
  } catch {
    return 'nowhere';
  }
}

/**
 * Splits a command into words like a shell: quotes are understood, nothing is expanded. An existing path with blanks is one word.
 * @returns undefined for no words or an unclosed quote
 */
function commandWords(text: string): [string, ...string[]] | undefined {
  if (kindOf(text) === 'file') return [text];
  const word = /(?:[^\s'"]|'[^']*'|"[^"]*")+/g;
  if (/\S/.test(text.replace(word, ''))) return undefined;
  const [command, ...rest] = [...text.matchAll(word)].map(([quoted]) => quoted.replace(/'([^']*)'|"([^"]*)"/g, '$1$2'));
  return command === undefined || command === '' ? undefined : [command, ...rest];
}

/** RECTIFLOW_THREADS, or all that the system grants. Several processes on one machine finish sooner if they share the cores. */
export function defaultThreads(): number {
  return fromEnvironment('RECTIFLOW_THREADS') ?? Math.min(availableParallelism(), MOST_THREADS);
}

/** The whole environment, in which launchers write. */
export function wholeEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
