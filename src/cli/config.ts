// The command `config`: lists the named configurations, shows and compares configurations, and explains their keys.
import { existsSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { FileError, nearestName, UsageError } from '../errors.ts';
import { isFolder } from '../io/file.ts';
import { readCheckpointHeader } from '../run/checkpoints/checkpoint.ts';
import { findCheckpoint } from '../run/checkpoints/find.ts';
import { isOurs } from '../run/checkpoints/open.ts';
import {
  allKeys,
  describeBinding,
  describeOrigin,
  factsOf,
  formatValue,
  type KeyFacts,
  tablesOf,
} from '../run/config/explain.ts';
import { describePreset, loadConfig, presetNames, resolveConfig } from '../run/config/index.ts';
import { settingWithout } from '../run/config/inert.ts';
import { differences, keyProperties, leaves, valueAt } from '../run/config/tree.ts';
import type { Config } from '../run/config/types.ts';
import { escapeJson, escapeText } from '../text.ts';
import type { Command, Parsed } from './arguments.ts';
import { table, terminalWidth, twoColumns, wrap } from './columns.ts';
import { note, withOverrides } from './shared.ts';

/** What each action takes, and the options that it has. */
const actions = {
  list: { operands: [], options: ['json'], overrides: false, run: list },
  show: { operands: ['NAME'], options: ['changed', 'json'], overrides: true, run: show },
  explain: { operands: ['[KEY]'], options: ['json'], overrides: false, run: explain },
  diff: { operands: ['A', '[B]'], options: ['json'], overrides: true, run: diff },
} as const;
type Action = keyof typeof actions;
const names = Object.keys(actions) as Action[];

export const configCommand: Command = {
  name: 'config',
  operands: ['ACTION', '[NAME]', '[NAME]'],
  details: [
    'list           the named configurations',
    'show NAME      every key of a configuration and its value; --changed: those that differ from base',
    'explain [KEY]  meaning, type, range and default of a key, or of every key of a table such as optim',
    'diff A [B]     the keys in which two configurations differ; without B, what --config.KEY VALUE changes in A',
    '',
    'NAME, A and B are names, files (.json, .ts, .js), folders of a run or a chain, or checkpoints (.safetensors).',
    '--config.KEY VALUE overrides a key of NAME, or of B.',
  ].join('\n'),
  overrides: 'all',
  options: {
    changed: { help: 'show only the keys that differ from the configuration base' },
    json: { help: 'print JSON' },
  },
  async run(parsed) {
    const [word, ...operands] = parsed.operands;
    const name = actionOf(word);
    const action = actions[name];
    const usage = ['rectiflow config', name, ...action.operands].join(' ');
    const least = action.operands.filter((operand) => !operand.startsWith('[')).length;
    if (operands.length < least)
      throw new UsageError(`config ${name} needs ${least === 1 ? action.operands[0] : 'two names'}: ${usage}`);
    if (operands.length > action.operands.length)
      throw new UsageError(`unexpected argument "${operands[action.operands.length]}"; write ${usage}`);
    for (const option of Object.keys(configCommand.options))
      if (parsed.has(option) && !action.options.some((one) => one === option))
        throw new UsageError(`--${option} has no effect on config ${name}`);
    if (!action.overrides && parsed.overrides.length > 0)
      throw new UsageError(`--config.${parsed.overrides[0].path.join('.')} has no effect on config ${name}`);
    const lines = await action.run(parsed, operands);
    process.stdout.write(`${lines.join('\n')}\n`);
    return 0;
  },
};

function actionOf(word: string | undefined): Action {
  const name = names.find((one) => one === word);
  if (name !== undefined) return name;
  const usage = names.map((one) => ['rectiflow config', one, ...actions[one].operands].join(' ')).join(', ');
  if (word === undefined) throw new UsageError(`config needs an action: ${usage}`);
  const near = nearestName(word, names);
  // A name where the action is expected.
  const found = presetNames().find((preset) => preset === word || basename(preset) === word);
  const meant = near ?? (found || existsSync(word) ? `show ${word}` : undefined);
  throw new UsageError(
    `config has no action "${word}"${meant === undefined ? `; write ${usage}` : `; did you mean config ${meant}?`}`,
  );
}

async function list(parsed: Parsed): Promise<string[]> {
  const rows = await Promise.all(presetNames().map(async (name) => [name, await describePreset(name)] as const));
  if (parsed.has('json')) return [escapeJson(Object.fromEntries(rows), 2)];
  return rows.flatMap(([name, text]) => [basename(name), ...indented(text)]);
}

async function show(parsed: Parsed, [reference]: string[]): Promise<string[]> {
  const config = withOverrides(parsed, await configOfReference(reference));
  if (!parsed.has('changed')) {
    if (parsed.has('json')) return [escapeJson(config, 2)];
    return table(leaves(config).map((key) => [key, shown(valueAt(config, key)), withoutEffect(config, key)]));
  }
  const changes = differences(await loadConfig('base'), config);
  if (parsed.has('json')) return [escapeJson(Object.fromEntries(changes.map(({ path, b }) => [path, b])), 2)];
  if (changes.length === 0) return ['every key has the value of the configuration base'];
  return table([['', 'here', 'base'], ...changes.map(({ path, a, b }) => [path, shown(b), shown(a)])]);
}

async function diff(parsed: Parsed, [first, second]: string[]): Promise<string[]> {
  if (second === undefined && parsed.overrides.length === 0)
    throw new UsageError(
      'config diff needs two configurations, or one and --config.KEY VALUE: rectiflow config diff A B',
    );
  const a = await configOfReference(first);
  const b = withOverrides(parsed, second === undefined ? a : await configOfReference(second));
  const changes = differences(a, b);
  if (parsed.has('json'))
    return [escapeJson(Object.fromEntries(changes.map((one) => [one.path, { a: one.a, b: one.b }])), 2)];
  if (changes.length === 0) return ['every key has the same value in both'];
  const other = `${second ?? first}${parsed.overrides.length > 0 ? ', with overrides' : ''}`;
  const rows = changes.map((one) => [one.path, shown(one.a), shown(one.b)]);
  return table([['', escapeText(first), escapeText(other)], ...rows]);
}

async function explain(parsed: Parsed, [word]: string[]): Promise<string[]> {
  const base = await loadConfig('base');
  // As it may be copied from a command line or from --help.
  const wanted = word?.replace(/^-{0,2}config\./, '').replace(/\.\*?$/, '');
  const keys = wanted === undefined ? allKeys() : keysOf(wanted);
  const facts = keys.map((key) => factsOf(key, base));
  const inner = keys.length === 1 ? await changedBy(keys[0], base) : [];
  if (parsed.has('json')) return [escapeJson(keys.length === 1 ? { ...facts[0], changedBy: inner } : facts, 2)];
  if (keys.length === 1) return explainOne(facts[0], inner);
  const tableText = tablesOf().find(({ name }) => name === wanted)?.text;
  return [
    ...(tableText === undefined ? [] : wrap(`${wanted}: ${tableText}`, terminalWidth()).concat('')),
    ...facts.flatMap(summary),
  ];
}

/** The keys that a word names: a key, all keys of a table, or the keys of that name in any table. */
function keysOf(wanted: string): string[] {
  const keys = allKeys();
  const found = [
    keys.filter((key) => key === wanted),
    keys.filter((key) => key.startsWith(`${wanted}.`)),
    keys.filter((key) => key.endsWith(`.${wanted}`)),
  ].find((some) => some.length > 0);
  if (found) return found;
  const tables = tablesOf().map(({ name }) => name);
  const near =
    nearestName(wanted, [...keys, ...tables]) ??
    keys.find(
      (key) =>
        key.split('.').at(-1) ===
        nearestName(
          wanted,
          keys.map((one) => one.split('.').at(-1) as string),
        ),
    );
  throw new UsageError(
    `unknown key ${wanted}; ${near === undefined ? `the tables are ${tables.join(', ')}` : `did you mean ${near}?`}`,
  );
}

/** The values that named configurations give a key, other than that of base, each with the names. */
async function changedBy(key: string, base: Config): Promise<{ value: unknown; names: string[] }[]> {
  const groups = new Map<string, { value: unknown; names: string[] }>();
  for (const name of presetNames()) {
    const value = valueAt(await loadConfig(name), key);
    const text = JSON.stringify(value);
    if (text === JSON.stringify(valueAt(base, key))) continue;
    const group = groups.get(text) ?? { value, names: [] };
    group.names.push(basename(name));
    groups.set(text, group);
  }
  return [...groups.values()];
}

function explainOne(facts: KeyFacts, changes: readonly { value: unknown; names: string[] }[]): string[] {
  const { key, text, type, expected, unit, needs, inert, readBy } = facts;
  const readers = inert ? 'nothing: it has no effect, as in the official code' : readBy.join(', ');
  const rows: [string, string][] = [
    ['type', type],
    ['range', unit === undefined ? expected : `${expected}; unit: ${unit}`],
    ['default', formatValue(facts.default)],
    ...(needs === undefined ? [] : ([['effect', `only if ${needs}`]] as [string, string][])),
    ['read by', readers],
    ['resuming', describeBinding(facts)],
    ['source', describeOrigin(facts)],
    ...changes.map(({ value, names }, i): [string, string] => [
      i === 0 ? 'changed by' : '',
      `${shown(value)} in ${names.join(', ')}`,
    ]),
    ['set it by', `--config.${key}${type === 'true or false' ? '' : ' VALUE'}`],
  ];
  return [key, ...indented(text), ...twoColumns(rows)];
}

function summary({ key, text, expected, default: value }: KeyFacts): string[] {
  return [...wrap(`${key}: ${expected}; default ${formatValue(value)}`, terminalWidth()), ...indented(text)];
}

function indented(text: string): string[] {
  return wrap(text, terminalWidth() - 2).map((line) => `  ${line}`);
}

/** The configuration of a name, a file, a checkpoint, or the folder of a run or a chain. */
async function configOfReference(reference: string): Promise<Config> {
  if (extname(reference) === '.safetensors') {
    const path = findCheckpoint(reference);
    if (!(await isOurs(path))) throw new FileError(path, 'holds no configuration');
    return resolveConfig((await readCheckpointHeader(path)).config, path);
  }
  const isPreset = presetNames().some((name) => name === reference || basename(name) === reference);
  if (isPreset || !isFolder(reference)) return loadConfig(reference, {}, note);
  const file = ['chain.json', 'config.json'].map((name) => join(reference, name)).find((path) => existsSync(path));
  if (file === undefined)
    throw new FileError(
      reference,
      'holds neither chain.json nor config.json: it is not the folder of a chain or a run',
    );
  return loadConfig(file, {}, note);
}

function withoutEffect(config: Config, key: string): string {
  if (keyProperties(key)?.inert) return 'no effect';
  const setting = settingWithout(config, key);
  return setting === undefined ? '' : `no effect with ${setting}`;
}

function shown(value: unknown): string {
  return value === undefined ? '-' : escapeText(formatValue(value));
}
