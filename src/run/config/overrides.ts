// Changes single keys of a configuration: by a nested object of a program, or by `--config.a.b value` of a command line. For a
// command line the type of the key decides how the text is parsed: numbers, booleans and None as in Python or JavaScript,
// lists as (1, 2), [1, 2] or 1,2.
import { checkArgument, kind, kinds, listOf } from '../../arguments.ts';
import { UsageError } from '../../errors.ts';
import { requireConfig } from './require.ts';
import { checkConfig, copyTree, isTree, keyKind, leaves, merge, type Tree, unknownKey } from './tree.ts';
import type { Config, ConfigOverrides } from './types.ts';

export interface Override {
  /** Path of the key, such as ['model', 'nf']. */
  path: readonly string[];
  /** undefined for a bare flag, which means true. */
  text: string | undefined;
}

const pathKind = listOf(kinds.text, 'names');
const overridesKind = listOf(
  kind('an override', (value) => {
    if (!kinds.object.accepts(value)) return false;
    const { path, text } = value as Override;
    return pathKind.accepts(path) && path.length > 0 && (text === undefined || typeof text === 'string');
  }),
  'overrides { path, text }',
);

/**
 * Applies overrides.
 * @throws UsageError for an unknown key or a value of the wrong type, ConfigError for one out of range
 */
export function applyOverrides(config: Config, overrides: readonly Override[]): Config {
  requireConfig('applyOverrides', config);
  checkArgument('applyOverrides', 'overrides', overrides, overridesKind);
  if (overrides.length === 0) return config;
  let tree: Tree = config;
  for (const { path, text } of overrides) {
    const value = readValue(path, text);
    tree = merge(tree, path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Tree);
  }
  return checkConfig(tree, 'with the overrides of the command line');
}

/**
 * Lays a nested object over a configuration; keys that are undefined are left out.
 * @param origin names the configuration in an error
 * @returns the new configuration and the dotted paths of the keys that were given
 * @throws ConfigError with one line for each unknown key and each wrong value
 */
export function overrideConfig(
  config: Config,
  overrides: ConfigOverrides,
  origin: string,
): { config: Config; keys: string[] } {
  const given = withoutUndefined(copyTree(overrides) as Tree);
  return { config: checkConfig(merge(config, given), origin), keys: leaves(given) };
}

function withoutUndefined(tree: Tree): Tree {
  const entries = Object.entries(tree).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([key, value]) => [key, isTree(value) ? withoutUndefined(value) : value]));
}

function readValue(path: readonly string[], text: string | undefined): unknown {
  const refuse = (expected: string) =>
    new UsageError(
      `--config.${path.join('.')} expects ${expected}, got ${text === undefined ? 'no value' : `"${text}"`}`,
    );
  const kind = keyKind(path);
  if (!kind) throw new UsageError(`--config.${path.join('.')}: ${unknownKey(path)}`);
  if (kind === 'boolean') {
    if (text === undefined || /^true$/i.test(text)) return true;
    if (/^false$/i.test(text)) return false;
    throw refuse('true or false');
  }
  if (text === undefined) throw refuse('a value');
  if (text === 'None') return null;
  if (kind === 'number') return readNumber(text) ?? fail(refuse('a number'));
  if (kind === 'numbers') return readNumbers(text) ?? fail(refuse('numbers as (1, 2) or [1, 2]'));
  const unquoted = text.replace(/^(['"])(.*)\1$/s, '$2');
  return kind === 'number or text' ? (readNumber(unquoted) ?? unquoted) : unquoted;
}

function readNumber(text: string): number | undefined {
  const value = /^[+-]?(\d+_?)*\d*\.?\d*(e[+-]?\d+)?$/i.test(text) ? Number(text.replaceAll('_', '')) : Number.NaN;
  return text !== '' && Number.isFinite(value) ? value : undefined;
}

function readNumbers(text: string): number[] | undefined {
  const inner = /^\s*(?:\((.*)\)|\[(.*)\]|([^()[\]]*))\s*$/.exec(text);
  if (!inner) return undefined;
  const items = (inner[1] ?? inner[2] ?? inner[3]).split(',').map((item) => item.trim());
  // Python writes a tuple of one as (1,).
  if (items.at(-1) === '') items.pop();
  const numbers = items.map(readNumber);
  return numbers.every((value) => value !== undefined) ? numbers : undefined;
}

function fail(error: Error): never {
  throw error;
}
