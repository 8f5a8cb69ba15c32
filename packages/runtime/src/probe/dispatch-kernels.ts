/**
 * Times the kernels of dispatch programs (packing, placing, combining rows) on one rank alone, at the sizes that the
 * benchmark gives them.
 */
import { groupMembers, replicaIndex, sliceIndex, worldSize } from '@monta/core/layout';
import { dispatchProgram, sliceStart } from '@monta/core/schedule';
import type { KernelRate, MoeShape, Routing, Strategy } from '@monta/core';
import type { Communicator } from '../comm/communicator.js';
import { CpuDevice } from '../device/cpu/index.js';
import { DispatchExecutor } from '../execute/dispatch-executor.js';
import { samplePicks } from '../execute/sample-picks.js';
import { builtModule } from '../launch/built-module.js';
import { launchLocal } from '../launch/launch-local.js';
import type { RankContext } from '../launch/index.js';
import { fitKernelRates, type TimedKernels } from './kernel-rates.js';
import { SoloEndpoint } from './solo-endpoint.js';

export interface DispatchKernelProbe {
  readonly shape: MoeShape;
  /** Their kernels are timed; several chunk counts tell rates and overheads apart. */
  readonly strategies: readonly Strategy[];
  readonly routing: Routing;
  readonly seed: number;
  /** Timed runs of each, after `warmUps` that are not. */
  readonly repetitions: number;
  readonly warmUps: number;
}

const passes = ['forward', 'backward'] as const;

/** The first rank, alone, that is told the counts its absent peers would have sent. */
class CountingEndpoint extends SoloEndpoint {
  constructor(
    size: number,
    private readonly own: CpuDevice,
    private readonly counts: Int32Array,
  ) {
    super(0, size, own);
  }

  override communicator(name: string, members: readonly number[]): Communicator {
    const communicator = super.communicator(name, members);
    const echo = communicator.allGather.bind(communicator);
    communicator.allGather = (send, receive, options) => {
      const event = echo(send, receive, options);
      if (options?.label === 'counts') this.own.write(receive, this.counts);
      return event;
    };
    return communicator;
  }
}

/** [source][expert] rows that the expert group of rank 0 exchanges, as its ranks would draw them. */
export function drawnCounts({
  shape,
  routing,
  seed,
}: Pick<DispatchKernelProbe, 'shape' | 'routing' | 'seed'>): Int32Array {
  const { layout, experts, topK, tokens } = shape;
  const members = groupMembers(layout, 'expert', 0);
  const counts = new Int32Array(members.length * experts);
  members.forEach((rank, source) => {
    const index = sliceIndex(layout, rank);
    const { ids } = samplePicks(shape, routing, seed, replicaIndex(layout, rank));
    const [start, end] = [index, index + 1].map((slice) => sliceStart(tokens, slice, layout.tp) * topK);
    for (const id of ids.subarray(start, end)) if (id >= 0) counts[source * experts + id]++;
  });
  return counts;
}

const unchecked = { checked: false };

/** A rank's memory at first; it may grow to 32 times as much. */
const memoryBytes = 64 * 2 ** 20;

/**
 * A rank's side, see `dispatch-kernels.worker.ts`. The other ranks of the layout are pretended; rows are not checked.
 */
export function probeDispatchRank({ data }: RankContext<DispatchKernelProbe>): [string, KernelRate][] {
  const { shape, routing, seed } = data;
  const counts = drawnCounts(data);
  const timed = data.strategies.map((strategy): TimedKernels => {
    const device = CpuDevice.create({ bytes: memoryBytes, maximumBytes: 32 * memoryBytes, trace: true });
    const endpoint = new CountingEndpoint(worldSize(shape.layout), device, counts);
    const executor = new DispatchExecutor({ shape, strategy, passes, routing, seed, endpoint, device, trace: true });
    for (let i = 0; i < data.warmUps; i++) executor.run(i, unchecked);
    executor.takeSpans();
    for (let i = 0; i < data.repetitions; i++) executor.run(i, unchecked);
    const spans = executor.takeSpans();
    executor.close();
    return { program: dispatchProgram(shape, strategy, passes), spans };
  });
  return [...fitKernelRates(timed)];
}

const usualRuns = { warmUps: 3, repetitions: 5 };

/** Runs the probe in a thread of its own and gives the rate of every kernel of the strategies' programs. */
export async function probeDispatchKernels(
  probe: Omit<DispatchKernelProbe, keyof typeof usualRuns> & Partial<typeof usualRuns>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, KernelRate>> {
  const [rates] = (await launchLocal({
    ranks: 1,
    memoryBytes: 1 << 20,
    workerModule: builtModule('./dispatch-kernels.worker.js', import.meta.url),
    workerData: { ...usualRuns, ...probe } satisfies DispatchKernelProbe,
    ...(signal === undefined ? {} : { signal }),
  })) as [[string, KernelRate][]];
  return new Map(rates);
}
