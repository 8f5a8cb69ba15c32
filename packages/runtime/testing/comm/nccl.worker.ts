/** A rank with a card and a NCCL of the test's making, that runs the conformance cases, or misbehaves. */
import type { Span } from '@monta/core';
import { CudaContext } from '#runtime/device/cuda/context.js';
import { CudaDevice } from '#runtime/device/cuda/cuda-device.js';
import { meetInFolder } from '#runtime/comm/nccl/meeting.js';
import { NcclEndpoint } from '#runtime/comm/nccl/endpoint.js';
import { SpanRecorder } from '#runtime/execute/spans.js';
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
  /** In place of the cases: so many steps of collectives on two lanes, whose spans are taken after each. */
  readonly steps?: number;
}

const capacity = 2 ** 26;
/** Collectives of a step on each lane. */
const collectivesOfStep = 5;

/** Spans as they were taken after each step. Rank 0 asks for its at once, rank 1 a little later. */
function tracedSteps(endpoint: NcclEndpoint, device: CudaDevice, steps: number): Span[][] {
  const recorder = new SpanRecorder(endpoint, device);
  const lanes = (['inter', 'intra'] as const).map((lane) => ({
    lane,
    group: endpoint.communicator('world', [0, 1], device.queue(lane)),
  }));
  const pause = new Int32Array(new SharedArrayBuffer(4));
  return Array.from({ length: steps }, (_, step) => {
    recorder.begin(step);
    const events = Array.from({ length: collectivesOfStep }, (__, chunk) =>
      lanes.map(({ lane, group }) => {
        const event = group.barrier();
        const operation = `${lane}.${chunk}`;
        const label = { operation, template: 'test', task: lane, chunk, of: collectivesOfStep, lane };
        recorder.submitted(event, { label, node: 0 });
        return event;
      }),
    );
    for (const event of events.flat()) device.wait(event);
    if (endpoint.rank === 1) Atomics.wait(pause, 0, 0, 20);
    return recorder.take();
  });
}

runRank<NcclTestJob>(({ rank, size, data, report }) => {
  const { folder, table, trace, fault, steps = 0 } = data;
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
  let spans: Span[][] = [];
  if (steps > 0) spans = tracedSteps(endpoint, device, steps);
  else if (fault !== undefined) {
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
  return { cases: conformanceCases.length, left, records, spans };
});
