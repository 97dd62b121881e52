// Configurations as trees of plain values: merging, differences, and validation against the schema.
import { z } from 'zod';
import { describeValue } from '../../arguments.ts';
import { ConfigError, nearestName } from '../../errors.ts';
import { type KeyProperties, propertiesOf } from './keys.ts';
import { configSchema, disagreements } from './schema.ts';
import type { Config, KeyPath } from './types.ts';
import { describeType, suggestValue } from './values.ts';

export type Tree = { [key: string]: unknown };

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Merges `over` into a copy of `base`: trees key by key, other values as a whole. */
export function merge(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const old = Object.hasOwn(base, key) ? base[key] : undefined;
    // Makes __proto__ an ordinary key, which the schema refuses.
    Object.defineProperty(merged, key, {
      value: isTree(old) && isTree(value) ? merge(old, value) : value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return merged;
}

const MAX_DEPTH = 20;
/** More items than any list of the schema may have. */
const MAX_ITEMS = 10_000;

/**
 * A copy of plain values, without accessors and proxies: what is read of it later is data.
 * @throws ConfigError for an object of a class, a list that is too long, and values that are nested too deeply or in a circle
 */
export function copyTree(value: unknown, path: readonly string[] = []): unknown {
  if (path.length > MAX_DEPTH) throw new ConfigError(`the configuration is nested deeper than ${MAX_DEPTH}`);
  if (Array.isArray(value) && value.length > MAX_ITEMS)
    throw new ConfigError(`${path.join('.')}: expected at most ${MAX_ITEMS} items, got ${describeValue(value)}`);
  if (Array.isArray(value)) return Array.from(value, (item, i) => copyTree(item, [...path, String(i)]));
  if (!isTree(value)) return value;
  if (![Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    const place = path.length === 0 ? '' : `${path.join('.')}: `;
    throw new ConfigError(`${place}expected plain values, got ${describeValue(value)}`);
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copyTree(inner, [...path, key])]));
}

/** The dotted paths of all values in a tree. */
export function leaves(tree: Tree, above = ''): string[] {
  return Object.entries(tree).flatMap(([key, value]) =>
    isTree(value) ? leaves(value, `${above}${key}.`) : [`${above}${key}`],
  );
}

/** The value of a key by its dotted path; undefined if the tree has no such key. */
export function valueAt(tree: unknown, key: string): unknown {
  return key.split('.').reduce((at, name) => (isTree(at) && Object.hasOwn(at, name) ? at[name] : undefined), tree);
}

/** A leaf in which two trees differ. */
export interface Difference {
  path: string;
  a: unknown;
  b: unknown;
}

/** The leaves in which two trees differ; a missing leaf is undefined. */
export function differences(a: unknown, b: unknown, above = ''): Difference[] {
  if (!isTree(a) || !isTree(b)) return JSON.stringify(a) === JSON.stringify(b) ? [] : [{ path: above, a, b }];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) => differences(a[key], b[key], above ? `${above}.${key}` : key));
}

/** Most unknown keys of one table that a message names. */
const LISTED = 20;
/** Most lines of one message. */
const MOST_FAULTS = 50;

/**
 * Validates a tree.
 * @throws ConfigError with one line per fault: path, expected value and, for an unknown key, the nearest name
 */
export function checkConfig(tree: unknown, origin: string): Config {
  const result = configSchema.safeParse(tree);
  const faults = result.success
    ? disagreements(result.data)
    : [...new Set(result.error.issues.flatMap((issue) => describe(issue, tree)))];
  if (result.success && faults.length === 0) return result.data;
  const more = faults.length > MOST_FAULTS ? [`and ${faults.length - MOST_FAULTS} more faults`] : [];
  const lines = [...faults.slice(0, MOST_FAULTS), ...more].map((fault) => `  ${fault}`);
  throw new ConfigError([`invalid configuration ${origin}:`, ...lines]);
}

function describe(issue: z.core.$ZodIssue, tree: unknown): string[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    const { keys } = issue;
    const more = keys.length > LISTED ? [`and ${keys.length - LISTED} more unknown keys`] : [];
    return [...keys.slice(0, LISTED).map((key) => unknownKey([...path, key])), ...more];
  }
  const value = path.reduce<unknown>(
    (at, key) => (isTree(at) || Array.isArray(at) ? (at as Tree)[key] : undefined),
    tree,
  );
  const got = value === undefined ? 'is missing' : `got ${describeValue(value)}`;
  if (value !== undefined && path.length > 0 && keysAt(path)) return [`${unknownKey(path)}; ${got}`];
  const type = typeAt(path);
  const message = issue.code === 'custom' || type === undefined ? issue.message : `expected ${describeType(type)}`;
  const near = typeof value === 'string' && type ? suggestValue(type, value) : undefined;
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  return [`${path.join('.') || 'the whole'}: ${message}; ${got}${hint}`];
}

/** "unknown key model.nff; did you mean model.nf?" */
export function unknownKey(path: readonly string[]): string {
  const inner = keysAt(path);
  if (inner) return `${path.join('.')} is a table; name one of its keys: ${inner.join(', ')}`;
  const nested = path.flatMap((key) => key.split('.'));
  if (nested.length > path.length && typeAt(nested))
    return `unknown key "${path.join('.')}"; write ${nested.map((key) => `{ ${key}: `).join('')}...${' }'.repeat(nested.length)}`;
  const siblings = keysAt(path.slice(0, -1)) ?? Object.keys(configSchema.shape);
  const near = keysCalled(path.at(-1) as string)[0] ?? sibling(path, siblings);
  return `unknown key ${path.join('.')}${near ? `; did you mean ${near}?` : `; the keys there are ${siblings.join(', ')}`}`;
}

/** What other programs call keys. */
const synonyms: Readonly<Record<string, KeyPath>> = {
  learning_rate: 'optim.lr',
  epochs: 'training.n_iters',
  iterations: 'training.n_iters',
};

/** The dotted paths of the keys of that name in any table, whatever its case, or of the key that other programs call so. */
export function keysCalled(name: string): string[] {
  const wanted = name.toLowerCase().replaceAll('-', '_');
  const keys = leafPaths().filter((leaf) => leaf.at(-1)?.toLowerCase() === wanted);
  if (keys.length > 0) return keys.map((leaf) => leaf.join('.'));
  return Object.hasOwn(synonyms, wanted) ? [synonyms[wanted]] : [];
}

function sibling(path: readonly string[], siblings: readonly string[]): string | undefined {
  const near = nearestName(path.at(-1) as string, siblings);
  return near && [...path.slice(0, -1), near].join('.');
}

/** The keys below a path of the schema; undefined if it is not a table. */
function keysAt(path: readonly string[]): string[] | undefined {
  let shape: Tree = configSchema.shape;
  for (const key of path) {
    const next = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (!(next instanceof z.ZodObject)) return undefined;
    shape = next.shape;
  }
  return Object.keys(shape);
}

type KeyKind = 'boolean' | 'number' | 'numbers' | 'text' | 'number or text';

/** The type of a key in the schema; undefined if the path is not a key. */
export function keyKind(path: readonly string[]): KeyKind | undefined {
  const type = typeAt(path);
  if (type === undefined || type instanceof z.ZodObject) return undefined;
  if (type instanceof z.ZodBoolean || (type instanceof z.ZodLiteral && typeof type.value === 'boolean'))
    return 'boolean';
  if (type instanceof z.ZodArray) return 'numbers';
  if (type instanceof z.ZodNumber) return 'number';
  return type instanceof z.ZodUnion ? 'number or text' : 'text';
}

/** The type of a key, of a table, or of an item of a list; undefined for another path. */
export function typeAt(path: readonly string[]): z.ZodType | undefined {
  return path.reduce<z.ZodType | undefined>((at, key) => {
    if (at instanceof z.ZodArray) return at.element as z.ZodType;
    const shape = at instanceof z.ZodObject ? at.shape : undefined;
    return shape && Object.hasOwn(shape, key) ? shape[key] : undefined;
  }, configSchema);
}

/** The properties of a key by its dotted path; undefined if the schema has no such key. */
export function keyProperties(path: string): KeyProperties | undefined {
  const type = typeAt(path.split('.'));
  return type && propertiesOf(type);
}

/** Whether a path is a key of the schema. */
export function isKey(path: readonly string[]): boolean {
  return keyKind(path) !== undefined;
}

/** Whether a path is a boolean key of the schema. */
export function isBooleanKey(path: readonly string[]): boolean {
  return keyKind(path) === 'boolean';
}

/** Every key of the schema. */
export function leafPaths(): string[][] {
  const walk = (shape: Tree, above: string[]): string[][] =>
    Object.entries(shape).flatMap(([key, type]) =>
      type instanceof z.ZodObject ? walk(type.shape, [...above, key]) : [[...above, key]],
    );
  return walk(configSchema.shape, []);
}
