#!/usr/bin/env node
// The command line: finds the command, prints its result or its error. 0 done, 1 failed, 2 wrong usage.
import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { surveyEnvironment } from '../device/environment.ts';
import { ConfigError, RectiflowError, UsageError } from '../errors.ts';
import { packageVersion } from '../run/machine/provenance.ts';
import { escapeText } from '../text.ts';
import { type Command, commandHelp, parseArguments } from './arguments.ts';
import { findCommand } from './mode.ts';
import { endBar, say } from './screen.ts';

// Loaded when asked for: `rectiflow --help` needs none of the libraries.
const commands: Record<string, { summary: string; load: () => Promise<Command> }> = {
  quickstart: {
    summary: 'the whole chain on handwritten digits, in minutes',
    load: async () => (await import('./quickstart.ts')).quickstartCommand,
  },
  chain: {
    summary: 'from data to a generator of few steps, in one resumable run',
    load: async () => (await import('./chain.ts')).chainCommand,
  },
  estimate: {
    summary: 'what a chain will take: time, memory, disk, cost',
    load: async () => (await import('./chain.ts')).estimateCommand,
  },
  train: { summary: 'train a 1-rectified flow', load: async () => (await import('./train.ts')).trainCommand },
  reflow: {
    summary: 'pairs of a trained flow; reflow and distillation from them',
    load: async () => (await import('./reflow.ts')).reflowCommand,
  },
  pairs: {
    summary: 'whether stored pairs are fit to train on',
    load: async () => (await import('./pairs.ts')).pairsCommand,
  },
  eval: {
    summary: 'loss, bits per dimension, straightness, samples of snapshots',
    load: async () => (await import('./eval.ts')).evalCommand,
  },
  sample: { summary: 'images from a checkpoint', load: async () => (await import('./sample.ts')).sampleCommand },
  serve: {
    summary: 'images from a checkpoint, over HTTP',
    load: async () => (await import('./serve.ts')).serveCommand,
  },
  report: {
    summary: 'a page on a chain or a run',
    load: async () => (await import('./report.ts')).reportCommand,
  },
  stats: {
    summary: 'features of a data set, for scores',
    load: async () => (await import('./stats.ts')).statsCommand,
  },
  classifier: {
    summary: 'a small network as the features of scores, where Inception does not fit',
    load: async () => (await import('./classifier.ts')).classifierCommand,
  },
  convert: {
    summary: 'checkpoints of the official code to ours and back',
    load: async () => (await import('./convert.ts')).convertCommand,
  },
  inspect: {
    summary: 'what a checkpoint holds, how large a network is',
    load: async () => (await import('./inspect.ts')).inspectCommand,
  },
  tune: {
    summary: 'measure which convolution algorithms suit this processor',
    load: async () => (await import('./tune.ts')).tuneCommand,
  },
  doctor: {
    summary: 'what is there, what is missing, what to do',
    load: async () => (await import('./doctor.ts')).doctorCommand,
  },
};

function help(): string {
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(12)}${summary}`);
  return (
    `rectiflow ${packageVersion()} - Rectified Flow on an engine that compiles its own kernels\n\n` +
    `Usage: rectiflow COMMAND [options]\n\nCommands:\n${lines.join('\n')}\n\n` +
    '`rectiflow COMMAND --help` lists the options of one. RECTIFLOW_DEBUG=1, 2 or 3 shows devices, kernels, sources.\n'
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

/** The exit code of work that was stopped and has nothing to go on from, as shells have it for Ctrl-C. */
const STOPPED = 130;

/** Errors of ours are for the user; anything else is a fault of this program and shows where. */
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

// Work goes on where its progress cannot be written: the terminal may be closed, the disk full. Results that are lost are a failure,
// but for a reader that closes the pipe early (| head), or a terminal that was closed.
process.stderr.on('error', () => {});
let lost: NodeJS.ErrnoException | undefined;
const terminals = [0, 1, 2].filter(isatty);
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  const unread = error.code === 'EPIPE' || (error.code === 'EIO' && terminals.includes(1));
  if (!unread) lost ??= error;
});

// Node gives each terminal its settings back when it ends, and aborts over one that was closed meanwhile.
process.on('exit', () => {
  for (const terminal of terminals) if (!isatty(terminal)) closeSync(terminal);
});

/** The exit code of Node where nothing is left that could end what is waited for. */
const NOTHING_LEFT = 13;
process.on('exit', () => {
  if (process.exitCode !== NOTHING_LEFT) return;
  process.stderr.write(
    'rectiflow: what it waits for never comes: does a configuration await a promise that nothing settles?\n',
  );
  process.exitCode = 1;
});

// A configuration's own code may fail after it has returned.
process.on('unhandledRejection', (error) => process.exit(report(error)));

const status = await main(process.argv.slice(2)).catch(report);
process.exitCode = status;
process.on('exit', () => {
  if (!lost || status !== 0) return;
  process.stderr.write(`rectiflow: the results cannot be written (${lost.code})\n`);
  process.exitCode = 1;
});
// Work that was given up may still wait for something.
if (status === STOPPED) process.exit();
