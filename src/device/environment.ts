// Every environment variable that the package reads: what it means and which values it takes. Nothing else reads the
// environment. A variable that is set to nothing counts as not set; one that is set to nonsense is an error wherever it is used.
import { statSync } from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { resolve } from 'node:path';
import { nearestName, ValueError } from '../errors.ts';

/** Threads of one device. */
export const MOST_THREADS = 256;

interface Variable<T> {
  meaning: string;
  /** Completes "NAME must be ...". */
  expected: string;
  /** The value, or undefined for a text that is none. */
  read(text: string): T | undefined;
}

const anyText = (meaning: string, expected: string): Variable<string> => ({ meaning, expected, read: (text) => text });

const oneOf = <T>(meaning: string, expected: string, values: Record<string, T>): Variable<T> => ({
  meaning,
  expected,
  read: (text) => (Object.hasOwn(values, text) ? values[text] : undefined),
});

/** A folder that is there or is yet to be made; relative ones are below the working directory. */
const folder = (meaning: string): Variable<string> => ({
  meaning,
  expected: 'a folder',
  read: (text) => ((kindOf(text) ?? 'folder') === 'folder' ? resolve(text) : undefined),
});

const cacheFolder = folder('folder of compiled kernels, or off; default: ~/.cache/rectiflow/kernels');

export const variables = {
  RECTIFLOW_THREADS: {
    meaning: 'threads of the devices cpu and wasm; default: all that the system grants',
    expected: `a whole number from 1 to ${MOST_THREADS}`,
    read: (text: string) => whole(Number(text), 1, MOST_THREADS),
  },
  RECTIFLOW_MARCH: {
    meaning: 'instruction set of the kernels of the device cpu, by the name that the C compiler knows; default native',
    expected: 'the name of an instruction set, such as x86-64-v3',
    read: (text: string) => (/^[\w.+-]+$/.test(text) ? text : undefined),
  },
  RECTIFLOW_TUNING: {
    meaning:
      'file of `rectiflow tune`: which convolution algorithm is faster where, in place of the table of the package; ' +
      'commands read it, a program calls `useNamedTuning`',
    expected: 'a file of `rectiflow tune`',
    read: (text: string) => (kindOf(text) === 'file' ? text : undefined),
  },
  RECTIFLOW_CACHE: {
    ...cacheFolder,
    expected: 'a folder, or off',
    read: (text: string) => (text === 'off' ? text : cacheFolder.read(text)),
  },
  RECTIFLOW_DATA: folder('folder of downloads and of statistics of data sets; default: ~/.cache/rectiflow/data'),
  RECTIFLOW_DEBUG: oneOf(
    'what is told on standard error: 0 nothing, 1 devices, cache and leaks, 2 also each kernel with its time, 3 also sources',
    '0, 1, 2 or 3',
    { 0: 0, 1: 1, 2: 2, 3: 3 },
  ),
  RECTIFLOW_CUDA_CACHING: oneOf('whether the device cuda keeps memory that was freed, 1 or 0; default 1', '0 or 1', {
    0: false,
    1: true,
  }),
  RECTIFLOW_TORCH_PYTHON: anyText('the Python of comparisons with PyTorch; default python3', 'a Python that runs'),
  CC: {
    meaning: 'the C compiler, with arguments if need be, such as ccache gcc; default: the first of cc, gcc, clang',
    expected: 'a command, its words separated by blanks',
    read: commandWords,
  },
  LIBCUDA_PATH: anyText('file of libcuda, the NVIDIA driver', 'a library'),
  LIBNVRTC_PATH: anyText('file of libnvrtc', 'a library'),
  LIBLAPACK_PATH: anyText('file of LAPACK', 'a library'),
  // What follows is shared with other programs and only says where else to look: what is not there is passed over.
  CUDA_HOME: anyText('a CUDA toolkit in which libnvrtc is looked for', 'a folder'),
  CUDA_PATH: anyText('as CUDA_HOME', 'a folder'),
  CUDA_VISIBLE_DEVICES: anyText('read by the NVIDIA driver; quoted where a card does not exist', 'numbers of cards'),
  VIRTUAL_ENV: anyText('a Python environment in which libnvrtc is looked for', 'a folder'),
  CONDA_PREFIX: anyText('as VIRTUAL_ENV', 'a folder'),
  XDG_CACHE_HOME: anyText('the folder of caches, where it is absolute; default ~/.cache', 'an absolute folder'),
  XDG_RUNTIME_DIR: anyText(
    'where kernels are compiled if neither the cache nor the temporary folder serves',
    'a folder',
  ),
} satisfies Record<string, Variable<unknown>>;

export type VariableName = keyof typeof variables;
type ValueOf<Name extends VariableName> = NonNullable<ReturnType<(typeof variables)[Name]['read']>>;

/** The value of a variable, undefined where it is not set. @throws ValueError naming variable, value and what is expected */
export function fromEnvironment<Name extends VariableName>(name: Name): ValueOf<Name> | undefined {
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  const { expected, read } = variables[name];
  const value = read(text);
  if (value === undefined) throw new ValueError(`${name} must be ${expected}, got ${text}`);
  return value as ValueOf<Name>;
}

/** Undefined for a user who has neither HOME nor an entry in the list of users, as in a container that runs under a number. */
export function homeFolder(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

/** What the environment says, for whoever is to see it. */
interface EnvironmentSurvey {
  /** Variables that are set and that no other program cares for, as "NAME=text". */
  set: string[];
  /** Values that are none, a line each. */
  wrong: string[];
  /** Names that begin as ours do and are not known, a line each: a slip of the pen would have no effect. */
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
  // Those of the tests are theirs.
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

function whole(value: number, least: number, most: number): number | undefined {
  return Number.isInteger(value) && value >= least && value <= most ? value : undefined;
}

/** What a path names; undefined where there is nothing. */
/** What is there; 'nowhere' for a path that nothing can be at: below a file, in a circle of links, too long. */
function kindOf(path: string): 'file' | 'folder' | 'nowhere' | undefined {
  try {
    const info = statSync(path, { throwIfNoEntry: false });
    return info && (info.isDirectory() ? 'folder' : 'file');
  } catch {
    return 'nowhere';
  }
}

/**
 * The words of a command as a shell splits them, quotes understood and nothing expanded; a path with blanks that is there is
 * one word. undefined for no words or an open quote.
 */
function commandWords(text: string): [string, ...string[]] | undefined {
  if (kindOf(text) === 'file') return [text];
  const word = /(?:[^\s'"]|'[^']*'|"[^"]*")+/g;
  if (/\S/.test(text.replace(word, ''))) return undefined;
  const [command, ...rest] = [...text.matchAll(word)].map(([quoted]) => quoted.replace(/'([^']*)'|"([^"]*)"/g, '$1$2'));
  return command === undefined || command === '' ? undefined : [command, ...rest];
}

/** RECTIFLOW_THREADS, or all that the system grants. Several processes on one machine are sooner done with their share each. */
export function defaultThreads(): number {
  return fromEnvironment('RECTIFLOW_THREADS') ?? Math.min(availableParallelism(), MOST_THREADS);
}
