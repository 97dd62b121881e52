#!/usr/bin/env node
// Entry point of the command line: finds the command and prints its result or its error. Exit codes: 0 success, 1
// failure, 2 usage error.
import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { surveyEnvironment } from '../device/environment.ts';
import { ConfigError, RectiflowError, UsageError } from '../errors.ts';
import { packageVersion } from '../run/machine/provenance.ts';
import { escapeText } from '../text.ts';
import { type Command, commandHelp, parseArguments } from './arguments.ts';
import { findCommand } from './mode.ts';
import { endBar, say } from './screen.ts';

// Commands are loaded on demand, so that `rectiflow --help` loads no libraries.
const commands: Record<string, { summary: string; load: () => Promise<Command> }> = {
  quickstart: {
    summary: 'run a whole chain on handwritten digits, in minutes',
    load: async () => (await import('./quickstart.ts')).quickstartCommand,
  },
  chain: {
    summary: 'train a few-step generator from data, in one resumable run',
    load: async () => (await import('./chain.ts')).chainCommand,
  },
  estimate: {
    summary: 'estimate time, memory, disk and cost of a chain',
    load: async () => (await import('./chain.ts')).estimateCommand,
  },
  train: { summary: 'train a 1-rectified flow', load: async () => (await import('./train.ts')).trainCommand },
  reflow: {
    summary: 'generate pairs from a trained flow, then reflow or distil on them',
    load: async () => (await import('./reflow.ts')).reflowCommand,
  },
  pairs: {
    summary: 'check whether stored pairs are fit for training',
    load: async () => (await import('./pairs.ts')).pairsCommand,
  },
  eval: {
    summary: 'evaluate snapshots: loss, bits per dimension, straightness, samples',
    load: async () => (await import('./eval.ts')).evalCommand,
  },
  sample: { summary: 'sample images from a checkpoint', load: async () => (await import('./sample.ts')).sampleCommand },
  serve: {
    summary: 'sample images from a checkpoint over HTTP',
    load: async () => (await import('./serve.ts')).serveCommand,
  },
  report: {
    summary: 'write an HTML report on a chain or a run',
    load: async () => (await import('./report.ts')).reportCommand,
  },
  stats: {
    summary: 'compute the data set features that scores compare with',
    load: async () => (await import('./stats.ts')).statsCommand,
  },
  classifier: {
    summary: 'train a small feature network for scores, where Inception does not fit',
    load: async () => (await import('./classifier.ts')).classifierCommand,
  },
  convert: {
    summary: 'convert checkpoints of the official code to rectiflow and back',
    load: async () => (await import('./convert.ts')).convertCommand,
  },
  inspect: {
    summary: 'list the contents of a checkpoint or the tensors of a network',
    load: async () => (await import('./inspect.ts')).inspectCommand,
  },
  tune: {
    summary: 'measure the convolution algorithms on this processor',
    load: async () => (await import('./tune.ts')).tuneCommand,
  },
  doctor: {
    summary: 'check this machine; say what is missing and how to fix it',
    load: async () => (await import('./doctor.ts')).doctorCommand,
  },
};

function help(): string {
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(12)}${summary}`);
  return (
    `rectiflow ${packageVersion()} - Rectified Flow on an engine that compiles its own kernels\n\n` +
    `Usage: rectiflow COMMAND [options]\n\nCommands:\n${lines.join('\n')}\n\n` +
    '`rectiflow COMMAND --help` lists the options of a command. RECTIFLOW_DEBUG=1, 2 or 3 logs devices, kernels, sources.\n'
  );
}

async function main(words: readonly string[]): Promise<number> {
  if (words.length === 0) {
    process.stderr.write(help());
    return 2;
  }
  if (words.length === 1 && words[0] === '--version') {
    process.stdout.write(`${packageVersion()}\n`);
    return 0;
  }
  if (words.length === 1 && ['--help', '-h', 'help'].includes(words[0])) {
    process.stdout.write(help());
    return 0;
  }
  const [name, rest] = await findCommand(words, Object.keys(commands));
  const command = await commands[name].load();
  const parsed = parseArguments(command, rest);
  if (!parsed) {
    process.stdout.write(commandHelp(command));
    return 0;
  }
  // doctor has a line on it.
  if (name !== 'doctor')
    for (const text of surveyEnvironment().unknown) process.stderr.write(`note: ${escapeText(text)}\n`);
  return command.run(parsed);
}

/** The exit code of work that was stopped and cannot be resumed; shells use it for Ctrl-C. */
const STOPPED = 130;

/** Prints the message of a RectiflowError, or the stack of any other error, which is a bug in this program. */
function report(error: unknown): number {
  endBar();
  if (error instanceof Error && error.name === 'AbortError') {
    say('rectiflow: stopped');
    return STOPPED;
  }
  const known = error instanceof RectiflowError;
  const text = known ? error.message : escapeText(((error as Error)?.stack ?? String(error)).split('\n'));
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

const status = await main(process.argv.slice(2)).catch(report);
process.exitCode = status;
process.on('exit', () => {
  if (!lost || status !== 0) return;
  process.stderr.write(`rectiflow: cannot write the results (${lost.code})\n`);
  process.exitCode = 1;
});
// Abandoned work may still be waiting for something.
if (status === STOPPED) process.exit();
