/** A rank that does what the launch tests ask for. */
import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { runRank } from '#runtime/launch/rank.js';

/** What to do, and which rank does it; the others take part in collectives until the job ends. */
export interface LaunchTestData {
  readonly behaviour:
    | 'return'
    | 'throw'
    | 'throw while others compute'
    | 'exit'
    | 'return early'
    | 'deadlock'
    | 'unrecorded event'
    | 'mismatch'
    | 'other members'
    | 'never come'
    | 'forever'
    | 'leave operations behind'
    | 'trace';
  readonly rank: number;
}

const range = (size: number): number[] => Array.from({ length: size }, (_, index) => index);

runRank<LaunchTestData>(async ({ rank, size, endpoint, memory, data, report }) => {
  const { behaviour } = data;
  const chosen = rank === data.rank;
  const world = endpoint.communicator('world', range(size), 'inter');
  const buffer = memory.allocateView('f32', 16);
  memory.f32(buffer).fill(rank);
  endpoint.wait(world.barrier());
  report({ ready: rank });
  const together = (): void => {
    for (;;) endpoint.wait(world.allReduce(buffer, { label: 'step' }));
  };
  switch (behaviour) {
    case 'return':
      endpoint.wait(world.allReduce(buffer));
      return { rank, sum: memory.f32(buffer)[0], allocated: memory.allocatedBytes };
    case 'throw':
      if (chosen) throw new RangeError('out of luck');
      return together();
    case 'throw while others compute':
      if (chosen) throw new RangeError('out of luck');
      for (;;) memory.f32(buffer).fill(1);
    case 'exit':
      if (chosen) process.exit(3);
      return together();
    case 'return early':
      if (chosen) return 'gone';
      endpoint.wait(world.allReduce(buffer, { label: 'gradients' }));
      return 'stayed';
    case 'deadlock': {
      // Each rank enters the operations of two lanes in another order, and waits in between.
      const other = endpoint.communicator('world', range(size), 'intra');
      const [first, second] = chosen ? [world, other] : [other, world];
      endpoint.wait(first.allReduce(buffer, { label: 'first' }));
      endpoint.wait(second.allReduce(buffer, { label: 'second' }));
      return undefined;
    }
    case 'unrecorded event':
      endpoint.wait(endpoint.createEvent());
      return undefined;
    case 'mismatch':
      endpoint.wait(world.allReduce({ ...buffer, length: chosen ? 8 : 16 }, { label: chosen ? 'eight' : 'sixteen' }));
      return undefined;
    case 'other members':
      endpoint.communicator('part', chosen ? range(size) : [rank, data.rank], 'inter').barrier();
      return together();
    case 'never come':
      if (!chosen) endpoint.wait(world.barrier({ label: 'roll call' }));
      await forever();
      return undefined;
    case 'forever':
      if (chosen) await forever();
      return together();
    case 'leave operations behind':
      for (const round of range(50)) world.allReduce(buffer, { label: `round ${round}` });
      return 'left';
    case 'trace': {
      const events = range(3).map(() => world.allReduce(buffer, { label: 'traced' }));
      for (const event of events) endpoint.wait(event);
      return { now: endpoint.now(), records: endpoint.takeRecords() };
    }
  }
});

/** Waits for a message that nobody sends, with the thread kept alive. */
async function forever(): Promise<void> {
  const { port1 } = new MessageChannel();
  await once(port1, 'message');
}
