// Several processes that train one network, each a rank of a job that mpirun or srun has started. MPI moves bytes; whatever is added is
// added by us, in the order of one process. The first rank reads and writes the work directory.
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';
import { kind } from '../../arguments.ts';
import { fromLauncher, type Launch } from '../../device/launch.ts';
import { Mpi } from '../../device/mpi.ts';
import { ConfigError, DeviceError } from '../../errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { differences } from '../config/tree.ts';
import type { Config } from '../config/types.ts';

/** Milliseconds between two looks at whether the other ranks have come. */
const POLL_MS = 5;

/**
 * The processes of a job, which train together: `openRanks` makes it, `train` and `trainReflow` take it as an option.
 * @example
 * const ranks = openRanks();
 * const isFirst = ranks?.isFirst ?? true;
 * isFirst; // true
 * await ranks?.meet();
 * ranks?.finish();
 */
export class Ranks {
  /** Number of this process, and of all. */
  readonly rank: number;
  readonly size: number;
  /** What started them, the MPI library in use, and this machine's name. */
  readonly launcher: string;
  readonly library: string;
  readonly host: string;
  /** Moves bytes between the ranks. @internal */
  readonly mpi: Mpi;

  /** @internal */
  constructor(launch: Launch) {
    this.mpi = new Mpi(launch);
    this.rank = this.mpi.rank;
    this.size = this.mpi.size;
    this.launcher = launch.by;
    this.library = `${this.mpi.version} (${this.mpi.path})`;
    this.host = this.mpi.host;
  }

  /** Whether this is the rank that reads, writes and prints. */
  get isFirst(): boolean {
    return this.rank === 0;
  }

  /** "rank 3 of 8 (node7)". */
  get title(): string {
    return `rank ${this.rank} of ${this.size} (${this.host})`;
  }

  /** As many numbers from each rank, in their order. */
  gather(own: readonly number[]): Float64Array[] {
    const all = this.mpi.gather(new Uint8Array(Float64Array.from(own).buffer));
    return Array.from({ length: this.size }, (_, k) => {
      const bytes = all.slice(8 * k * own.length, 8 * (k + 1) * own.length);
      return new Float64Array(bytes.buffer);
    });
  }

  /** The first rank's number, on all ranks. */
  ofFirst(own: number): number {
    return this.gather([own])[0][0];
  }

  /** Whether the signal of one of the ranks is aborted; all get the same answer. */
  anyAborted(signal: AbortSignal | undefined): boolean {
    return this.gather([Number(signal?.aborted ?? false)]).some(([aborted]) => aborted !== 0);
  }

  /** A text from each rank, in their order. */
  gatherTexts(own: string): string[] {
    const bytes = new TextEncoder().encode(own);
    const lengths = this.gather([bytes.length]).map(([length]) => length);
    const most = Math.max(1, ...lengths);
    const padded = new Uint8Array(most);
    padded.set(bytes);
    const all = this.mpi.gather(padded);
    return lengths.map((length, k) => new TextDecoder().decode(all.subarray(k * most, k * most + length)));
  }

  /** Gives all ranks the first one's values, f32 or of 32 bits, in place. */
  broadcast(t: Tensor): void {
    this.mpi.broadcast(t.address, 4 * t.size);
    t.storage.markWritten();
  }

  /**
   * Waits until all ranks have called this. Timers and signals run meanwhile, and the processor is free: the ranks of one machine may
   * wait for the first one's evaluation.
   */
  async meet(): Promise<void> {
    const haveCome = this.mpi.barrier();
    for (let turns = 0; !haveCome(); turns++) await (turns < 20 ? nextTurn() : wait(POLL_MS));
  }

  /**
   * Requires that all ranks have the configuration of the first and the same properties of program and machine, on which bits depend.
   * @throws ConfigError or DeviceError on all ranks, naming the rank and the difference
   */
  requireSame(config: Config, properties: Readonly<Record<string, string>>): void {
    const texts = this.gatherTexts(JSON.stringify({ config, properties })).map((text) => JSON.parse(text));
    const [first] = texts as { config: Config; properties: Record<string, string> }[];
    for (const [rank, other] of texts.entries()) {
      for (const [name, value] of Object.entries<string>(other.properties))
        if (first.properties[name] !== value)
          throw new DeviceError(
            `rank ${rank} has another ${name} than rank 0: ${value}, not ${first.properties[name]}; the bits of a step depend on it`,
          );
      const [changed] = differences(first.config, other.config);
      if (changed) throw new ConfigError(`rank ${rank} has another configuration than rank 0: ${changed.path}`);
    }
  }

  /** Ends the processes of all ranks at once, after an error in one of them. @param status their exit status; default 1 */
  abort(status = 1): void {
    this.mpi.abort(status);
  }

  /** Leaves the job. Every rank calls it, after its last work with others. */
  finish(): void {
    this.mpi.finish();
  }
}

/** What takes part in a job, or is alone. */
interface MaybeJob {
  ranks?: Ranks;
  signal?: AbortSignal;
}

/** Does work on the first rank and then on the others, which find what it has made, such as compiled kernels. */
export async function inTurn<T>({ ranks }: MaybeJob, work: () => Promise<T>): Promise<T> {
  if (ranks && !ranks.isFirst) await ranks.meet();
  const result = await work();
  if (ranks?.isFirst) await ranks.meet();
  return result;
}

/** The signal of work that one process does by itself; none in a job, whose ranks agree to stop. */
export function ownSignal({ ranks, signal }: MaybeJob): AbortSignal | undefined {
  return ranks ? undefined : signal;
}

export const ranksKind = kind('the result of openRanks()', (value) => value instanceof Ranks);

/**
 * Joins the job of this process; undefined if it was started alone. Call it before anything that may fail: other ranks wait for a rank that
 * ends before it has joined.
 * @throws DeviceError if no MPI library is found, or one of another implementation than the launcher's
 * @example
 * const ranks = openRanks();
 * ranks === undefined; // true
 * // This process was started alone. With `mpirun -np 4`, ranks.size is 4.
 */
export function openRanks(): Ranks | undefined {
  const launch = fromLauncher();
  if (!launch) return undefined;
  if (launch.by === 'torchrun')
    throw new DeviceError(
      'torchrun starts processes without MPI, by which ranks exchange gradients; start them with mpirun or `srun --mpi=pmix`',
    );
  return new Ranks(launch);
}
