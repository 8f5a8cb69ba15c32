/** What mpirun starts on behalf of `launchMpi`: joins the launcher, then runs the job's module. */
import { hostname } from 'node:os';
import { loadMpi } from '../comm/mpi/index.js';
import { jobWasJoined, setProcessJob, underMpirun, type MpiJob } from './current-job.js';
import { portable } from './failure.js';
import { launcherVariable, tokenVariable } from './mpi-frames.js';
import { Link } from './mpi-link.js';
import { montaVersion } from './version.js';

const address = process.env[launcherVariable];
const token = process.env[tokenVariable];
const place = underMpirun();
if (address === undefined || token === undefined || place === undefined) {
  throw new Error(`launchMpi starts this module through mpirun; ${launcherVariable} or ${tokenVariable} is missing`);
}
const { rank: ownRank, size } = place;
const link = new Link({
  address,
  token,
  hello: { kind: 'hello', rank: ownRank, size, host: hostname(), pid: process.pid, version: montaVersion() },
});
let result: unknown;
try {
  const {
    job: { workerModule, ...description },
  } = await link.job();
  const job: MpiJob = {
    description,
    aborted: () => link.aborted(),
    message: (message) => link.post({ kind: 'message', message }),
    returned: (value) => {
      result = value;
    },
    closed: async () => {
      link.post({ kind: 'result', result });
      await link.sent('result');
      loadMpi().finalise();
      link.leave();
    },
    failed: async (rank, error) => {
      link.post({ kind: 'failed', rank, error });
      await link.sent('failed');
    },
  };
  setProcessJob({ backend: 'mpi', job });
  loadMpi().initialise();
  await import(workerModule);
  if (!jobWasJoined()) throw new Error(`the module ${workerModule} did not call runRank`);
} catch (error) {
  // When the launcher refused this rank, it knows already.
  if (link.aborted() === undefined) {
    link.post({ kind: 'failed', rank: place.rank, error: portable(error) });
    await link.sent('failed');
  }
  process.exit(1);
}
