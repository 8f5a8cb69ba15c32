import { InputError } from '@monta/core/units';
import { describe, expect, it } from 'vitest';
import { firstHost, startedPlace, type Environment } from './started-place.js';
import { launcherVariables } from './started-variables.js';

/** As the launchers set them for rank 9 of 16 on the second of two hosts. */
const second: Readonly<Record<string, Environment>> = {
  torchrun: {
    RANK: '9',
    WORLD_SIZE: '16',
    LOCAL_RANK: '1',
    LOCAL_WORLD_SIZE: '8',
    GROUP_RANK: '1',
    MASTER_ADDR: 'node01',
    MASTER_PORT: '29500',
    TORCHELASTIC_RUN_ID: 'none',
    TORCHELASTIC_RESTART_COUNT: '0',
  },
  'Open MPI': {
    OMPI_COMM_WORLD_RANK: '9',
    OMPI_COMM_WORLD_SIZE: '16',
    OMPI_COMM_WORLD_LOCAL_RANK: '1',
    OMPI_COMM_WORLD_LOCAL_SIZE: '8',
    PMIX_NAMESPACE: '2836856833',
    PMIX_RANK: '9',
  },
  'MPICH or Intel MPI': {
    PMI_RANK: '9',
    PMI_SIZE: '16',
    MPI_LOCALRANKID: '1',
    MPI_LOCALNRANKS: '8',
    MONTA_RUN: 'mine',
  },
  Slurm: {
    SLURM_PROCID: '9',
    SLURM_NTASKS: '16',
    SLURM_STEP_NUM_TASKS: '16',
    SLURM_LOCALID: '1',
    SLURM_NODEID: '1',
    SLURM_STEP_TASKS_PER_NODE: '8(x2)',
    SLURM_STEP_NODELIST: 'gpu[01-02]',
    SLURM_JOB_ID: '4711',
    SLURM_STEP_ID: '0',
    PMIX_RANK: '9',
    PMIX_NAMESPACE: 'slurm.pmix.4711.0',
  },
};

/** What Slurm 22.05.8 set on Debian 12, of the names that Monta reads or could take for others. */
const recorded = {
  /** `srun -N 1 -n 4`, rank 3. */
  'one node': {
    SLURM_GTIDS: '0,1,2,3',
    SLURM_JOB_ID: '1',
    SLURM_JOB_NODELIST: 'node1',
    SLURM_LAUNCH_NODE_IPADDR: '127.0.0.1',
    SLURM_LOCALID: '3',
    SLURM_NODEID: '0',
    SLURM_NODELIST: 'node1',
    SLURM_NPROCS: '4',
    SLURM_NTASKS: '4',
    SLURM_PROCID: '3',
    SLURM_STEP_ID: '0',
    SLURM_STEP_NODELIST: 'node1',
    SLURM_STEP_NUM_NODES: '1',
    SLURM_STEP_NUM_TASKS: '4',
    SLURM_STEP_TASKS_PER_NODE: '4',
    SLURM_TASKS_PER_NODE: '4',
  },
  /** `srun -N 2 --ntasks-per-node 2`, rank 3. */
  'two nodes': {
    SLURM_GTIDS: '2,3',
    SLURM_JOB_CPUS_PER_NODE: '2(x2)',
    SLURM_JOB_ID: '2',
    SLURM_JOB_NODELIST: 'node[1-2]',
    SLURM_LAUNCH_NODE_IPADDR: '127.0.0.1',
    SLURM_LOCALID: '1',
    SLURM_NNODES: '2',
    SLURM_NODEID: '1',
    SLURM_NODELIST: 'node[1-2]',
    SLURM_NTASKS: '4',
    SLURM_NTASKS_PER_NODE: '2',
    SLURM_PROCID: '3',
    SLURM_STEP_ID: '0',
    SLURM_STEP_NODELIST: 'node[1-2]',
    SLURM_STEP_NUM_NODES: '2',
    SLURM_STEP_NUM_TASKS: '4',
    SLURM_STEP_TASKS_PER_NODE: '2(x2)',
    SLURM_TASKS_PER_NODE: '2(x2)',
  },
  /** `srun -N 1 -n 2`, rank 1, in a batch job of four tasks on two nodes: the job's list is longer than the step's. */
  'a step of a batch job': {
    SLURM_JOB_ID: '3',
    SLURM_JOB_NODELIST: 'node[1-2]',
    SLURM_LOCALID: '1',
    SLURM_NODELIST: 'node[1-2]',
    SLURM_NTASKS: '2',
    SLURM_PROCID: '1',
    SLURM_STEP_ID: '0',
    SLURM_STEP_NODELIST: 'node1',
    SLURM_STEP_NUM_TASKS: '2',
    SLURM_STEP_TASKS_PER_NODE: '2',
    SLURM_TASKS_PER_NODE: '2',
  },
  /** The batch script itself. */
  'a batch script': {
    SLURM_JOB_ID: '3',
    SLURM_JOB_NODELIST: 'node[1-2]',
    SLURM_LOCALID: '0',
    SLURM_NODEID: '0',
    SLURM_NTASKS: '4',
    SLURM_PROCID: '0',
    SLURM_TASKS_PER_NODE: '3,1',
  },
} satisfies Readonly<Record<string, Environment>>;

function complaint(environment: Environment): string {
  try {
    startedPlace(environment);
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  throw new Error('nothing was wrong');
}

const without = (environment: Environment, ...names: string[]): Environment =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !names.includes(name)));

describe('the environment of launchers', () => {
  it('is read alike, whoever started the ranks', () => {
    expect(Object.keys(second)).toEqual(launcherVariables.map(({ launcher }) => launcher));
    for (const [launcher, environment] of Object.entries(second)) {
      const { rank, size, localRank, localSize, launcher: found } = startedPlace(environment) ?? {};
      expect([found, rank, size, localRank, localSize]).toEqual([launcher, 9, 16, 1, 8]);
    }
  });

  it('is read as Slurm set it, on one node and on two, in a batch job and in its steps', () => {
    const of = (name: keyof typeof recorded) => startedPlace(recorded[name]);
    expect(of('one node')).toMatchObject({ rank: 3, size: 4, localRank: 3, localSize: 4, run: 'Slurm 1 0' });
    expect(of('two nodes')).toMatchObject({ rank: 3, size: 4, localRank: 1, localSize: 2 });
    expect(of('two nodes')?.address).toEqual({ host: 'node1', port: 20_002 });
    expect(of('a step of a batch job')).toMatchObject({ rank: 1, size: 2, localSize: 2, address: { host: 'node1' } });
    expect(of('a batch script')).toBeUndefined();
  });

  it('takes a list of the job where the step has none', () => {
    const { SLURM_STEP_NODELIST: list, ...job } = second['Slurm'];
    expect(startedPlace({ ...job, SLURM_JOB_NODELIST: list })?.address.host).toBe('gpu01');
  });

  it('says where rank 0 is: as given, a port above torchrun’s store, the first host of a Slurm step', () => {
    const addresses = Object.values(second).map((environment) => startedPlace(environment)?.address);
    expect(addresses).toEqual([{ host: 'node01', port: 29501 }, {}, {}, { host: 'gpu01', port: 24711 }]);
    const given = { MONTA_ADDRESS: '10.0.0.7:5555', MASTER_ADDR: 'other' };
    for (const environment of Object.values(second))
      expect(startedPlace({ ...environment, ...given })?.address).toEqual({ host: '10.0.0.7', port: 5555 });
    expect(startedPlace({ ...second['Open MPI'], MASTER_ADDR: 'a', MASTER_PORT: '7' })?.address).toEqual({
      host: 'a',
      port: 7,
    });
  });

  it('names a run alike on all its ranks, and two runs apart', () => {
    for (const environment of Object.values(second)) {
      const name = startedPlace(environment)?.run;
      const other = Object.keys(environment).find((variable) =>
        /NAMESPACE|JOB_ID|MASTER_PORT|MONTA_RUN/u.test(variable),
      );
      expect(startedPlace({ ...environment, [other ?? '']: '3' })?.run).not.toBe(name);
    }
  });

  it('is the innermost launcher’s where one runs within another', () => {
    const inStep = { ...second['Slurm'], ...second['torchrun'] };
    expect(startedPlace({ ...inStep, SLURM_PROCID: '1', SLURM_NTASKS: '2' })?.launcher).toBe('torchrun');
    expect(startedPlace({ ...second['Slurm'], ...second['Open MPI'], SLURM_PROCID: '1' })?.launcher).toBe('Open MPI');
  });

  it('is nobody’s where nobody started several processes', () => {
    for (const environment of [
      {},
      // A batch script is no step.
      { SLURM_PROCID: '0', SLURM_NTASKS: '16', SLURM_JOB_ID: '1' },
      { RANK: '0', WORLD_SIZE: '1', LOCAL_RANK: '0', LOCAL_WORLD_SIZE: '1', TORCHELASTIC_RUN_ID: 'none' },
      { WORLD_SIZE: '1' },
    ])
      expect(startedPlace(environment)).toBeUndefined();
  });

  it.each([
    ['torchrun', 'LOCAL_RANK', /torchrun started this process, but LOCAL_RANK is not set/u],
    ['torchrun', 'WORLD_SIZE', /WORLD_SIZE is not set/u],
    ['Open MPI', 'OMPI_COMM_WORLD_LOCAL_SIZE', /OMPI_COMM_WORLD_LOCAL_SIZE is not set/u],
    ['Open MPI', 'PMIX_NAMESPACE', /does not say which run this is.*MONTA_RUN.*mpirun -x/su],
    ['MPICH or Intel MPI', 'MONTA_RUN', /does not say which run this is.*MONTA_RUN/su],
    ['Slurm', 'SLURM_LOCALID', /SLURM_LOCALID is not set/u],
    ['Slurm', 'SLURM_STEP_TASKS_PER_NODE', /SLURM_STEP_TASKS_PER_NODE and SLURM_TASKS_PER_NODE are not set/u],
  ])('of %s is refused without %s', (launcher, name, message) => {
    expect(complaint(without(second[launcher] ?? {}, name))).toMatch(message);
  });

  it.each([
    ['torchrun', { RANK: '16' }, /RANK is 16 and WORLD_SIZE is 16.*ranks from 0 to 15/su],
    ['torchrun', { RANK: 'nine' }, /RANK is "nine".*a whole number/su],
    ['torchrun', { LOCAL_WORLD_SIZE: '5' }, /rank 9 of 16 is place 1 of 5 on its host/u],
    ['torchrun', { LOCAL_RANK: '2' }, /rank 9 of 16 is place 2 of 8/u],
    ['torchrun', { MASTER_PORT: '65535' }, /the port of rank 0 is 65536/u],
    ['Open MPI', { RANK: '3', WORLD_SIZE: '16' }, /RANK is 3, where it says 9/u],
    ['Slurm', { SLURM_STEP_TASKS_PER_NODE: '8,4' }, /"8,4" for 16 ranks.*as many ranks on every host/su],
    ['Slurm', { SLURM_STEP_TASKS_PER_NODE: '8' }, /"8" for 16 ranks/u],
    ['Slurm', { SLURM_LOCALID: '4' }, /those of a host one after another/u],
  ])('of %s is refused with %j', (launcher, change, message) => {
    expect(complaint({ ...second[launcher], ...change })).toMatch(message);
  });

  it('is refused where a person set half of it', () => {
    expect(complaint({ RANK: '0', WORLD_SIZE: '4' })).toMatch(/without a launcher that is known.*torchrun/su);
    expect(complaint({ WORLD_SIZE: '4' })).toMatch(/WORLD_SIZE without a launcher/u);
  });

  it.each([
    ['gpu[01-04,07],cpu3', 'gpu01'],
    ['node7', 'node7'],
    ['a-b[3,9]-ib,c', 'a-b3-ib'],
    ['x1,x2', 'x1'],
    ['rack[0-3]_blade[5-9,11],x', 'rack0_blade5'],
    ['n[007]', 'n007'],
    ['', undefined],
    ['[1-2]', undefined],
  ])('lists hosts as %s: the first is %s', (list, host) => {
    expect(firstHost(list)).toBe(host);
  });
});
