/** A rank of the failure suite: sums until rank 0 says that it is enough, and checks every sum. */
import { existsSync } from 'node:fs';
import { runRank } from '#runtime/launch/rank.js';

/** It is enough after so many seconds, or once a file is there. */
export type FailureJob = { readonly seconds: number } | { readonly untilFile: string };

const elements = 1 << 14;

runRank<FailureJob>(({ rank, size, endpoint, device, data, report }) => {
  const world = endpoint.communicator(
    'world',
    Array.from({ length: size }, (_, index) => index),
    device.queue('inter'),
  );
  const view = device.allocate('f32', elements);
  const sums = new Float32Array(elements);
  report({ pid: process.pid });
  const began = endpoint.now();
  const enough = (): boolean =>
    'seconds' in data ? endpoint.now() > began + data.seconds : existsSync(data.untilFile);
  for (let step = 1; ; step++) {
    sums.fill(rank + step);
    sums[0] = rank === 0 && enough() ? 1 : 0;
    device.write(view, sums);
    device.wait(world.allReduce(view, { label: `step ${step}` }));
    device.read(view, sums);
    const expected = size * step + (size * (size - 1)) / 2;
    const wrong = sums.subarray(1).findIndex((sum) => sum !== expected);
    if (wrong >= 0) throw new Error(`step ${step}: element ${wrong + 1} is ${sums[wrong + 1]}, expected ${expected}`);
    if (sums[0] === 1) return step;
  }
});
