// A command that mpirun or srun has started as several processes. The first rank prints and writes; the others are silent unless they fail.
import { setTimeout as wait } from 'node:timers/promises';
import { fromLauncher, type Launch } from '../device/launch.ts';
import { UsageError } from '../errors.ts';
import type { Ranks } from '../run/ranks/ranks.ts';
import type { Command } from './arguments.ts';

/** Milliseconds that a rank waits before it reports an error, because the first rank often has the same and then ends all. */
const PATIENCE_MS = 3000;

let launch: Launch | undefined;
let joined: Ranks | undefined;

/** The ranks of this process's job; undefined if it was started alone. */
export function joinedRanks(): Ranks | undefined {
  return joined;
}

/** Joins the job of this process, if it has one, before anything that may fail. @throws DeviceError as openRanks */
export async function joinJob(): Promise<void> {
  launch = fromLauncher();
  if (!launch) return;
  // Open MPI gives its processes a terminal, whose content it copies line by line.
  process.stderr.isTTY = false;
  process.stdout.isTTY = false;
  if (launch.rank > 0) silence();
  const { openRanks } = await import('../run/ranks/ranks.ts');
  joined = openRanks();
}

/** Writes to standard error in a silent rank too. */
const write = process.stderr.write.bind(process.stderr);

function silence(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.write = ((_chunk: unknown, ...rest: unknown[]) => {
      const done = rest.at(-1);
      if (typeof done === 'function') process.nextTick(done);
      return true;
    }) as typeof stream.write;
}

/** @throws UsageError for a command that one process runs */
export function requireAlone({ name, ranks }: Command): void {
  if (joined && !ranks)
    throw new UsageError(
      `${name} runs in one process, and ${joined.launcher} has started ${joined.size}; start it without`,
    );
}

/** @throws UsageError for an option with which one process runs */
export function refuseJob(option: string): void {
  if (joined) throw new UsageError(`${option} runs in one process; start it without mpirun or srun`);
}

/** Ends the job after an error in this process. @param text what the first rank has printed */
export async function endJob(text: string, status: number): Promise<void> {
  const title = joined?.title ?? `rank ${launch?.rank} of ${launch?.size}`;
  if (launch && launch.rank > 0) {
    await wait(PATIENCE_MS);
    write(`rectiflow: ${title}: ${text}\n`);
  }
  joined?.abort(status);
}

/** Leaves the job when the work of all ranks is done. */
export async function leaveJob(): Promise<void> {
  if (!joined) return;
  await joined.meet();
  joined.finish();
}
