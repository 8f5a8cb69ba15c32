/** What mpirun starts on behalf of `launchMpi`: joins the launcher, then runs the job's module. */
import { hostname } from 'node:os';
import { launcherVariable, tokenVariable } from './mpi-frames.js';
import { Link } from './mpi-link.js';
import { setMpiJob, underMpirun } from './mpi-rank.js';
import { montaVersion } from './version.js';

const address = process.env[launcherVariable];
const token = process.env[tokenVariable];
const place = underMpirun();
if (address === undefined || token === undefined || place === undefined) {
  throw new Error(`launchMpi starts this module through mpirun; ${launcherVariable} or ${tokenVariable} is missing`);
}
const link = new Link(address, token, {
  kind: 'hello',
  ...place,
  host: hostname(),
  pid: process.pid,
  version: montaVersion(),
});
try {
  const { workerModule, ...description } = await link.job();
  setMpiJob({
    description,
    aborted: () => link.aborted(),
    message: (message) => link.post({ kind: 'message', message }),
    returned: () => undefined,
    closed: () => Promise.resolve(),
    left: () => link.leave(),
    failed: async (rank, error) => {
      link.post({ kind: 'failed', rank, error });
      await link.sent('failed');
    },
  });
  await import(workerModule);
} catch (error) {
  // The launcher knows already, or it said so itself.
  process.stderr.write(`rank ${place.rank}: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
