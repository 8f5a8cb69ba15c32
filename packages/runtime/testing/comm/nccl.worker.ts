/** A rank with a card and a NCCL of the test's making, that runs the conformance cases, or misbehaves. */
import { CudaContext } from '#runtime/device/cuda/context.js';
import { CudaDevice } from '#runtime/device/cuda/cuda-device.js';
import { meetInFolder } from '#runtime/comm/nccl/meeting.js';
import { NcclEndpoint } from '#runtime/comm/nccl/endpoint.js';
import { runRank } from '#runtime/launch/rank.js';
import { FakeCuda } from '../device/fake-cuda.js';
import { conformanceCases, runConformanceCases } from './conformance-cases.js';
import { FakeNccl, type FakeNcclTable } from './fake-nccl.js';
import { hostAccess } from './host-access.js';

export interface NcclTestJob {
  readonly folder: string;
  readonly table: FakeNcclTable;
  readonly trace: boolean;
  /** What rank 1 does; the cases unless given. */
  readonly fault?: 'other operation' | 'other counts' | 'never comes';
}

const capacity = 2 ** 26;

runRank<NcclTestJob>(({ rank, size, data, report }) => {
  const { folder, table, trace, fault } = data;
  const cuda = new FakeCuda(rank + 1, capacity);
  const nccl = new FakeNccl(cuda, table, rank + 1);
  const device = new CudaDevice(new CudaContext({ libraries: cuda.libraries(rank) }), { trace });
  const library = nccl.library(size % 2 === 0);
  const endpoint = new NcclEndpoint({
    rank,
    size,
    device,
    library,
    meeting: meetInFolder(folder, { rank, size }),
    token: 'test',
    trace,
    stuckAfterSeconds: 60,
  });
  if (fault !== undefined) {
    const world = endpoint.communicator('world', [0, 1], device.queue('inter'));
    const [a, b] = [device.allocate('f32', 64), device.allocate('f32', 64)];
    device.wait(world.allReduce(a));
    if (fault === 'other operation') device.wait(rank === 1 ? world.barrier() : world.allReduce(a));
    if (fault === 'other counts') {
      const mine = Int32Array.of(rank === 1 ? 3 : 2, 2);
      device.wait(world.allToAllV({ view: a, counts: mine }, { view: b, counts: Int32Array.of(2, 2) }));
    }
    if (rank === 0) device.wait(world.allReduce(a));
  } else {
    const { release, ...access } = hostAccess(device);
    runConformanceCases({ endpoint, sumsInRankOrder: false, ...access }, report, release);
  }
  const early = endpoint.takeRecords();
  endpoint.close();
  const records = [...early, ...endpoint.takeRecords()];
  device.close();
  const left = { memory: cuda.memory.size, streams: cuda.streams.size - 1, events: cuda.events.size, open: nccl.open };
  return { cases: conformanceCases.length, left, records };
});
