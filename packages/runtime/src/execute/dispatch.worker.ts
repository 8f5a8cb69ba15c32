/** A rank of a dispatch benchmark. */
import { runRank } from '../launch/rank.js';
import { DispatchExecutor } from './dispatch-executor.js';
import type { DispatchJob, DispatchRankResult } from './measure-dispatch.js';

runRank<readonly DispatchJob[]>(({ endpoint, device, data: jobs }): DispatchRankResult[] =>
  jobs.map((job) => {
    const executor = new DispatchExecutor({ ...job, endpoint, device });
    const { checked = true } = job;
    for (let i = 0; i < job.warmUps; i++) executor.run(i, { checked: false });
    executor.takeSpans();
    const before = endpoint.sentBytes?.slice();
    const repetitions = Array.from({ length: job.repetitions }, (_, i) => executor.run(i, { checked }));
    const sentBytes = endpoint.sentBytes?.map((bytes, rank) => bytes - (before?.[rank] ?? 0));
    const { counts, peakBytes } = executor;
    const result = { repetitions, spans: executor.takeSpans(), counts, peakBytes };
    executor.close();
    return sentBytes === undefined ? result : { ...result, sentBytes };
  }),
);
