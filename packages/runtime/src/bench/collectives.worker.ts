/** A rank of the collective benchmark. */
import type { CollectiveBenchData, CollectiveBenchResult, MeasuredCollective } from './collectives.js';
import type { DeviceEvent } from '../device/device.js';
import { part } from '../device/view.js';
import { runRank } from '../launch/rank.js';

const barriersPerRound = 50;
const warmUpRounds = 2;

runRank<CollectiveBenchData>(({ size, endpoint, device, data }): CollectiveBenchResult => {
  const world = endpoint.communicator(
    'world',
    Array.from({ length: size }, (_, rank) => rank),
    device.queue('inter'),
  );
  const elements = data.bytesPerRank / 4;
  const large = device.allocate('f32', elements);
  const other = device.allocate('f32', elements);
  const block = part(other, 0, elements / size);
  device.fill(large, 1);
  device.fill(other, 1);
  const time = (operations: number, submit: () => DeviceEvent): number[] => {
    const seconds: number[] = [];
    for (let round = 0; round < warmUpRounds + data.rounds; round++) {
      device.wait(world.barrier());
      const start = endpoint.now();
      for (let i = 0; i < operations; i++) device.wait(submit());
      seconds.push((endpoint.now() - start) / operations);
    }
    return seconds.slice(warmUpRounds);
  };
  // Zeros, because repeated sums in place would grow beyond what float32 holds.
  device.fill(large, 0);
  const sums = time(1, () => world.allReduce(large));
  const collectives: Record<MeasuredCollective, readonly number[]> = {
    all_to_all: time(1, () => world.allToAll(large, other)),
    all_gather: time(1, () => world.allGather(block, large)),
    reduce_scatter: time(1, () => world.reduceScatter(large, block)),
    all_reduce: sums,
  };
  return { collectives, barrier: time(barriersPerRound, () => world.barrier()) };
});
