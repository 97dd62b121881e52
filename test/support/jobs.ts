// Commands as jobs of several processes, started by mpirun of Open MPI or MPICH.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { bin } from './chain_runs.ts';

export type Launcher = 'openmpi' | 'mpich';

export interface Ended {
  status: number | null;
  /** Standard output and standard error, as they came. */
  text: string;
}

/** The words before a program. More processes than cores may run, also by root. */
function launcherWords(launcher: Launcher, size: number): string[] {
  // A rank that waits lets others have its core, because other tests run at the same time.
  const yields = ['--mca', 'mpi_yield_when_idle', '1'];
  const words =
    launcher === 'openmpi' ? ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', ...yields] : [];
  return [`mpirun.${launcher}`, ...words, '-np', String(size)];
}

/** Starts a command on a number of ranks; 1 is a process without a launcher. */
export function startJob(
  words: readonly string[],
  size: number,
  { cwd, launcher = 'openmpi', env = {} }: { cwd: string; launcher?: Launcher; env?: Record<string, string> },
): { child: ChildProcess; ended: Promise<Ended> } {
  const program = [process.execPath, bin, ...words];
  const [command, ...rest] = size === 1 ? program : [...launcherWords(launcher, size), ...program];
  return watch(command, rest, cwd, env);
}

/** Starts a job whose ranks have command lines of their own. */
export function startMixedJob(commands: readonly (readonly string[])[], launcher: Launcher, cwd: string) {
  const [command, ...rest] = commands.flatMap((words, i) => [
    ...(i === 0 ? launcherWords(launcher, 1) : [':', '-np', '1']),
    ...[process.execPath, bin, ...words],
  ]);
  return watch(command, rest, cwd, {});
}

export function watch(command: string, words: readonly string[], cwd: string, env: Record<string, string>) {
  const child = spawn(command, words, {
    cwd,
    env: { ...process.env, RECTIFLOW_THREADS: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (piece) => {
      text += piece;
    });
  const ended = new Promise<Ended>((resolve) => child.on('close', (status) => resolve({ status, text })));
  return { child, ended };
}

/** Process ids of the ranks of a job, in no order: the processes of Node whose command line holds `mark`. */
export function ranksOf(mark: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words[0] === process.execPath && words.includes(mark);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** SHA-256 of all files in a folder, by path. */
export function hashesIn(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).sort();
  return Object.fromEntries(
    paths.map((path) => [relative(folder, path), createHash('sha256').update(readFileSync(path)).digest('hex')]),
  );
}

/** SHA-256 of all checkpoints and states of a run, and its losses and norms by step. */
export function resultOf(workdir: string) {
  const files = ['checkpoints', 'checkpoints-meta'].flatMap((folder) =>
    readdirSync(join(workdir, folder)).map((name) => join(folder, name)),
  );
  const hashes = files.sort().map((name) => {
    const hash = createHash('sha256').update(readFileSync(join(workdir, name)));
    return [name, hash.digest('hex')];
  });
  const log = readFileSync(join(workdir, 'log.jsonl'), 'utf8').trim().split('\n');
  const figures = log.map((line) => {
    const { lr: _, images_per_s: __, ...figures } = JSON.parse(line);
    return figures;
  });
  return { files: Object.fromEntries(hashes), figures };
}
