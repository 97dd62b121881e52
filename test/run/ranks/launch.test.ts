// Which rank a process is, by the environments of launchers, as they were seen in real jobs.
import { expect, it } from 'vitest';
import { launchOf } from '../../../src/device/launch.ts';

const openMpi = {
  OMPI_COMM_WORLD_RANK: '3',
  OMPI_COMM_WORLD_SIZE: '8',
  OMPI_COMM_WORLD_LOCAL_RANK: '1',
  OMPI_COMM_WORLD_LOCAL_SIZE: '2',
};

it.each([
  ['mpirun of Open MPI', openMpi, { rank: 3, size: 8, localRank: 1, localSize: 2, by: 'Open MPI' }],
  [
    'mpirun of MPICH',
    { PMI_RANK: '1', PMI_SIZE: '2', MPI_LOCALRANKID: '1', MPI_LOCALNRANKS: '2' },
    { rank: 1, size: 2, localRank: 1, localSize: 2, by: 'Hydra' },
  ],
  [
    'srun on nodes with 2, 2, 2 and 1 tasks',
    {
      SLURM_STEP_ID: '0',
      SLURM_PROCID: '6',
      SLURM_STEP_NUM_TASKS: '7',
      SLURM_LOCALID: '0',
      SLURM_NODEID: '3',
      SLURM_STEP_TASKS_PER_NODE: '2(x3),1',
    },
    { rank: 6, size: 7, localRank: 0, localSize: 1, by: 'Slurm' },
  ],
  [
    'torchrun',
    { RANK: '0', WORLD_SIZE: '4', LOCAL_RANK: '0', LOCAL_WORLD_SIZE: '4' },
    { rank: 0, size: 4, localRank: 0, localSize: 4, by: 'torchrun' },
  ],
  // Slurm sets PMI variables under srun --mpi=pmi2 too; the launcher of the library wins.
  [
    'Open MPI below Slurm',
    { ...openMpi, SLURM_STEP_ID: '0', SLURM_PROCID: '0', SLURM_STEP_NUM_TASKS: '2' },
    { rank: 3 },
  ],
])('%s', (_, env, expected) => {
  expect(launchOf(env)).toMatchObject(expected);
});

it.each([
  ['nothing', {}],
  ['one process', { OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '1' }],
  ["a batch script's own process", { SLURM_PROCID: '0', SLURM_NTASKS: '4', SLURM_JOB_ID: '7' }],
  ['a rank beyond the size', { RANK: '4', WORLD_SIZE: '4' }],
  ['no numbers', { RANK: 'zero', WORLD_SIZE: '4' }],
  ['a negative number', { RANK: '-1', WORLD_SIZE: '4' }],
])('%s: not a launch', (_, env) => {
  expect(launchOf(env)).toBeUndefined();
});
