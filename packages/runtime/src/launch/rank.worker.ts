/** Entry of a rank's thread: runs the jobs that it is given, one after another. */
import { parentPort } from 'node:worker_threads';
import { runThreadRank, type ThreadJob } from './rank.js';

const port = parentPort;
if (port === null) throw new Error('rank.worker is a thread that a launcher starts');
port.on('message', (job: ThreadJob) => {
  // A body that waits for what nobody will do ends the thread, as it would end a process.
  port.unref();
  void runThreadRank(job, (message) => port.postMessage(message)).then(() => port.ref());
});
