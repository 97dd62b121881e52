// Runs a command line in this process, as src/cli/main.ts would, without starting a program.
import { vi } from 'vitest';
import { type Command, commandHelp, parseArguments } from '../../src/cli/arguments.ts';
import { findCommand } from '../../src/cli/mode.ts';
import { endBar } from '../../src/cli/screen.ts';
import { type CommandName, summaries } from '../../src/cli/summaries.ts';
import { ConfigError, RectiflowError, UsageError } from '../../src/errors.ts';

export interface Outcome {
  stdout: string;
  /** Notices and progress, without the error. */
  stderr: string;
  /** The message that the command ends with; empty if it succeeds. */
  error: string;
  status: number;
}

/** Splits a line into words as a shell does, with single quotes. */
export function split(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''));
}

async function load(name: CommandName): Promise<Command> {
  const module = (await import(`../../src/cli/${name}.ts`)) as Record<string, Command>;
  return module[`${name}Command`];
}

/** @throws an error that is not a RectiflowError, which would be a bug */
export async function runLine(line: string): Promise<Outcome> {
  const outcome: Outcome = { stdout: '', stderr: '', error: '', status: 0 };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation(((text: string | Uint8Array) => {
      outcome[name] += text;
      return true;
    }) as typeof process.stdout.write),
  );
  try {
    const [name, rest] = await findCommand(split(line), Object.keys(summaries) as CommandName[]);
    const command = await load(name);
    const parsed = parseArguments(command, rest);
    if (parsed) outcome.status = await command.run(parsed);
    else outcome.stdout += commandHelp(command);
  } catch (error) {
    if (!(error instanceof RectiflowError)) throw error;
    outcome.error = error.message;
    outcome.status = error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
  } finally {
    endBar();
    for (const spy of spies) spy.mockRestore();
  }
  return outcome;
}
