// Parsing and help of command lines, both derived from the options that each command declares. The grammar is the
// official one (absl flags over an ml_collections configuration):
//   --name value, --name=value, one dash as well as two; --config.a.b value for a key of the configuration;
//   a boolean key alone, or before true or false; --noconfig.a.b; the mode as a word or as --mode, anywhere.
// An option that takes a value takes the next word unless that is an option, so that `--config.optim.grad_clip -1` sets
// -1, as it does there; util.parseArgs would read -1 as two short flags.
import { isWhole } from '../arguments.ts';
import { nearestName, UsageError } from '../errors.ts';
import { allKeys, keysReadBy } from '../run/config/explain.ts';
import { isBooleanKey, isKey, type Override, presetNames } from '../run/config/index.ts';
import type { KeyProperties, Reader } from '../run/config/keys.ts';
import { keyProperties, keysCalled } from '../run/config/tree.ts';
import { twoColumns } from './columns.ts';
import { type CommandName, summaries } from './summaries.ts';

export interface Option {
  /** Placeholder for the value in --help; an option without one is a switch. */
  value?: string;
  /** The value of the option without one, if it may be left out. */
  alone?: string;
  help: string;
  /** Whether the command cannot run without it. */
  required?: true;
  /** The configuration key that this option also sets. Giving both is an error. */
  key?: string;
}

export interface Command {
  /** Its summary is in summaries.ts. */
  name: CommandName;
  /** One more sentence for its own help. */
  details?: string;
  options: Record<string, Option>;
  /** Names of the positional arguments, in order, as --help shows them; after one that ends in `...` any number. Default: none. */
  operands?: readonly string[];
  /**
   * The overrides `--config.a.b value` that are accepted: none, all, or a list of the keys that the command reads, where 'model.'
   * stands for every key below model. Other keys are an error. Commands that save the configuration with their output
   * accept all.
   */
  overrides: 'none' | 'all' | readonly string[];
  /** Whether several processes of a launcher run it together. */
  ranks?: true;
  run(parsed: Parsed): Promise<number>;
}

/** Default upper bound of whole numbers: counts of images, steps and the like are int32. */
const MOST = 2 ** 31 - 1;

export class Parsed {
  readonly overrides: Override[] = [];
  /** Positional arguments, at most as many as the command declares. */
  readonly operands: string[] = [];
  private readonly values = new Map<string, string>();

  set(name: string, value: string): void {
    if (this.values.has(name)) throw new UsageError(`--${name} is given twice`);
    this.values.set(name, value);
  }

  has(name: string): boolean {
    return this.values.has(name);
  }

  /** Whether an override sets this key. */
  sets(key: string): boolean {
    return this.overrides.some(({ path }) => path.join('.') === key);
  }

  text(name: string): string | undefined {
    return this.values.get(name);
  }

  required(name: string): string {
    const value = this.values.get(name);
    if (value === undefined) throw missingOptions([name]);
    return value;
  }

  /** The value of an option as a whole number from `least` to `most`. @throws UsageError for anything else */
  whole(name: string, least: number, most = MOST): number | undefined {
    const expected = `a whole number from ${least} to ${most}`;
    return this.number(name, expected, (value) => isWhole(value, least, most));
  }

  positive(name: string, most = Number.MAX_VALUE): number | undefined {
    const expected = `a number above 0${most < Number.MAX_VALUE ? `, at most ${most}` : ''}`;
    return this.number(name, expected, (value) => value > 0 && value <= most);
  }

  notNegative(name: string): number | undefined {
    return this.number(name, 'a number >= 0', (value) => value >= 0 && Number.isFinite(value));
  }

  /** The value of an option as a file name. @throws UsageError for one with another ending */
  file(name: string, ending: string): string | undefined {
    const value = this.values.get(name);
    if (value === undefined || value.endsWith(ending)) return value;
    throw new UsageError(`--${name} expects a file name ending in ${ending}, got "${value}"`);
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const value = this.values.get(name);
    if (value === undefined || choices.includes(value as T)) return value as T | undefined;
    const near = nearestName(value, choices);
    throw new UsageError(
      `--${name} expects one of ${choices.join(', ')}, got "${value}"${near ? `; did you mean ${near}?` : ''}`,
    );
  }

  private number(name: string, expected: string, test: (value: number) => boolean): number | undefined {
    const text = this.values.get(name);
    if (text === undefined) return undefined;
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!test(value)) throw new UsageError(`--${name} expects ${expected}, got "${text}"`);
    return value;
  }
}

/** @returns undefined if the words contain --help. @throws UsageError for anything the command does not accept */
export function parseArguments(command: Command, words: readonly string[]): Parsed | undefined {
  if (words.includes('--help') || words.includes('-h')) return undefined;
  const parsed = new Parsed();
  const isMany = command.operands?.at(-1)?.endsWith('...');
  for (let at = 0; at < words.length; at++) {
    const option = optionOf(words[at]);
    if (!option && words[at] !== '' && (isMany || parsed.operands.length < (command.operands?.length ?? 0))) {
      parsed.operands.push(words[at]);
      continue;
    }
    if (!option) throw unexpectedWord(command, words[at]);
    const { name, attached } = option;
    const next = () => attached ?? (isOption(words[at + 1]) ? undefined : words[++at]);
    const path = command.overrides !== 'none' ? /^(?:no)?config\.(.+)$/.exec(name)?.[1].split('.') : undefined;
    if (path) refuseUnread(command, path);
    if (path && name.startsWith('noconfig.')) {
      if (!isBooleanKey(path)) throw new UsageError(`--${name}: only boolean keys take --noconfig`);
      if (attached !== undefined) throw new UsageError(`--${name} takes no value, got "${attached}"`);
      parsed.overrides.push({ path, text: 'false' });
    } else if (path) {
      const bare = isBooleanKey(path) && attached === undefined && !/^(true|false)$/i.test(words[at + 1] ?? '');
      parsed.overrides.push({ path, text: bare ? undefined : next() });
    } else {
      const known = Object.hasOwn(command.options, name) ? command.options[name] : undefined;
      if (!known) throw unknownOption(command, name);
      if (!known.value) {
        if (attached !== undefined) throw new UsageError(`--${name} takes no value, got "${attached}"`);
        parsed.set(name, 'true');
        continue;
      }
      const value = next() ?? known.alone;
      if (value === undefined || value === '')
        throw new UsageError(`--${name} needs a value: --${name} ${known.value}`);
      parsed.set(name, value);
    }
  }
  const missing = Object.keys(command.options).filter((name) => command.options[name].required && !parsed.has(name));
  if (missing.length > 0) throw missingOptions(missing);
  for (const [name, { key }] of Object.entries(command.options))
    if (key !== undefined && parsed.has(name) && parsed.sets(key))
      throw new UsageError(`--${name} and --config.${key} set the same key; give only one`);
  return parsed;
}

/**
 * @throws UsageError for a key that the command does not read. Keys that do not exist are reported by applyOverrides
 */
function refuseUnread({ name, overrides }: Command, path: readonly string[]): void {
  const key = path.join('.');
  if (typeof overrides === 'string' || !isKey(path)) return;
  if (!isRead(overrides, key))
    throw new UsageError(`--config.${key} has no effect on ${name}, which reads ${keyList(overrides)}`);
}

/** Whether a list of keys and tables covers a key. */
function isRead(list: readonly string[], key: string): boolean {
  return list.some((read) => read === key || (read.endsWith('.') && key.startsWith(read)));
}

function keyList(keys: readonly string[]): string {
  return keys.map((key) => (key.endsWith('.') ? `${key}*` : key)).join(', ');
}

/** Splits a word such as --name, -name or ---name=value; undefined for a value such as -1. */
export function optionOf(word: string): { name: string; attached: string | undefined } | undefined {
  const [, name, attached] = /^-{1,3}([a-zA-Z][^=]*)(?:=(.*))?$/s.exec(word) ?? [];
  return name === undefined ? undefined : { name, attached };
}

function isOption(word: string | undefined): boolean {
  return word === undefined || optionOf(word) !== undefined;
}

function missingOptions(names: readonly string[]): UsageError {
  const [last, ...others] = names.map((name) => `--${name}`).reverse();
  if (others.length === 0) return new UsageError(`${last} is required`);
  return new UsageError(`${others.reverse().join(', ')} and ${last} are required`);
}

function unexpectedWord(command: Command, word: string): UsageError {
  const { name, options } = command;
  if (word === '') return new UsageError(`an argument of ${name} is empty`);
  const isConfig = presetNames().some((preset) => preset === word || preset.endsWith(`/${word}`));
  const hint = isConfig && options.config ? `did you mean --config ${word}?` : `options of ${name} begin with --`;
  return new UsageError(`unexpected argument "${word}"; ${hint}`);
}

function unknownOption(command: Command, name: string): UsageError {
  const meant = meantOptions(command, name).map((option) => `--${option}`);
  const hint = meant.length > 0 ? `did you mean ${meant.join(' or ')}?` : `see rectiflow ${command.name} --help`;
  return new UsageError(`${command.name} has no option --${name}; ${hint}`);
}

/** What an unknown option probably means: another option, or a key of the configuration without `config.`. */
function meantOptions({ name: command, options, overrides }: Command, name: string): string[] {
  const all = command === 'config' ? [] : allKeys();
  const read = Array.isArray(overrides) ? all.filter((key) => isRead(overrides, key)) : overrides === 'all' ? all : [];
  const keys = (some: (string | undefined)[]) =>
    some.flatMap((key) => (key !== undefined && read.includes(key) ? [`config.${key}`] : []));
  const names = Object.keys(options);
  const near = nearestName(name, names);
  // In --num_steps, the last word says what it counts.
  const part = name
    .toLowerCase()
    .split(/[-_]/)
    .reverse()
    .find((word) => names.includes(word));
  return (
    [
      keys([name]),
      near === undefined ? [] : [near],
      keys(keysCalled(name)),
      part === undefined ? [] : [part],
      keys([nearestName(name, read)]),
    ].find((meant) => meant.length > 0) ?? []
  );
}

export function commandHelp(command: Command): string {
  const rows = Object.entries(command.options).map(([name, { value, alone, help, required }]) => [
    `--${name}${value ? ` ${alone === undefined ? value : `[${value}]`}` : ''}`,
    `${help}${required ? '; required' : ''}`,
  ]);
  const { overrides } = command;
  if (overrides !== 'none')
    rows.push([
      '--config.KEY VALUE',
      overrides === 'all'
        ? 'override one key of the configuration, e.g. --config.optim.lr 1e-4'
        : `override one of the keys ${keyList(overrides)}`,
    ]);
  rows.push(['--help', 'show this text']);
  const width = Math.max(...rows.map(([left]) => left.length));
  const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
  const usage = [command.name, ...(command.operands ?? [])].join(' ');
  const text = command.details === undefined ? '' : `${command.details}\n\n`;
  const keys = keysHelp(command);
  return `rectiflow ${usage} - ${summaries[command.name]}\n\n${text}Options:\n${lines.join('\n')}\n${keys}`;
}

/** The keys that a command reads, a line or two for each; empty for a command that reads none. */
function keysHelp({ name, overrides }: Command): string {
  if (overrides === 'none' || name === 'config') return '';
  // quickstart is a chain.
  const read = overrides === 'all' ? keysReadBy((name === 'quickstart' ? 'chain' : name) as Reader) : overrides;
  const rows = allKeys()
    .filter((key) => isRead(read, key))
    .flatMap((key): [string, string][] => {
      const { text, inert } = keyProperties(key) as KeyProperties;
      return inert ? [] : [[key, text.split(/(?<=\.) (?=[A-Z])/)[0]]];
    });
  return `\nKeys, for --config.KEY VALUE (rectiflow config explain KEY says more):\n${twoColumns(rows).join('\n')}\n`;
}
