// Command lines by description: each command says what options it takes, help and parsing follow from that.
// An option that takes a value takes the next word whatever it looks like, so that `--config.optim.grad_clip -1` means
// what it means in the official code; util.parseArgs would read -1 as two short flags.
import { nearestName, UsageError } from '../errors.ts';
import type { Override } from '../run/index.ts';

export interface Option {
  /** What stands for the value in help; without it the option is a switch. */
  value?: string;
  help: string;
}

export interface Command {
  name: string;
  summary: string;
  options: Record<string, Option>;
  /** Whether `--config.a.b value` is understood. */
  overrides: boolean;
  run(parsed: Parsed): Promise<number>;
}

export class Parsed {
  readonly overrides: Override[] = [];
  private readonly values = new Map<string, string>();

  set(name: string, value: string): void {
    if (this.values.has(name)) throw new UsageError(`--${name} is given twice`);
    this.values.set(name, value);
  }

  has(name: string): boolean {
    return this.values.has(name);
  }

  text(name: string): string | undefined {
    return this.values.get(name);
  }

  required(name: string): string {
    const value = this.values.get(name);
    if (value === undefined) throw new UsageError(`--${name} is needed`);
    return value;
  }

  /** A whole number >= least. */
  whole(name: string, least: number): number | undefined {
    return this.number(name, `a whole number >= ${least}`, (value) => Number.isSafeInteger(value) && value >= least);
  }

  positive(name: string): number | undefined {
    return this.number(name, 'a number > 0', (value) => Number.isFinite(value) && value > 0);
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const value = this.values.get(name);
    if (value === undefined || choices.includes(value as T)) return value as T | undefined;
    const near = nearestName(value, choices);
    throw new UsageError(
      `--${name} is one of ${choices.join(', ')}; got "${value}"${near ? `, did you mean ${near}?` : ''}`,
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

/** @returns undefined where help was asked for. @throws UsageError for anything the command does not know */
export function parseArguments(command: Command, words: readonly string[]): Parsed | undefined {
  if (words.includes('--help') || words.includes('-h')) return undefined;
  const parsed = new Parsed();
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    if (!word.startsWith('--'))
      throw new UsageError(`"${word}" stands alone; options of ${command.name} begin with --`);
    const [, name, attached] = /^--([^=]*)(?:=(.*))?$/s.exec(word) as RegExpExecArray;
    const negated = /^noconfig\.(.+)$/.exec(name)?.[1];
    if (command.overrides && negated && attached === undefined) {
      parsed.overrides.push({ path: negated.split('.'), text: 'false' });
      continue;
    }
    const override = command.overrides ? /^config\.(.+)$/.exec(name)?.[1] : undefined;
    if (override) {
      const text = attached ?? (isOption(words[at + 1]) ? undefined : words[++at]);
      parsed.overrides.push({ path: override.split('.'), text });
      continue;
    }
    const option = Object.hasOwn(command.options, name) ? command.options[name] : undefined;
    if (!option) throw unknownOption(command, name);
    if (!option.value) {
      if (attached !== undefined) throw new UsageError(`--${name} takes no value, got "${attached}"`);
      parsed.set(name, 'true');
      continue;
    }
    const value = attached ?? (isOption(words[at + 1]) ? undefined : words[++at]);
    if (value === undefined || value === '') throw new UsageError(`--${name} needs a value: --${name} ${option.value}`);
    parsed.set(name, value);
  }
  return parsed;
}

function isOption(word: string | undefined): boolean {
  return word === undefined || word.startsWith('--');
}

function unknownOption(command: Command, name: string): UsageError {
  const near = nearestName(name, Object.keys(command.options));
  const hint = near ? `; did you mean --${near}?` : `; see rectiflow ${command.name} --help`;
  return new UsageError(`${command.name} has no option --${name}${hint}`);
}

export function commandHelp(command: Command): string {
  const rows = Object.entries(command.options).map(([name, { value, help }]) => [
    `--${name}${value ? ` ${value}` : ''}`,
    help,
  ]);
  if (command.overrides)
    rows.push(['--config.KEY VALUE', 'overrides one key of the configuration, e.g. --config.optim.lr 1e-4']);
  rows.push(['--help', 'this text']);
  const width = Math.max(...rows.map(([left]) => left.length));
  const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
  return `rectiflow ${command.name} - ${command.summary}\n\nOptions:\n${lines.join('\n')}\n`;
}
