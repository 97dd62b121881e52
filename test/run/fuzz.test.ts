// Mutants of every format that this package reads (test/support/fuzz) cause no crash and no hang, use little memory,
// and are refused with one clear error. A mutant is a function of seed, format and index. RECTIFLOW_TEST_FULL=1 reads
// more than 20,000, each format in its own process, and prints the outcomes; by default a few of each format are read.
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { full } from '../support/devices.ts';
import type { Failure, Message, Outcome, Run } from '../support/fuzz/child.ts';
import { mutantCounts } from '../support/fuzz/counts.ts';

const SEED = process.env.RECTIFLOW_FUZZ_SEED ?? '1';
const program = fileURLToPath(new URL('../support/fuzz/child.ts', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'rectiflow-fuzz-'));
const failures: string[] = [];
// Keeps the mutants that failed.
afterAll(() => {
  if (failures.length === 0) rmSync(root, { recursive: true });
});

/**
 * Limits for one mutant: seconds of CPU time, and seconds of real time if it does not compute. Before its first one, a process compiles
 * the TypeScript that it loads.
 */
const MOST = { computing: 10, waiting: 180, loading: 60 };
const MEGABYTES = 700;

/** CPU seconds that a process has used; undefined if the system does not provide them. */
function processorSeconds({ pid }: ChildProcess): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [user, system] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14).map(Number);
    return (user + system) / 100;
  } catch {
    return undefined;
  }
}

interface Ended {
  outcomes: Outcome[];
  /** The mutant at which the process failed, and why. */
  stopped?: { format: string; failure: Failure };
}

function runChild(runs: readonly Run[]): Promise<Ended> {
  const folder = mkdtempSync(join(root, 'child-'));
  const child = fork(program, [SEED, folder, JSON.stringify(runs)], {
    execArgv: ['--import', 'jiti/register'],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  const outcomes: Outcome[] = [];
  let at = { format: runs[0][0], number: -1 };
  let since = { time: performance.now(), processor: 0 };
  let loaded = false;
  let hung = '';
  let said = '';
  child.stderr?.on('data', (data) => {
    said = (said + data).slice(-2000);
  });
  child.on('message', (message: Message) => {
    if ('outcome' in message) outcomes.push(message.outcome);
    else at = message;
    loaded = true;
    since = { time: performance.now(), processor: processorSeconds(child) ?? 0 };
  });
  const watch = setInterval(() => {
    const computing = (processorSeconds(child) ?? 0) - since.processor;
    const waiting = (performance.now() - since.time) / 1000;
    if (computing < (loaded ? MOST.computing : MOST.loading) && waiting < MOST.waiting) return;
    hung = `does not end: ${computing.toFixed(1)} s of processor time, ${waiting.toFixed(0)} s in all`;
    child.kill('SIGKILL');
  }, 200);
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      clearInterval(watch);
      if (outcomes.length === runs.length) return resolve({ outcomes });
      const kept = join(root, `${at.format.replaceAll(/\W+/g, '_')}-${at.number}`);
      if (existsSync(join(folder, 'mutant'))) renameSync(join(folder, 'mutant'), kept);
      const what = hung || `ended the process: ${signal ?? code} ${said}`;
      resolve({ outcomes, stopped: { format: at.format, failure: { number: at.number, what, kept } } });
    });
  });
}

/** Runs all mutants; after a crash, the remaining ones in another process. */
async function runAll(runs: readonly Run[]): Promise<Outcome[]> {
  const done: Outcome[] = [];
  let left = [...runs];
  for (let crashes = 0; left.length > 0 && crashes < 5; ) {
    const { outcomes, stopped } = await runChild(left);
    done.push(...outcomes);
    left = left.slice(outcomes.length);
    if (!stopped) continue;
    crashes++;
    const [format, , to, commands] = left[0];
    failures.push(reportOf(stopped.format, stopped.failure));
    left[0] = [format, stopped.failure.number + 1, to, commands];
    if (stopped.failure.number < 0) left = left.slice(1);
  }
  for (const { format, failures: found } of done) failures.push(...found.map((failure) => reportOf(format, failure)));
  return done;
}

function reportOf(format: string, { number, what, kept }: Failure): string {
  return (
    `${format}, mutant ${number} of seed ${SEED}: ${what}\n  kept in ${kept}; again: node --import jiti/register ` +
    `test/support/fuzz/child.ts ${SEED} FOLDER '${JSON.stringify([[format, number, number + 1, 1]])}'`
  );
}

const wanted = process.env.RECTIFLOW_FUZZ_FORMAT;
const formats = Object.entries(mutantCounts).filter(([name]) => wanted === undefined || name === wanted);
if (formats.length === 0)
  throw new Error(`no format is called ${wanted}; there are ${Object.keys(mutantCounts).join(', ')}`);

function table(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ format, attempts, accepted, refused, commands, megabytes, slowest }) => [
    ...[format, attempts, accepted, refused, commands, megabytes.toFixed(0)],
    `  ${slowest.seconds.toFixed(2)} (${slowest.number})`,
  ]);
  const total = [0, 1, 2, 3].map((at) => rows.reduce((sum, row) => sum + Number(row[at + 1]), 0));
  const head = ['format', 'attempts', 'accepted', 'refused', 'commands', 'peak MB', '  slowest s (number)'];
  return [head, ...rows, ['all', ...total, '', '']]
    .map(
      ([name, ...numbers]) => `${String(name).padEnd(26)}${numbers.map((text) => String(text).padStart(12)).join('')}`,
    )
    .join('\n');
}

function judge(outcomes: readonly Outcome[]): void {
  expect(failures.join('\n')).toBe('');
  const without = outcomes.filter(
    ({ accepted, refused, format }) => accepted === 0 || (refused === 0 && !neverRefused.has(format)),
  );
  expect(without.map(({ format }) => format)).toEqual([]);
  for (const { format, megabytes } of outcomes) expect(megabytes, format).toBeLessThan(MEGABYTES);
}

/** Formats that are read as far as they are valid and never refused. */
const neverRefused = new Set(['log.jsonl', 'best.json', 'run.json', 'event files']);

if (full)
  it('more than 20,000 mutants of all formats', { timeout: 3_600_000 }, async () => {
    const outcomes: Outcome[] = [];
    for (const [name, count] of formats)
      outcomes.push(...(await runAll([[name, 0, count, Math.max(20, Math.ceil(count / 20))]])));
    console.log(table(outcomes));
    judge(outcomes);
    if (wanted === undefined) expect(outcomes.reduce((sum, { attempts }) => sum + attempts, 0)).toBeGreaterThan(20_000);
  });
else
  it('some mutants of each format', { timeout: 120_000 }, async () => {
    // An image set of 30 MB takes as long as a hundred small files do.
    const shareOf = (name: string, count: number) => (name.startsWith('cifar') ? 4 : Math.ceil(count / 25));
    const commands = new Set(['checkpoint', 'official checkpoint', 'pth legacy', 'pairs', 'configuration (.json)']);
    const runs = formats.map(([name, count]): Run => [name, 0, shareOf(name, count), commands.has(name) ? count : 0]);
    judge(await runAll(runs));
  });
