/** What a rank's process of a job over NCCL runs: joins the launcher, then runs the job's module. */
import { jobWasJoined, setProcessJob } from './current-job.js';
import { joinJob } from './nccl-join.js';

await joinJob(async (job, workerModule) => {
  setProcessJob({ backend: 'nccl', job });
  await import(workerModule);
  if (!jobWasJoined()) throw new Error(`the module ${workerModule} did not call runRank`);
});
