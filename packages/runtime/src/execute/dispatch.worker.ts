/** A rank of a dispatch benchmark. */
import { runRank } from '../launch/rank.js';
import { DispatchExecutor } from './dispatch-executor.js';
import type { DispatchJob, DispatchRankResult } from './measure-dispatch.js';

runRank<readonly DispatchJob[]>(({ endpoint, device, data: jobs }): DispatchRankResult[] =>
  jobs.map((job) => {
    const executor = new DispatchExecutor({ ...job, endpoint, device });
    for (let i = 0; i < job.warmUps; i++) executor.run(i);
    executor.takeSpans();
    const repetitions = Array.from({ length: job.repetitions }, (_, i) => executor.run(i));
    const result = { repetitions, spans: executor.takeSpans(), counts: executor.counts, peakBytes: executor.peakBytes };
    executor.close();
    return result;
  }),
);
