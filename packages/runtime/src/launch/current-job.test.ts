import { expect, it } from 'vitest';
import { underMpirun } from './current-job.js';

/** Rank 1 of `srun --mpi=pmix -n 2`, as Slurm 22.05.8 sets it. */
const srun = {
  SLURM_JOB_ID: '1',
  SLURM_LOCALID: '1',
  SLURM_PROCID: '1',
  SLURM_STEP_ID: '0',
  SLURM_STEP_NODELIST: 'vm',
  SLURM_STEP_NUM_TASKS: '2',
  SLURM_STEP_TASKS_PER_NODE: '2',
};
const pmix = { PMIX_NAMESPACE: 'slurm.pmix.1.0', PMIX_RANK: '1' };

it('ranks of Open MPI are those of mpirun, and of srun where it serves PMIx', () => {
  expect(underMpirun({ ...srun, ...pmix })).toMatchObject({ launcher: 'srun', rank: 1, size: 2, localRanks: 2 });
  expect(underMpirun(srun)).toBeUndefined();
  expect(underMpirun({ ...pmix, SLURM_JOB_ID: '1' })).toBeUndefined();
  const mpirun = { OMPI_COMM_WORLD_RANK: '3', OMPI_COMM_WORLD_SIZE: '8', OMPI_COMM_WORLD_LOCAL_SIZE: '4' };
  const within = underMpirun({ ...srun, ...pmix, ...mpirun });
  expect(within).toMatchObject({ launcher: 'mpirun', rank: 3, size: 8, localRanks: 4 });
  expect([within?.starts(2), underMpirun({ ...srun, ...pmix })?.starts(2)]).toEqual([
    'mpirun -n 2',
    'srun --mpi=pmix --ntasks 2',
  ]);
});
