#!/usr/bin/env node
// Entry point of the command line: finds the command and prints its result or its error. Exit codes: 0 success, 1
// failure, 2 usage error.
import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { surveyEnvironment } from '../device/environment.ts';
import { ConfigError, RectiflowError, UsageError } from '../errors.ts';
import { asFileError } from '../io/file.ts';
import { packageVersion } from '../run/machine/provenance.ts';
import { escapeText } from '../text.ts';
import { type Command, commandHelp, parseArguments } from './arguments.ts';
import { endJob, joinJob, leaveJob, requireAlone } from './job.ts';
import { findCommand } from './mode.ts';
import { endBar, say } from './screen.ts';
import { type CommandName, summaries } from './summaries.ts';

// Commands are loaded on demand, so that `rectiflow --help` loads no libraries.
const loaders: Record<CommandName, () => Promise<Command>> = {
  quickstart: async () => (await import('./quickstart.ts')).quickstartCommand,
  chain: async () => (await import('./chain.ts')).chainCommand,
  estimate: async () => (await import('./estimate.ts')).estimateCommand,
  train: async () => (await import('./train.ts')).trainCommand,
  reflow: async () => (await import('./reflow.ts')).reflowCommand,
  pairs: async () => (await import('./pairs.ts')).pairsCommand,
  eval: async () => (await import('./eval.ts')).evalCommand,
  sample: async () => (await import('./sample.ts')).sampleCommand,
  transfer: async () => (await import('./transfer.ts')).transferCommand,
  text: async () => (await import('./text.ts')).textCommand,
  serve: async () => (await import('./serve.ts')).serveCommand,
  report: async () => (await import('./report.ts')).reportCommand,
  runs: async () => (await import('./runs.ts')).runsCommand,
  compare: async () => (await import('./compare.ts')).compareCommand,
  figure: async () => (await import('./figure.ts')).figureCommand,
  stats: async () => (await import('./stats.ts')).statsCommand,
  classifier: async () => (await import('./classifier.ts')).classifierCommand,
  playground: async () => (await import('./playground.ts')).playgroundCommand,
  config: async () => (await import('./config.ts')).configCommand,
  convert: async () => (await import('./convert.ts')).convertCommand,
  inspect: async () => (await import('./inspect.ts')).inspectCommand,
  tune: async () => (await import('./tune.ts')).tuneCommand,
  toy: async () => (await import('./toy.ts')).toyCommand,
  doctor: async () => (await import('./doctor.ts')).doctorCommand,
};

function help(): string {
  const lines = Object.entries(summaries).map(([name, summary]) => `  ${name.padEnd(12)}${summary}`);
  return (
    `rectiflow ${packageVersion()} - Rectified Flow on an engine that compiles its own kernels\n\n` +
    `Usage: rectiflow COMMAND [options]\n\nCommands:\n${lines.join('\n')}\n\n` +
    '`rectiflow COMMAND --help` lists the options of a command. RECTIFLOW_DEBUG=1, 2 or 3 logs devices, kernels, sources.\n'
  );
}

async function main(words: readonly string[]): Promise<number> {
  await joinJob();
  if (words.length === 0) {
    process.stderr.write(help());
    return 2;
  }
  if (words.length === 1 && ['--version', '-v', '-V', 'version'].includes(words[0])) {
    process.stdout.write(`${packageVersion()}\n`);
    return 0;
  }
  if (words.length === 1 && ['--help', '-h', 'help'].includes(words[0])) {
    process.stdout.write(help());
    return 0;
  }
  // `help train` is `train --help`.
  const asked = words[0] === 'help' ? [...words.slice(1), '--help'] : words;
  const [name, rest] = await findCommand(asked, Object.keys(loaders) as CommandName[]);
  const command = await loaders[name]();
  const parsed = parseArguments(command, rest);
  if (!parsed) {
    process.stdout.write(commandHelp(command));
    return 0;
  }
  // doctor has a line on it.
  if (name !== 'doctor')
    for (const text of surveyEnvironment().unknown) process.stderr.write(`note: ${escapeText(text)}\n`);
  requireAlone(command);
  return command.run(parsed);
}

/** The exit code of work that was stopped and cannot be resumed; shells use it for Ctrl-C. */
const STOPPED = 130;

/** Prints the message of a RectiflowError or a system error, or the stack of any other error, which is a bug in this program. */
function report(error: unknown): number {
  endBar();
  if (error instanceof Error && error.name === 'AbortError') {
    say('rectiflow: stopped');
    return STOPPED;
  }
  // The message of a system error, such as a full disk, is enough.
  const told = asFileError((error as NodeJS.ErrnoException)?.path ?? 'a file', error);
  const known = told instanceof RectiflowError;
  const text = known ? told.message : escapeText(((error as Error)?.stack ?? String(error)).split('\n'));
  process.stderr.write(`rectiflow: ${text}\n`);
  return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
}

// Work continues when its progress cannot be written, because the terminal is closed or the disk is full. Lost results
// are a failure, unless the reader closed the pipe early (| head) or the terminal was closed.
process.stderr.on('error', () => {});
let lost: NodeJS.ErrnoException | undefined;
const terminals = [0, 1, 2].filter(isatty);
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  const unread = error.code === 'EPIPE' || (error.code === 'EIO' && terminals.includes(1));
  if (!unread) lost ??= error;
});

// On exit, Node restores the settings of each terminal, and aborts if one of them was closed in the meantime.
process.on('exit', () => {
  for (const terminal of terminals) if (!isatty(terminal)) closeSync(terminal);
});

/** Node's exit code when the event loop is empty and a top-level await is still pending. */
const NOTHING_LEFT = 13;
process.on('exit', () => {
  if (process.exitCode !== NOTHING_LEFT) return;
  process.stderr.write(
    'rectiflow: ended while waiting for a promise that never settles; does a configuration await one?\n',
  );
  process.exitCode = 1;
});

// Code of a configuration may still fail after its module was loaded.
process.on('unhandledRejection', (error) => process.exit(report(error)));

const status = await main(process.argv.slice(2))
  .then(async (code) => {
    await leaveJob();
    return code;
  })
  .catch(async (error) => {
    const code = report(error);
    // Interrupted ranks have agreed to stop.
    if (code === STOPPED) await leaveJob();
    else await endJob(error instanceof Error ? error.message : String(error), code);
    return code;
  });
process.exitCode = status;
process.on('exit', () => {
  if (!lost || status !== 0) return;
  process.stderr.write(`rectiflow: cannot write the results (${lost.code})\n`);
  process.exitCode = 1;
});
// Abandoned work may still be waiting for something.
if (status === STOPPED) process.exit();
