/** What the tests start under mpirun themselves: the job of the launch tests' first case. */
import type { LaunchTestData } from './launch.worker.js';
import { runUnderMpirun } from './mpi-direct.js';

const [behaviour = 'return', rank = '0'] = process.argv.slice(2);
const workerData: LaunchTestData = { behaviour: behaviour as LaunchTestData['behaviour'], rank: Number(rank) };
const messages: number[] = [];
const results = await runUnderMpirun({
  memoryBytes: 1 << 16,
  workerModule: new URL('./launch.worker.js', import.meta.url),
  workerData,
  onMessage: (from) => messages.push(from),
});
if (results !== undefined) process.stdout.write(`${JSON.stringify({ results, messages })}\n`);
