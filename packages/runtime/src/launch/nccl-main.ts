/** What `launchNccl` starts, once a rank: joins the launcher, then runs the job's module. */
import { hostname } from 'node:os';
import { jobWasJoined, setProcessJob, type NcclJob } from './current-job.js';
import { portable } from './failure.js';
import { launcherVariable, tokenVariable } from './mpi-frames.js';
import { Link } from './mpi-link.js';
import { placeVariable, type NcclJobDescription, type RankPlace } from './nccl-place.js';
import { montaVersion } from './version.js';

const address = process.env[launcherVariable];
const token = process.env[tokenVariable];
const text = process.env[placeVariable];
if (address === undefined || token === undefined || text === undefined)
  throw new Error(
    `launchNccl starts this module; ${launcherVariable}, ${tokenVariable} or ${placeVariable} is missing`,
  );
const place = JSON.parse(text) as RankPlace;
const { rank, size } = place;
const link = new Link(address, token, {
  kind: 'hello',
  rank,
  size,
  host: hostname(),
  pid: process.pid,
  version: montaVersion(),
});
try {
  const { workerModule, data, trace, stuckAfterSeconds } = await link.job();
  const description: NcclJobDescription = {
    data,
    trace,
    stuckAfterSeconds,
    multiprocessors: place.multiprocessors,
  };
  const job: NcclJob = {
    ...place,
    token,
    description,
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
  setProcessJob({ backend: 'nccl', job });
  await import(workerModule);
  if (!jobWasJoined()) throw new Error(`the module ${workerModule} did not call runRank`);
} catch (error) {
  // When the launcher refused this rank, it knows already.
  if (link.aborted() === undefined) {
    link.post({ kind: 'failed', rank, error: portable(error) });
    await link.sent('failed');
  }
  process.exit(1);
}
