/** A job whose ranks the person started: `mpirun -n 16 monta …`. Nobody launches; rank 0 collects what the ranks return. */
import { deserialize, serialize } from 'node:v8';
import { builtModule } from './built-module.js';
import type { LaunchOptions } from './launch-local.js';
import { loadMpi } from '../comm/mpi/index.js';
import { setMpiJob, underMpirun } from './mpi-rank.js';
import type { RankContext } from './rank.js';

export type UnderMpirunOptions = Pick<
  LaunchOptions,
  'memoryBytes' | 'maximumMemoryBytes' | 'workerModule' | 'workerData' | 'trace' | 'onMessage' | 'stuckAfterSeconds'
>;

/** What a rank sends to rank 0 at the end. */
interface Outcome {
  readonly result: unknown;
  readonly messages: readonly unknown[];
}

/**
 * Runs this process's rank of a job under mpirun; all processes call it with the same options. Resolves on rank 0 with what the ranks
 * returned, by rank, and on the others with undefined. Rank 0's messages reach its `onMessage` at once, those of others when the
 * job ends. When a rank fails, its reason goes to standard error and mpirun ends the job with exit code 1.
 */
export async function runUnderMpirun(options: UnderMpirunOptions): Promise<unknown[] | undefined> {
  const place = underMpirun();
  if (place === undefined) throw new Error('this process was not started by mpirun');
  const { rank } = place;
  const messages: unknown[] = [];
  let collected: Outcome[] | undefined;
  const over = new Promise<void>((resolve) => {
    setMpiJob({
      description: {
        data: options.workerData,
        memoryBytes: options.memoryBytes,
        maximumMemoryBytes: options.maximumMemoryBytes,
        trace: options.trace ?? false,
        stuckAfterSeconds: options.stuckAfterSeconds,
        lostAfterSeconds: Infinity,
      },
      aborted: () => undefined,
      message: (message) => {
        if (rank === 0) options.onMessage?.(0, message);
        else messages.push(message);
      },
      returned: (result, context) => {
        collected = collect(context, { result, messages });
      },
      closed: () => Promise.resolve(),
      left: resolve,
      failed: (culprit, error) => {
        process.stderr.write(
          `rank ${culprit} failed${culprit === rank ? '' : `, says rank ${rank}`}: ${error.stack}\n`,
        );
        loadMpi().abort(1);
        return Promise.resolve();
      },
    });
  });
  await import(builtModule(options.workerModule).href);
  await over;
  collected?.forEach((outcome, other) => {
    if (other > 0) for (const message of outcome.messages) options.onMessage?.(other, message);
  });
  return collected?.map(({ result }) => result);
}

/** Brings all outcomes to rank 0. */
function collect({ rank, size, endpoint, memory }: RankContext, own: Outcome): Outcome[] | undefined {
  const all = Array.from({ length: size }, (_, index) => index);
  const group = endpoint.communicator('outcomes', all, 'control');
  const bytes = serialize(own);
  const lengths = memory.allocateView('i32', size);
  const length = memory.allocateView('i32', 1);
  memory.i32(length)[0] = bytes.length;
  endpoint.wait(group.allGather(length, lengths));
  if (rank > 0) {
    const send = memory.allocateView('u8', bytes.length);
    memory.u8(send).set(bytes);
    endpoint.wait(group.send(send, 0));
    return undefined;
  }
  return all.map((other) => {
    if (other === 0) return own;
    const mark = memory.mark();
    const receive = memory.allocateView('u8', memory.i32(lengths)[other]);
    endpoint.wait(group.receive(receive, other));
    const outcome = deserialize(Uint8Array.from(memory.u8(receive))) as Outcome;
    memory.release(mark);
    return outcome;
  });
}
