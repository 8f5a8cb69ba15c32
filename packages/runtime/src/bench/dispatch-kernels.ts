/** Times the kernels of dispatch programs (packing, placing, combining rows) on one rank alone, at the sizes that the benchmark gives them. */
import { dispatchProgram, worldSize, type KernelRate, type MoeShape, type Routing, type Strategy } from '@monta/core';
import { DispatchExecutor } from '../execute/dispatch-executor.js';
import { builtModule } from '../launch/built-module.js';
import { launchLocal } from '../launch/launch-local.js';
import type { RankContext } from '../launch/rank.js';
import { fitKernelRates, type TimedKernels } from '../probe/kernel-rates.js';
import { SoloEndpoint } from '../probe/solo-endpoint.js';

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

/** A rank's side, see `dispatch-kernels.worker.ts`. The other ranks of the layout are pretended; rows are not checked. */
export function probeDispatchRank({ memory, data }: RankContext<DispatchKernelProbe>): [string, KernelRate][] {
  const { shape, routing, seed } = data;
  const timed = data.strategies.map((strategy): TimedKernels => {
    const mark = memory.mark();
    const endpoint = new SoloEndpoint(0, worldSize(shape.layout), memory);
    const executor = new DispatchExecutor({ shape, strategy, passes, routing, seed, endpoint, memory, trace: true });
    for (let i = 0; i < data.warmUps; i++) executor.run(i);
    executor.takeSpans();
    for (let i = 0; i < data.repetitions; i++) executor.run(i);
    const spans = executor.takeSpans();
    executor.close();
    memory.release(mark);
    return { program: dispatchProgram(shape, strategy, passes), spans };
  });
  return [...fitKernelRates(timed)];
}

const memoryBytes = 64 * 2 ** 20;

/** Runs the probe in a thread of its own and gives the rate of every kernel of the strategies' programs. */
export async function probeDispatchKernels(
  probe: DispatchKernelProbe,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, KernelRate>> {
  const [rates] = (await launchLocal({
    ranks: 1,
    memoryBytes,
    workerModule: builtModule('./dispatch-kernels.worker.js', import.meta.url),
    workerData: probe,
    ...(signal === undefined ? {} : { signal }),
  })) as [[string, KernelRate][]];
  return new Map(rates);
}
