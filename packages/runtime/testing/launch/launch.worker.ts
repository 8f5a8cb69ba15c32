/** A rank that does what the launch tests ask for. */
import { once } from 'node:events';
import { MessageChannel, threadId } from 'node:worker_threads';
import { readFloats } from '#runtime/device/host-array.js';
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

runRank<LaunchTestData>(async ({ rank, size, endpoint, device, data, report }) => {
  const { behaviour } = data;
  const chosen = rank === data.rank;
  const world = endpoint.communicator('world', range(size), device.queue('inter'));
  const buffer = device.allocate('f32', 16);
  device.fill(buffer, rank);
  device.wait(world.barrier());
  report({ ready: rank, thread: threadId });
  const together = (): void => {
    for (;;) device.wait(world.allReduce(buffer, { label: 'step' }));
  };
  switch (behaviour) {
    case 'return':
      device.wait(world.allReduce(buffer));
      return { rank, sum: readFloats(device, buffer)[0], allocated: device.allocatedBytes };
    case 'throw':
      if (chosen) throw new RangeError('out of luck');
      return together();
    case 'throw while others compute':
      if (chosen) throw new RangeError('out of luck');
      for (;;) device.fill(buffer, 1);
    case 'exit':
      if (chosen) process.exit(3);
      return together();
    case 'return early':
      if (chosen) return 'gone';
      device.wait(world.allReduce(buffer, { label: 'gradients' }));
      return 'stayed';
    case 'deadlock': {
      // Each rank enters the operations of two lanes in another order, and waits in between.
      const other = endpoint.communicator('world', range(size), device.queue('intra'));
      const [first, second] = chosen ? [world, other] : [other, world];
      device.wait(first.allReduce(buffer, { label: 'first' }));
      device.wait(second.allReduce(buffer, { label: 'second' }));
      return undefined;
    }
    case 'unrecorded event':
      device.wait(device.createEvent());
      return undefined;
    case 'mismatch':
      device.wait(world.allReduce({ ...buffer, length: chosen ? 8 : 16 }, { label: chosen ? 'eight' : 'sixteen' }));
      return undefined;
    case 'other members':
      endpoint.communicator('part', chosen ? range(size) : [rank, data.rank], device.queue('inter')).barrier();
      return together();
    case 'never come':
      if (!chosen) device.wait(world.barrier({ label: 'roll call' }));
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
      for (const event of events) device.wait(event);
      return { now: endpoint.now(), records: endpoint.takeRecords() };
    }
  }
});

/** Waits for a message that nobody sends, with the thread kept alive. */
async function forever(): Promise<void> {
  const { port1 } = new MessageChannel();
  await once(port1, 'message');
}
