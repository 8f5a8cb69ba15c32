/** What the tests start under mpirun themselves: the job of the launch tests' first case. */
import type { LaunchTestData } from './launch.worker.js';
import { leadMpirun } from '#runtime/launch/mpi-direct.js';
import { underMpirun } from '#runtime/launch/current-job.js';

const [behaviour = 'return', rank = '0'] = process.argv.slice(2);
const workerData: LaunchTestData = { behaviour: behaviour as LaunchTestData['behaviour'], rank: Number(rank) };
const jobs = Number(process.argv[4] ?? 1);
await leadMpirun(async ({ launch }) => {
  for (let job = 0; job < jobs; job++) {
    const messages: number[] = [];
    const results = await launch({
      ranks: underMpirun()?.size ?? 0,
      memoryBytes: 1 << 16,
      workerModule: new URL('./launch.worker.js', import.meta.url),
      workerData,
      onMessage: (from) => messages.push(from),
    });
    process.stdout.write(`${JSON.stringify({ results, messages })}\n`);
  }
});
