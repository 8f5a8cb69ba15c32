/**
 * Commands on ranks that a launcher of somebody else's started: mpirun or srun for MPI; torchrun, mpirun or srun for
 * NCCL.
 */
import { InputError } from '@monta/core/units';
import { isRecord } from '@monta/core/units';
import type { Environment, Launcher } from '@monta/runtime';
import { leadMpirun, leadStarted, startedPlace, underMpirun } from '@monta/runtime/launch';
import type { ConfigFile } from './config-file.js';

export interface Asked {
  readonly backend: string | undefined;
  readonly ranksPerNode?: number;
}

/**
 * Runs a command: once, without a launcher, where nobody started ranks; else on all of them, of which rank 0 does what
 * a person sees. Rejects with `InputError` where they do not find each other.
 */
export async function onStartedRanks(asked: Asked, run: (launcher?: Launcher) => Promise<void>): Promise<void> {
  const { backend, ranksPerNode } = asked;
  if (backend === 'nccl') {
    const place = startedPlace(process.env);
    if (place === undefined) await run();
    else await leadStarted({ place, ...(ranksPerNode === undefined ? {} : { ranksPerNode }) }, run);
    return;
  }
  if (underMpirun() !== undefined) await leadMpirun(run);
  else {
    refuseCopies(process.env);
    await run();
  }
}

/**
 * Throws `InputError` where a launcher started several processes, of which each would run all ranks and write the same
 * files.
 */
export function refuseCopies(environment: Environment): void {
  const place = startedPlace(environment);
  if (place === undefined) return;
  const { launcher, size, starts } = place;
  throw new InputError(
    `${launcher} started ${size} processes, and each would run all ranks: only those of NCCL, and of MPI under ` +
      'mpirun or srun --mpi=pmix, are ranks of one run',
    {
      file: 'environment',
      expected: '--backend nccl on cards; srun --mpi=pmix or mpirun for --backend mpi; or one process',
      hint: starts(1),
    },
  );
}

/** Ranks of a node over NCCL: as given, else those of a host where a launcher started ranks on several. */
export function ncclRanksPerNode(given: number | undefined): number | undefined {
  const place = given === undefined ? startedPlace(process.env) : undefined;
  return place === undefined || place.localSize === place.size ? given : place.localSize;
}

/**
 * The backend of a configuration, before it is taken as a whole: a rank that only serves need not have it. Undefined
 * for a file that cannot be read, which is told where it is taken as a whole.
 */
export function askedBackend(flag: string | undefined, file: ConfigFile | undefined): string | undefined {
  if (flag !== undefined || file === undefined) return flag;
  try {
    const { value } = file.document();
    return isRecord(value) && typeof value.backend === 'string' ? value.backend : undefined;
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
