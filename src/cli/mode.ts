// Finds the command of a command line: the first word, `--mode NAME` as in the official code, or a command name
// anywhere that is not the value of an option.
import { nearestName, UsageError } from '../errors.ts';
import { escapeText } from '../text.ts';
import { optionOf } from './arguments.ts';

/** @returns the command's name and the words without it. @throws UsageError if there is no command, or two */
export async function findCommand<Name extends string>(
  words: readonly string[],
  names: readonly Name[],
): Promise<[Name, string[]]> {
  const rest = [...words];
  const found: string[] = [];
  const at = rest.findIndex((word) => optionOf(word)?.name === 'mode');
  if (at >= 0) {
    const attached = optionOf(rest[at])?.attached;
    const value = attached ?? rest[at + 1];
    if (value === undefined || value === '') throw new UsageError(`--mode needs a value: --mode ${names.join('|')}`);
    if (rest[at].startsWith('---')) process.stderr.write(`note: ${escapeText(rest[at])} is read as --mode\n`);
    found.push(value);
    rest.splice(at, attached === undefined ? 2 : 1);
  }
  // After --mode, the first word may be an operand such as the folder of `pairs`.
  for (const [i, word] of rest.entries())
    if (
      optionOf(word) === undefined &&
      ((i === 0 && found.length === 0) || (names.some((one) => one === word) && !(await takesValue(rest[i - 1]))))
    ) {
      found.push(word);
      rest.splice(i, 1);
      break;
    }
  const [name, other] = found;
  if (name === undefined) throw new UsageError(`no command; give one of ${names.join(', ')}, or --mode train`);
  if (other !== undefined && other !== name) throw new UsageError(`two commands, ${name} and ${other}; give one`);
  const known = names.find((one) => one === name);
  if (known === undefined) {
    const near = nearestName(name, names);
    throw new UsageError(
      `unknown command "${name}"${near ? `; did you mean ${near}?` : `; the commands are ${names.join(', ')}`}`,
    );
  }
  return [known, rest];
}

/** Whether the word after this one may be its value. */
async function takesValue(word: string): Promise<boolean> {
  const option = optionOf(word);
  if (!option || option.attached !== undefined || option.name === 'dry-run') return false;
  const path = /^(no)?config\.(.+)$/.exec(option.name);
  if (!path) return true;
  const { isBooleanKey } = await import('../run/config/index.ts');
  return path[1] === undefined && !isBooleanKey(path[2].split('.'));
}
