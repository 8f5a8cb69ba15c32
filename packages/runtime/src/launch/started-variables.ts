/**
 * What launchers tell the processes that they start, by environment. A table: no launcher's rules stand anywhere else.
 */

/** Names of variables; of several for one thing the first that is set counts. */
export interface LauncherVariables {
  readonly launcher: string;
  /** Started by it where all of these are set. */
  readonly signs: readonly string[];
  readonly rank: readonly string[];
  readonly size: readonly string[];
  /** Place among the ranks of the host, and their number. */
  readonly localRank: readonly string[];
  readonly localSize: readonly string[];
  /** Ranks of every host, as Slurm writes lists: `4(x2),3`. */
  readonly tasksPerHost?: readonly string[];
  /** The same on all processes of the run and on no other's, together. */
  readonly run: readonly string[];
  /** Where rank 0 can be reached: a name or an address, or hosts of which it is on the first. */
  readonly address: readonly string[];
  readonly hosts?: readonly string[];
  readonly port: readonly string[];
  /** A port near the launcher's own, which is in use: that many above it. */
  readonly portOffset: number;
  /** How a job of n ranks is started. */
  readonly starts: (ranks: number) => string;
  /** How a variable gets to all its processes. */
  readonly passing: string;
  readonly source: string;
}

/** Inner launchers first: what runs within a Slurm step sees Slurm's variables too. */
export const launcherVariables: readonly LauncherVariables[] = [
  {
    launcher: 'torchrun',
    signs: ['TORCHELASTIC_RUN_ID'],
    rank: ['RANK'],
    size: ['WORLD_SIZE'],
    localRank: ['LOCAL_RANK'],
    localSize: ['LOCAL_WORLD_SIZE'],
    // The run's id is `none` unless somebody gives one; the port is the run's alone while it lasts.
    run: ['TORCHELASTIC_RUN_ID', 'MASTER_ADDR', 'MASTER_PORT', 'TORCHELASTIC_RESTART_COUNT'],
    address: ['MASTER_ADDR'],
    port: ['MASTER_PORT'],
    portOffset: 1,
    starts: (ranks) => `torchrun --no-python --nproc-per-node ${ranks}, or as many over several hosts`,
    passing: 'export it where torchrun is started, on every host',
    source: 'https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables',
  },
  {
    launcher: 'Open MPI',
    signs: ['OMPI_COMM_WORLD_RANK'],
    rank: ['OMPI_COMM_WORLD_RANK'],
    size: ['OMPI_COMM_WORLD_SIZE'],
    localRank: ['OMPI_COMM_WORLD_LOCAL_RANK'],
    localSize: ['OMPI_COMM_WORLD_LOCAL_SIZE'],
    run: ['PMIX_NAMESPACE'],
    address: ['MASTER_ADDR'],
    port: ['MASTER_PORT'],
    portOffset: 0,
    starts: (ranks) => `mpirun -n ${ranks}`,
    passing: 'mpirun -x NAME hands on what is exported',
    source: 'https://docs.open-mpi.org/en/v5.0.x/tuning-apps/environment-var.html',
  },
  {
    launcher: 'MPICH or Intel MPI',
    signs: ['PMI_RANK', 'PMI_SIZE', 'MPI_LOCALNRANKS'],
    rank: ['PMI_RANK'],
    size: ['PMI_SIZE'],
    localRank: ['MPI_LOCALRANKID'],
    localSize: ['MPI_LOCALNRANKS'],
    // Hydra tells its processes no name of the run.
    run: ['MONTA_RUN'],
    address: ['MASTER_ADDR'],
    port: ['MASTER_PORT'],
    portOffset: 0,
    starts: (ranks) => `mpiexec -n ${ranks}`,
    passing: 'mpiexec -genvlist NAME hands on what is exported',
    source: 'https://github.com/pmodels/mpich/blob/main/doc/wiki/how_to/Using_the_Hydra_Process_Manager.md',
  },
  {
    launcher: 'Slurm',
    // A batch script sees SLURM_PROCID too, but is no step.
    signs: ['SLURM_PROCID', 'SLURM_STEP_ID'],
    rank: ['SLURM_PROCID'],
    size: ['SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS'],
    localRank: ['SLURM_LOCALID'],
    localSize: [],
    tasksPerHost: ['SLURM_STEP_TASKS_PER_NODE', 'SLURM_TASKS_PER_NODE'],
    run: ['SLURM_JOB_ID', 'SLURM_STEP_ID', 'SLURM_RESTART_COUNT'],
    address: ['MASTER_ADDR'],
    hosts: ['SLURM_STEP_NODELIST', 'SLURM_JOB_NODELIST', 'SLURM_NODELIST'],
    port: ['MASTER_PORT'],
    portOffset: 0,
    starts: (ranks) => `srun --ntasks ${ranks}`,
    passing: 'srun hands on what is exported, unless --export says otherwise',
    source: 'https://slurm.schedmd.com/srun.html#SECTION_OUTPUT-ENVIRONMENT-VARIABLES',
  },
];

/** Monta's own, over those of launchers. */
export const ownVariables = {
  /** `host` or `host:port`, of rank 0. */
  address: 'MONTA_ADDRESS',
  run: 'MONTA_RUN',
  token: 'MONTA_TOKEN',
  /** A file with the token, that nobody else can read. */
  tokenFile: 'MONTA_TOKEN_FILE',
} as const;
