/** A rank of a job that is there to start and to stop: one sum over all, whose result is looked at. */
import { readFloats } from '../../device/host-array.js';
import { runRank } from '../../launch/rank.js';

runRank(({ rank, size, endpoint, device }) => {
  const everyone = Array.from({ length: size }, (_, other) => other);
  const world = endpoint.communicator('world', everyone, device.queue('inter'));
  const view = device.allocate('f32', 1);
  device.write(view, Float32Array.of(rank));
  device.wait(world.allReduce(view));
  const [sum] = readFloats(device, view);
  if (sum !== (size * (size - 1)) / 2) throw new Error(`the ranks of ${size} sum up to ${sum}`);
  device.free(view);
});
