// Loads and validates a configuration by name or file. A module (.ts, .js) is the user's code and is executed; a .json,
// and the configuration in a checkpoint, are data.
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checkArgument, checkArguments, describeValue, kind, kinds } from '../../arguments.ts';
import { ConfigError, FileError, nearestName } from '../../errors.ts';
import { isFolder, readWhole } from '../../io/file.ts';
import { parseJsonFile, refuseUtf16 } from '../../io/json.ts';
import { describeInertKeys } from './inert.ts';
import { describeInert, presetName, pythonPreset } from './official_flags.ts';
import { overrideConfig } from './overrides.ts';
import { checkConfig, copyTree, isTree, leaves, merge, type Tree } from './tree.ts';
import type { Config, ConfigOverrides } from './types.ts';
import { importTypeScript } from './typescript.ts';

export { userPath } from './official_flags.ts';
export { applyOverrides, type Override } from './overrides.ts';
export { missingKeys, requirePaths, type Task } from './requirements.ts';
export { isBooleanKey, isKey } from './tree.ts';
export type { Config, ConfigFile, ConfigOverrides } from './types.ts';

const MAX_BYTES = 2 ** 20;
const overridesKind = kind('a table of keys, such as { model: { nf: 8 } }', isTree);
const extensions = ['.json', '.ts', '.mts', '.js', '.mjs'];

// The same three steps up from src/run/config and from dist/run/config. A function, since a CommonJS bundle has no
// import.meta.url.
const presetFolder = () => fileURLToPath(new URL('../../../configs/', import.meta.url));

/**
 * Names of the presets of this package, as `--config` takes them.
 * @example
 * presetNames().includes('digits'); // true
 * presetNames().filter((name) => name.endsWith('cifar10_rf_gaussian_ddpmpp')).length; // 1
 */
export function presetNames(): string[] {
  return readdirSync(presetFolder(), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -3).replaceAll('\\', '/'))
    .sort();
}

/** What a preset is, in one line: the comment that its file begins with. */
export async function describePreset(name: string): Promise<string> {
  const text = new TextDecoder().decode(await readWhole(locate(name, presetFolder()), MAX_BYTES));
  const lines = /^(?:\/\/.*\n)+/.exec(text)?.[0] ?? '';
  return lines
    .replaceAll(/^\/\/ ?/gm, '')
    .trim()
    .replaceAll('\n', ' ');
}

/**
 * Loads a configuration.
 * @param reference name of a preset, with or without its folder, or path of a .json, .ts or .js file. "X.py", as in
 * official command lines, means the preset X; Python is never executed
 * @param overrides keys that differ, nested: `{ model: { nf: 8 }, training: { batch_size: 16 } }`; a key that is undefined
 * keeps its value
 * @param notice reports an existing Python file, which is not read, and keys without effect
 * @throws ConfigError for an unknown name or an invalid configuration, FileError for a file that cannot be read
 * @example
 * const config = await loadConfig('digits', { model: { nf: 8 }, training: { batch_size: 16 } });
 * config.model.nf; // 8
 * config.data.image_size; // 8
 */
export async function loadConfig(
  reference: string,
  overrides: ConfigOverrides = {},
  notice: (text: string) => void = () => {},
): Promise<Config> {
  checkArguments('loadConfig', {
    reference: [reference, kinds.path],
    overrides: [overrides, overridesKind],
    notice: [notice, kinds.callback],
  });
  const preset = pythonPreset(reference);
  if (preset !== undefined && existsSync(reference))
    notice(
      `${reference} is Python and is not read, so changes in it have no effect; using the configuration "${preset}"`,
    );
  const file = locate(reference, process.cwd());
  const loaded = checkConfig(await loadTree(file, []), reference);
  const inert = file.startsWith(presetFolder()) ? undefined : describeInert(leaves(await readTree(file)));
  if (inert) notice(`in ${reference}, ${inert}`);
  const { config, keys } = overrideConfig(loaded, overrides, `${reference} with the overrides of loadConfig`);
  for (const text of [describeInert(keys), ...describeInertKeys(config, keys)]) if (text !== undefined) notice(text);
  return config;
}

/**
 * Validates a configuration from data, such as a checkpoint. Missing keys take the values of the preset base.
 * @param origin name of the source in errors
 * @throws ConfigError that lists every problem
 * @example
 * const raw = JSON.parse('{ "data": { "dataset": "DIGITS", "image_size": 8, "num_channels": 1 } }');
 * const config = await resolveConfig(raw, 'my.json');
 * config.data.image_size; // 8
 * config.training.batch_size; // 128
 */
export async function resolveConfig(raw: unknown, origin: string): Promise<Config> {
  checkArgument('resolveConfig', 'origin', origin, kinds.text);
  if (!isTree(raw)) throw new ConfigError(`the configuration in ${origin} is not a table of keys`);
  return checkConfig(merge(await loadTree(locate('base', presetFolder()), []), raw), `in ${origin}`);
}

/** The file of a reference. */
function locate(reference: string, folder: string): string {
  const names = presetNames();
  if (extensions.includes(extname(reference))) {
    const file = resolve(folder, reference);
    const stem = basename(reference, extname(reference));
    if (!existsSync(file) && names.some((n) => basename(n) === stem))
      throw new ConfigError(`${reference}: no such file; did you mean the configuration "${stem}"?`);
    return file;
  }
  const wanted = pythonPreset(reference) ?? presetName(reference);
  const name = names.find((n) => n === wanted) ?? names.find((n) => n.split('/').at(-1) === wanted.split('/').at(-1));
  if (name) return join(presetFolder(), `${name}.ts`);
  const near = nearestName(
    wanted,
    names.flatMap((n) => [n, n.split('/').at(-1) as string]),
  );
  const path = resolve(folder, reference);
  if (isFolder(path))
    throw new ConfigError(`${reference} is a folder; name a file in it, such as ${join(reference, 'config.json')}`);
  if (existsSync(path))
    throw new ConfigError(`${reference}: a configuration is a .json, .ts or .js file, got "${basename(reference)}"`);
  throw new ConfigError(
    `unknown configuration "${reference}"; ${
      near
        ? `did you mean "${near}"?`
        : `expected one of ${names.map((n) => basename(n)).join(', ')}, or the path of a .json, .ts or .js file`
    }`,
  );
}

async function loadTree(file: string, seen: readonly string[]): Promise<Tree> {
  if (seen.includes(file))
    throw new ConfigError(`configurations are based on each other: ${[...seen, file].join(' -> ')}`);
  const { base = 'base', ...own } = await readTree(file);
  if (file === join(presetFolder(), 'base.ts')) return own;
  if (typeof base !== 'string')
    throw new ConfigError(`${file}: base must be a name or a path, got ${describeValue(base)}`);
  const baseFile = locate(base, dirname(file));
  // A .json is data. It may be based on a preset or another .json, but must not cause a module to be executed.
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
  // Read first for clear errors: a module loader reports a stack for a missing file, and an unexpected character for
  // UTF-16.
  refuseUtf16(await readWhole(file, MAX_BYTES), file);
  try {
    if (!/ts$/.test(file)) return copyTree(((await import(pathToFileURL(file).href)) as { default?: unknown }).default);
    return copyTree(await importTypeScript(file));
  } catch (cause) {
    throw cannotBeRun(file, cause);
  }
}

function cannotBeRun(file: string, cause: unknown): FileError {
  const text = cause instanceof Error ? cause.message : `it threw ${describeValue(cause)}`;
  // Joined, because lines of the program's message could imitate lines of ours.
  const lines = text.split(/[\r\n]+/).map((line) => line.trim());
  return new FileError(file, `cannot be run: ${lines.filter((line) => line !== '').join(' ')}`, { cause });
}
