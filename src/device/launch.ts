// Which of several processes this one is, by what a launcher has put into the environment: mpirun of Open MPI, Hydra (MPICH, Intel MPI),
// srun, torchrun.
import { availableParallelism, cpus } from 'node:os';
import { fromEnvironment, wholeEnvironment } from './environment.ts';

/** One process of several that a launcher has started together. */
export interface Launch {
  rank: number;
  size: number;
  /** Number of the process on its machine, and how many there are. */
  localRank: number;
  localSize: number;
  by: 'Open MPI' | 'Hydra' | 'Slurm' | 'torchrun';
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The variables with rank, size, rank on the machine and ranks there. */
const variablesOf: Record<Exclude<Launch['by'], 'Slurm'>, readonly [string, string, string, string]> = {
  'Open MPI': [
    'OMPI_COMM_WORLD_RANK',
    'OMPI_COMM_WORLD_SIZE',
    'OMPI_COMM_WORLD_LOCAL_RANK',
    'OMPI_COMM_WORLD_LOCAL_SIZE',
  ],
  Hydra: ['PMI_RANK', 'PMI_SIZE', 'MPI_LOCALRANKID', 'MPI_LOCALNRANKS'],
  torchrun: ['RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE'],
};

/**
 * The launch that an environment describes; undefined for a process that was started alone, or as the only one.
 * @example
 * launchOf({ RANK: '1', WORLD_SIZE: '4', LOCAL_RANK: '1', LOCAL_WORLD_SIZE: '2' })?.by; // 'torchrun'
 * launchOf({ PMI_RANK: '0', PMI_SIZE: '1' }); // undefined
 * @internal
 */
export function launchOf(env: Environment): Launch | undefined {
  return ofVariables('Open MPI', env) ?? ofVariables('Hydra', env) ?? ofSlurm(env) ?? ofVariables('torchrun', env);
}

/** The launch that this process belongs to; undefined if it was started alone. */
export function fromLauncher(): Launch | undefined {
  return launchOf(wholeEnvironment());
}

/**
 * Threads of a process that shares its machine with others of its launch. Undefined for one that was started alone, that RECTIFLOW_THREADS gives a
 * number, or that the launcher has bound to cores of its own.
 */
export function threadsInLaunch(): number | undefined {
  const found = fromLauncher();
  const granted = availableParallelism();
  if (!found || fromEnvironment('RECTIFLOW_THREADS') !== undefined || granted < cpus().length) return undefined;
  return Math.max(1, Math.floor(granted / found.localSize));
}

function ofVariables(by: keyof typeof variablesOf, env: Environment): Launch | undefined {
  const [rank, size, localRank, localSize] = variablesOf[by].map((name) => numberOf(env[name]));
  return launch(by, rank, size, localRank, localSize);
}

/** A step of srun. A batch script's own process has SLURM_PROCID too, but no number of tasks of its step. */
function ofSlurm(env: Environment): Launch | undefined {
  if (env.SLURM_STEP_ID === undefined) return undefined;
  const local = tasksByNode(env.SLURM_STEP_TASKS_PER_NODE ?? '')[numberOf(env.SLURM_NODEID) ?? 0];
  return launch(
    'Slurm',
    numberOf(env.SLURM_PROCID),
    numberOf(env.SLURM_STEP_NUM_TASKS),
    numberOf(env.SLURM_LOCALID),
    local,
  );
}

/** "2(x3),1" is [2, 2, 2, 1]. */
function tasksByNode(text: string): number[] {
  return [...text.matchAll(/(\d+)(?:\(x(\d+)\))?/g)].flatMap(([, tasks, nodes = '1']) =>
    new Array<number>(Math.min(Number(nodes), 2 ** 16)).fill(Number(tasks)),
  );
}

function launch(
  by: Launch['by'],
  rank: number | undefined,
  size: number | undefined,
  localRank: number | undefined,
  localSize: number | undefined,
): Launch | undefined {
  if (rank === undefined || size === undefined || size < 2 || rank >= size) return undefined;
  return { rank, size, localRank: localRank ?? 0, localSize: Math.max(1, localSize ?? 1), by };
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,6}$/.test(text) ? Number(text) : undefined;
}
