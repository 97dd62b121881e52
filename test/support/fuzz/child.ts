// Reads mutants in a separate process: node --import jiti/register child.ts SEED FOLDER RUNS
// RUNS is JSON, [[format, from, to, commands], ...]: the mutants from..to - 1 of a format, every `commands`th by a command
// line too. A mutant is a function of seed, format and number. Sends its parent a message before it reads each, and the outcome
// at the end of each run.
import { execFile } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDevice } from '../../../src/device/open.ts';
import { RectiflowError } from '../../../src/errors.ts';
import { Draw } from './draw.ts';
import { type Files, type Format, makeFormats, Refusal } from './formats.ts';

export type Run = [format: string, from: number, to: number, commands: number];

export interface Outcome {
  format: string;
  attempts: number;
  accepted: number;
  refused: number;
  commands: number;
  failures: Failure[];
  /** The peak memory of this process so far. */
  megabytes: number;
  slowest: { number: number; seconds: number };
}

export interface Failure {
  number: number;
  what: string;
  /** Where the mutant is kept. */
  kept?: string;
}

export type Message = { format: string; number: number } | { outcome: Outcome };

const [, , seed, folder, runs] = process.argv;
const bin = fileURLToPath(new URL('../../../bin/rectiflow.js', import.meta.url));
const [work, seeds, home] = ['mutant', 'seeds', 'home'].map((name) => join(folder, name));
const MOST_SECONDS = 5;
const MOST_FAILURES = 10;

/** Resolves once the message is sent, because a process that exits drops unsent ones. */
function tell(message: Message): Promise<void> {
  return new Promise((resolve) => {
    if (process.send) process.send(message, () => resolve());
    else resolve();
  });
}
const unseen = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}]/u;

function lay(files: Files, root = work): void {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name);
    if (content === null) {
      mkdirSync(path, { recursive: true });
      continue;
    }
    mkdirSync(dirname(path), { recursive: true });
    if (content instanceof Uint8Array) writeFileSync(path, content);
    else if ('link' in content) symlinkSync(content.link, path);
    else {
      const file = openSync(path, 'w');
      writeSync(file, content.start);
      ftruncateSync(file, content.length);
      closeSync(file);
    }
  }
}

/** All names below the mutant's folder; links are not followed. */
function listed(below = ''): string[] {
  return readdirSync(join(work, below), { withFileTypes: true }).flatMap((entry) => {
    const name = below ? `${below}/${entry.name}` : entry.name;
    return entry.isDirectory() ? [name, ...listed(name)] : [name];
  });
}
/** The properties that every object has. */
const inherited = () =>
  [Object, Array, Function, String, Map]
    .flatMap(({ prototype }) => Reflect.ownKeys(prototype))
    .map(String)
    .join();
const before = inherited();

/** The fault of a refusal, or undefined. */
function faultOf(error: unknown): string | undefined {
  if (error instanceof Refusal) return undefined;
  if (!(error instanceof RectiflowError)) return `threw ${(error as Error)?.stack ?? String(error)}`;
  return faultOfText(error.message);
}

function faultOfText(text: string): string | undefined {
  const [first, ...more] = text.split('\n');
  const shown = JSON.stringify(text.slice(0, 500));
  if (first.trim() === '') return 'says nothing';
  if ([first, ...more].some((line) => unseen.test(line))) return `says control characters: ${shown}`;
  if ([first, ...more].some((line) => line.length > 1100))
    return `says a line of ${Math.max(...text.split('\n').map(({ length }) => length))} characters`;
  if (more.some((line) => !line.startsWith('  ')) || more.length > 60) return `says several lines: ${shown}`;
  return undefined;
}

const unexpected: string[] = [];
process.on('uncaughtException', (error) => unexpected.push(`threw later: ${error?.stack ?? error}`));
process.on('unhandledRejection', (error) => unexpected.push(`rejected later: ${(error as Error)?.stack ?? error}`));
process.on('warning', ({ name, message }) => {
  if (/file descriptor|MaxListeners/i.test(`${name} ${message}`)) unexpected.push(`warns: ${message}`);
});

interface Result {
  accepted: boolean;
  fault?: string;
  /** Why it is refused. */
  reason: string;
  seconds: number;
}

async function attempt({ read, leaves }: Format, files: Files): Promise<Result> {
  lay(files);
  const names = listed();
  const start = process.cpuUsage();
  let accepted = false;
  let fault: string | undefined;
  let reason = '';
  try {
    await read(work);
    accepted = true;
  } catch (error) {
    fault = faultOf(error);
    reason = (error as Error)?.message;
  }
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  if (seconds > MOST_SECONDS) fault ??= `took ${seconds} s of processor time`;
  const left = listed().filter((name) => !names.includes(name) && !leaves?.test(name));
  if (left.length > 0) fault ??= `left ${JSON.stringify(left)}`;
  if (inherited() !== before || 'polluted' in {} || 'a' in {}) fault ??= 'changed what all objects inherit';
  fault ??= unexpected.shift();
  return { accepted, fault, reason, seconds };
}

/** Reads it by a command: its exit status must be 0, 1 or 2, and its errors are lines of text, never a stack trace. */
function command({ command: args = [], environment, leaves }: Format, files: Files): Promise<string | undefined> {
  lay(files);
  const names = listed();
  const env = { ...process.env, RECTIFLOW_THREADS: '1', RECTIFLOW_DATA: home, NODE_OPTIONS: '', ...environment };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [bin, ...args],
      { cwd: work, env, timeout: 60_000, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        const status = error ? (error.signal ?? error.code) : 0;
        const shown = JSON.stringify(stderr.slice(-2000));
        const said = stderr.trimEnd().split('\n');
        const own = said.findIndex((line) => line.startsWith('rectiflow: '));
        const left = listed().filter((name) => !names.includes(name) && !leaves?.test(name));
        if (status !== 0 && status !== 1 && status !== 2) resolve(`the command ended with ${status}: ${shown}`);
        else if (/^\s+at .*:\d+/m.test(stderr)) resolve(`the command printed a stack: ${shown}`);
        else if (unseen.test(stdout.replaceAll(/[\n\r\t]/g, '')) || unseen.test(stderr.replaceAll(/[\n\r]/g, '')))
          resolve(`the command printed control characters: ${JSON.stringify(stdout.slice(0, 2000))} ${shown}`);
        else if (status !== 0 && own < 0 && stdout === '')
          resolve(`the command ended with ${status} and said ${shown}`);
        else if (own >= 0 && faultOfText(said.slice(own).join('\n')))
          resolve(`the command ${faultOfText(said.slice(own).join('\n'))}`);
        else if (left.length > 0) resolve(`the command left ${JSON.stringify(left)}`);
        else resolve(undefined);
      },
    );
  });
}

/** Writes the mutant again: reading may have changed it, and a copy of a sparse file would fill its holes. */
function keep(format: string, number: number, files: Files): string {
  const path = join(folder, 'failures', `${format.replaceAll(/\W+/g, '_')}-${number}`);
  lay(files, path);
  return path;
}

async function main(): Promise<void> {
  for (const path of [seeds, home]) mkdirSync(path, { recursive: true });
  const formats = await makeFormats(seeds, await openDevice('cpu', { threads: 1 }));
  for (const [name, from, to, commands] of JSON.parse(runs) as Run[]) {
    const format = formats[name];
    const outcome: Outcome = {
      ...{ format: name, attempts: 0, accepted: 0, refused: 0, commands: 0, failures: [], megabytes: 0 },
      slowest: { number: from, seconds: 0 },
    };
    const failed = (number: number, what: string, files = format.whole) =>
      outcome.failures.push({ number, what, kept: keep(name, number, files) });
    await tell({ format: name, number: -1 });
    const { accepted, fault, reason } = await attempt(format, format.whole);
    if (!accepted || fault) failed(-1, `undamaged: ${fault ?? reason}`);
    for (let number = from; number < to && outcome.failures.length < MOST_FAILURES; number++) {
      await tell({ format: name, number });
      const files = format.mutate(new Draw(`${seed} ${name} ${number}`));
      const result = await attempt(format, files);
      outcome.attempts++;
      outcome[result.accepted ? 'accepted' : 'refused']++;
      if (result.fault) failed(number, result.fault, files);
      if (result.seconds > outcome.slowest.seconds) outcome.slowest = { number, seconds: result.seconds };
      if (!format.command || commands === 0 || number % commands > 0) continue;
      await tell({ format: name, number });
      outcome.commands++;
      const said = await command(format, files);
      if (said) failed(number, said, files);
    }
    outcome.megabytes = process.resourceUsage().maxRSS / 1024;
    await tell({ outcome });
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
