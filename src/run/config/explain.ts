// What is known about a key: its text, type, default and origin, for `rectiflow config explain`, --help, docs/config.md and the
// comments in types.ts.
import { z } from 'zod';
import { type KeyProperties, type Reader, textOfTable } from './keys.ts';
import { configSchema } from './schema.ts';
import { keyProperties, leafPaths, typeAt, valueAt } from './tree.ts';
import { describeType } from './values.ts';

/** The facts about one key. */
export interface KeyFacts extends Omit<KeyProperties, 'needs'> {
  /** Dotted path. */
  readonly key: string;
  /** number, text, true or false, a list of numbers, or the choices. */
  readonly type: string;
  /** The values that are accepted, in words. */
  readonly expected: string;
  /** The value in the configuration `base`. */
  readonly default: unknown;
  /** The setting without which the key has no effect, in words. */
  readonly needs?: string;
}

/** The dotted paths of all keys. */
export function allKeys(): string[] {
  return leafPaths().map((path) => path.join('.'));
}

/** The tables of the schema, with what each is for. */
export function tablesOf(): { name: string; text: string }[] {
  return Object.entries(configSchema.shape).flatMap(([name, type]) =>
    type instanceof z.ZodObject ? [{ name, text: textOfTable(type) }] : [],
  );
}

/** @param base the configuration whose values are the defaults */
export function factsOf(key: string, base: unknown): KeyFacts {
  const type = typeAt(key.split('.')) as z.ZodType;
  const { needs, ...properties } = keyProperties(key) as KeyProperties;
  return {
    key,
    type: typeName(type),
    expected: describeType(type),
    default: valueAt(base, key),
    ...properties,
    ...(needs && { needs: `${needs.key} is ${needs.words}` }),
  };
}

/**
 * The keys that a command reads, in the form of `Command.overrides`: a table of which it reads every key is its name with a
 * dot.
 */
export function keysReadBy(reader: Reader): string[] {
  const reads = (key: string) => keyProperties(key)?.readBy.includes(reader) === true;
  return Object.entries(configSchema.shape).flatMap(([name, type]) => {
    if (!(type instanceof z.ZodObject)) return reads(name) ? [name] : [];
    const keys = Object.keys(type.shape).map((key) => `${name}.${key}`);
    const read = keys.filter(reads);
    return read.length === keys.length ? [`${name}.`] : read;
  });
}

/** A value as the command line takes it. */
export function formatValue(value: unknown): string {
  if (value === '') return "''";
  return typeof value === 'string' ? value : JSON.stringify(value).replaceAll(',', ', ');
}

/** Whether a change of the key is allowed when a run resumes, in words. */
export function describeBinding({ binds }: KeyFacts): string {
  return {
    network: 'a run resumes with the same value only: the network depends on it',
    run: 'a run resumes with the same value only',
    nothing: 'may change when a run resumes',
  }[binds];
}

/** Where a key is from, in words. */
export function describeOrigin({ ours, source, key }: KeyFacts): string {
  const origin = ours ? 'not in the official code' : `config.${key} of the official code`;
  return source === undefined ? origin : `${origin}; ${source}`;
}

function typeName(type: z.ZodType): string {
  if (type instanceof z.ZodBoolean || type instanceof z.ZodLiteral) return 'true or false';
  if (type instanceof z.ZodArray) return 'list of numbers';
  if (type instanceof z.ZodNumber) return type.isInt ? 'whole number' : 'number';
  if (type instanceof z.ZodUnion) return 'choice or whole number';
  return type instanceof z.ZodEnum ? 'choice' : 'text';
}
