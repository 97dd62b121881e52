// From a name or a file to a whole, checked configuration. A module (.ts, .js) is the user's code and is run; a .json,
// and whatever travels inside a checkpoint, is data.
import { existsSync, readdirSync } from 'node:fs';
import { dirname, extname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checkArgument, checkArguments, describeValue, kinds } from '../../arguments.ts';
import { ConfigError, FileError, nearestName } from '../../errors.ts';
import { readWhole } from '../../io/file.ts';
import { parseJsonFile, refuseUtf16 } from '../../io/json.ts';
import { inertNotice, presetName, pythonPreset } from './official_flags.ts';
import type { Config } from './schema.ts';
import { checkConfig, isTree, leaves, merge, type Tree } from './tree.ts';

export { inertBeside } from './inert.ts';
export { given, inertNotice } from './official_flags.ts';
export { applyOverrides, type Override } from './overrides.ts';
export { missingKeys, requirePaths, type Task } from './requirements.ts';
export type { Config, ConfigFile } from './schema.ts';
export { isBooleanKey, isKey } from './tree.ts';

const MAX_BYTES = 2 ** 20;
const extensions = ['.json', '.ts', '.mts', '.js', '.mjs'];

// The same three steps up from src/run/config and from dist/run/config. Asked when it is needed: a bundle in CommonJS has no place.
const presetFolder = () => fileURLToPath(new URL('../../../configs/', import.meta.url));

/** Names of the package's own configurations, as `--config` takes them. */
export function presetNames(): string[] {
  return readdirSync(presetFolder(), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -3).replaceAll('\\', '/'))
    .sort();
}

/**
 * @param reference a preset's name, with or without its folder, or the path of a .json, .ts or .js file; "X.py", as the
 * official command lines have it, means the preset X: Python is never run
 * @param notice told of a Python file that lies there and is not read, and of keys without effect in a file
 * @throws ConfigError for an unknown name or a wrong configuration, FileError for a file that cannot be read
 */
export async function loadConfig(reference: string, notice: (text: string) => void = () => {}): Promise<Config> {
  checkArguments('loadConfig', { reference: [reference, kinds.path], notice: [notice, kinds.callback] });
  const preset = pythonPreset(reference);
  if (preset !== undefined && existsSync(reference))
    notice(
      `${reference} is Python and is not read: changes in it have no effect; the configuration "${preset}" is used`,
    );
  const file = locate(reference, process.cwd());
  const config = checkConfig(await loadTree(file, []), reference);
  const inert = file.startsWith(presetFolder()) ? undefined : inertNotice(leaves(await readTree(file)));
  if (inert) notice(`in ${reference}, ${inert}`);
  return config;
}

/** A configuration that travelled as data, e.g. in a checkpoint; missing keys take the base's values. */
export async function resolveConfig(raw: unknown, origin: string): Promise<Config> {
  checkArgument('resolveConfig', 'origin', origin, kinds.text);
  if (!isTree(raw)) throw new ConfigError(`the configuration in ${origin} is no table of keys`);
  return checkConfig(merge(await loadTree(locate('base', presetFolder()), []), raw), `in ${origin}`);
}

/** The file a reference means. */
function locate(reference: string, folder: string): string {
  if (extensions.includes(extname(reference))) return resolve(folder, reference);
  const wanted = pythonPreset(reference) ?? presetName(reference);
  const names = presetNames();
  const name = names.find((n) => n === wanted) ?? names.find((n) => n.split('/').at(-1) === wanted.split('/').at(-1));
  if (name) return join(presetFolder(), `${name}.ts`);
  const near = nearestName(
    wanted,
    names.flatMap((n) => [n, n.split('/').at(-1) as string]),
  );
  throw new ConfigError(
    `there is no configuration "${reference}"; ${
      near ? `did you mean "${near}"?` : `known are ${names.join(', ')}, or give the path of a .json, .ts or .js file`
    }`,
  );
}

async function loadTree(file: string, seen: readonly string[]): Promise<Tree> {
  if (seen.includes(file))
    throw new ConfigError(`configurations are based on one another: ${[...seen, file].join(' -> ')}`);
  const { base = 'base', ...own } = await readTree(file);
  if (file === join(presetFolder(), 'base.ts')) return own;
  if (typeof base !== 'string')
    throw new ConfigError(`${file}: base must be a name or a path, got ${describeValue(base)}`);
  const baseFile = locate(base, dirname(file));
  // A .json is data: it may name a preset or another .json, and cannot have a module run.
  if (
    extname(file) === '.json' &&
    extname(baseFile) !== '.json' &&
    dirname(relative(presetFolder(), baseFile)).startsWith('..')
  )
    throw new ConfigError(`${file}: base "${base}" is a module; a .json can be based on a preset or another .json`);
  return merge(await loadTree(baseFile, [...seen, file]), own);
}

async function readTree(file: string): Promise<Tree> {
  const value =
    extname(file) === '.json' ? parseJsonFile(await readWhole(file, MAX_BYTES), file) : await runModule(file);
  if (!isTree(value)) throw new FileError(file, 'must hold (or export by default) a table of configuration keys');
  return value;
}

async function runModule(file: string): Promise<unknown> {
  // Read first for its clear errors: a module loader says "cannot find module" with a stack, and of UTF-16 an unexpected sign.
  refuseUtf16(await readWhole(file, MAX_BYTES), file);
  try {
    if (!/ts$/.test(file))
      return copyOfTree(((await import(pathToFileURL(file).href)) as { default?: unknown }).default);
    const { createJiti } = await import('jiti');
    // Its cache may lie in a folder for temporary files, where others could have put programs.
    const jiti = createJiti(import.meta.url, { fsCache: false });
    return copyOfTree(await jiti.import(file, { default: true }));
  } catch (cause) {
    throw cannotBeRun(file, cause);
  }
}

function cannotBeRun(file: string, cause: unknown): FileError {
  const text = cause instanceof Error ? cause.message : `it threw ${describeValue(cause)}`;
  // What a program throws may have lines that look like ours.
  const lines = text.split(/[\r\n]+/).map((line) => line.trim());
  return new FileError(file, `cannot be run: ${lines.filter((line) => line !== '').join(' ')}`, { cause });
}

const MAX_DEPTH = 20;

/** The values that a module exports, without its accessors and proxies: what is read of it later is data. */
function copyOfTree(value: unknown, depth = 0): unknown {
  if (depth > MAX_DEPTH) throw new RangeError(`its configuration is nested deeper than ${MAX_DEPTH}`);
  if (Array.isArray(value)) return Array.from(value, (item) => copyOfTree(item, depth + 1));
  if (!isTree(value)) return value;
  if (![Object.prototype, null].includes(Object.getPrototypeOf(value)))
    throw new TypeError(`expected plain values, got ${describeValue(value)}`);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copyOfTree(inner, depth + 1)]));
}
