/** A process that `launchNccl`, or somebody else's launcher, made a rank: joins the job's launcher. */
import { hostname } from 'node:os';
import { meetInFolder, type Meeting } from '../comm/nccl/meeting.js';
import { Listener } from '../comm/nccl/sockets.js';
import type { NcclJob } from './current-job.js';
import { portable } from './failure.js';
import { launcherVariable, tokenVariable } from './mpi-frames.js';
import { Link } from './mpi-link.js';
import { placeVariable, type RankPlace } from './nccl-place.js';
import { montaVersion } from './version.js';

/** Joins, and hands over to `run` with the job's module. The process ends with code 1 where something fails. */
export async function joinJob(run: (job: NcclJob, workerModule: string) => Promise<void>): Promise<void> {
  const address = process.env[launcherVariable];
  const token = process.env[tokenVariable];
  const text = process.env[placeVariable];
  if (address === undefined || token === undefined || text === undefined)
    throw new Error(
      `launchNccl starts this module; ${launcherVariable}, ${tokenVariable} or ${placeVariable} is missing`,
    );
  const place = JSON.parse(text) as RankPlace;
  const { rank, size, gpu, lanes } = place;
  const hello = { kind: 'hello', rank, size, host: hostname(), pid: process.pid, version: montaVersion() } as const;
  const link = new Link({ address, token, hello });
  try {
    const { job: given, ownAddress } = await link.job();
    const { workerModule, data, trace, stuckAfterSeconds } = given;
    const meeting = await meetOthers(link, place, ownAddress);
    const job: NcclJob = {
      rank,
      size,
      gpu,
      meeting,
      token,
      description: { data, trace, stuckAfterSeconds, lanes },
      aborted: () => link.aborted(),
      message: (message) => link.post({ kind: 'message', message }),
      returned: async (result) => {
        link.post({ kind: 'result', result });
        await link.sent('result');
        link.leave();
      },
      failed: async (culprit, error) => {
        link.post({ kind: 'failed', rank: culprit, error });
        await link.sent('failed');
      },
    };
    await run(job, workerModule);
  } catch (error) {
    // When the launcher refused this rank, it knows already.
    if (link.aborted() === undefined) {
      link.post({ kind: 'failed', rank, error: portable(error) });
      await link.sent('failed');
    }
    process.exit(1);
  }
}

/** Listens for the other ranks, in the job's folder or at the address by which this machine reaches the launcher. */
async function meetOthers(link: Link, { rank, size, folder }: RankPlace, ownAddress: string): Promise<Meeting> {
  if (folder !== undefined) return meetInFolder(folder, { rank, size });
  const listener = new Listener(`${ownAddress}:0`);
  link.post({ kind: 'listening', address: listener.address });
  return { listener, addresses: await link.peers() };
}
