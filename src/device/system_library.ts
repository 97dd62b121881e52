// Finds and binds system libraries at run time. Code above device/ declares them as data and calls them.
//
//   signature: kinds of the arguments, "->", kind of the result; e.g. 'ptr str u32 -> i32'. Pointers to results are arrays.
import { RectiflowError } from '../errors.ts';
import type { HostArray } from './device.ts';
import { fromEnvironment, type VariableName } from './environment.ts';
import { parseSignature } from './module.ts';
import { ffiVersion, Library } from './native/loader.ts';

export { ffiVersion } from './native/loader.ts';

interface Kinds {
  /** An address that another call returned. */
  ptr: number;
  size: number;
  i32: number;
  u32: number;
  f64: number;
  /** A zero-terminated char *. */
  str: string;
  /** A typed array, read and written in place for the duration of the call. */
  array: HostArray | BigUint64Array;
  strs: readonly string[];
}

type Kind = keyof Kinds;
const KINDS: readonly Kind[] = ['ptr', 'size', 'i32', 'u32', 'f64', 'str', 'array', 'strs'];
const RETURNS: readonly Kind[] = ['ptr', 'size', 'i32', 'u32', 'f64', 'str'];

type Values<Words extends string> = Words extends `${infer K extends Kind} ${infer Rest}`
  ? [Kinds[K], ...Values<Rest>]
  : Words extends Kind
    ? [Kinds[Words]]
    : [];

/** The TypeScript type of a signature. */
type NativeFunction<S extends string> = S extends `${infer Words} -> ${infer R extends Kind}`
  ? (...values: Values<Words>) => Kinds[R]
  : (...values: Values<S>) => void;

export interface SystemLibrary<Functions extends Readonly<Record<string, string>>> {
  /** The library's name in messages. */
  readonly name: string;
  /** What needs it, named in the error if it is missing: "LSUN's databases". */
  readonly purpose: string;
  /** File names or paths, tried in order where the system's loader looks. */
  readonly files: readonly string[];
  /** Libraries that this one opens by bare name: files to load before `file`. */
  readonly companions?: (file: string) => readonly string[];
  /** The environment variable that overrides the file. */
  readonly variable: VariableName & `LIB${string}`;
  /** How to install it. */
  readonly install: string;
  /** Function -> signature. */
  readonly functions: Functions;
}

export type NativeFunctions<Functions extends Readonly<Record<string, string>>> = {
  readonly [Name in keyof Functions]: NativeFunction<Functions[Name]>;
};

/** Loaded libraries by name and place. Entries are never removed, because a library is not unloaded. */
const opened = new Map<string, unknown>();

/** @throws RectiflowError saying where it was looked for, which variable sets it and how to install it */
export function openSystemLibrary<const Functions extends Readonly<Record<string, string>>>(
  spec: SystemLibrary<Functions>,
): NativeFunctions<Functions> {
  const named = fromEnvironment(spec.variable);
  const candidates = named ? [named] : spec.files;
  const key = [spec.name, ...candidates].join('\0');
  let functions = opened.get(key) as NativeFunctions<Functions> | undefined;
  if (!functions) {
    functions = bindAll(load(spec, candidates), spec.functions);
    opened.set(key, functions);
  }
  return functions;
}

function load(spec: SystemLibrary<Readonly<Record<string, string>>>, candidates: readonly string[]): Library {
  // Load koffi first, so that a failure below is the library's.
  ffiVersion();
  /** Failed files by the loader's reason. */
  const tried = new Map<string, string[]>();
  for (const file of candidates) {
    let path = file;
    try {
      for (path of spec.companions?.(file) ?? []) new Library(path);
      path = file;
      return new Library(file);
    } catch (error) {
      const text = ((error as Error).cause as Error).message;
      const reason = text.replace('Failed to load shared library: ', '').replace(`${path}: `, '');
      tried.set(reason, [...(tried.get(reason) ?? []), path]);
    }
  }
  const reasons = [...tried].map(([reason, files]) => `cannot load ${files.join(', ')}: ${reason}`).join('; ');
  const origin = fromEnvironment(spec.variable) ? `, named by ${spec.variable}` : '';
  throw new RectiflowError(
    `${spec.name}, needed for ${spec.purpose}, was not found${origin}: ${reasons}. ` +
      `Install it (${spec.install}) or set ${spec.variable} to its file`,
  );
}

function bindAll<Functions extends Readonly<Record<string, string>>>(
  library: Library,
  signatures: Functions,
): NativeFunctions<Functions> {
  const bound = Object.entries(signatures).map(([symbol, signature]) => {
    const { parameters, returns } = parseSignature(signature, KINDS, RETURNS);
    return [symbol, library.bindKinds<unknown, unknown>(symbol, parameters, returns)];
  });
  return Object.fromEntries(bound) as NativeFunctions<Functions>;
}
