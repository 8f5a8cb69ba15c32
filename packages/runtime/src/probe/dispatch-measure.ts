/** Runs variants of a dispatch on real ranks in one job, and lays prediction and bound beside every case. */
import type {
  Cluster,
  CollectiveCurves,
  DispatchVariant,
  HeldBy,
  LayerPass,
  MoeShape,
  Routing,
  Strategy,
  TierBytes,
  Workload,
} from '@monta/core';
import { maxOf, median, minOf } from '@monta/core/units';
import { dispatchProgram, expertInput, feedersOf, spanLabel } from '@monta/core/schedule';
import { layerPasses, probedStrategies } from '@monta/core/plan';
import type { FabricOptions } from '../comm/local/fabric.js';
import { measureInTurns, type DispatchMeasurement, type RepeatedJob } from '../execute/measure-dispatch.js';
import { probeDispatchKernels } from './dispatch-kernels.js';
import {
  benchWorkload,
  bindingOf,
  predictPass,
  readHost,
  type MachineProbe,
  type PassPrediction,
} from './dispatch-predict.js';

/** One pass of one variant. */
export interface DispatchCase {
  readonly name: string;
  readonly chunks: number;
  readonly pass: LayerPass;
  /** Of each round, from the last rank's start to the last rank's end. */
  readonly measured: readonly number[];
  readonly medianSeconds: number;
  /** Other work on the machine only ever lengthens a pass, so this is the least disturbed. */
  readonly fastestSeconds: number;
  readonly predictedSeconds: number;
  /** predicted / measured - 1, against the median and the fastest. */
  readonly error: number;
  readonly errorOfFastest: number;
  /** Bytes of the busiest port over its line rate. */
  readonly boundSeconds: number;
  readonly bytes: readonly TierBytes[];
  /** The predicted critical path, longest first. */
  readonly held: readonly HeldBy[];
  /**
   * Until the last row has arrived at its experts (AllToAll and AllGather), forward only: fastest measured, and
   * predicted.
   */
  readonly outwardSeconds?: number;
  readonly outwardPredictedSeconds?: number;
  /** Largest difference of a token's result from its closed form; row elements lie in [-1, 1). */
  readonly deviation: number;
}

/** What variants run on, and what a prediction may know of it. */
export interface DispatchGround {
  /** The cluster as ranks see it. */
  readonly seen: Cluster;
  /** As it runs, in float32. */
  readonly shape: MoeShape;
  /** Emulates the network. */
  readonly fabric?: FabricOptions;
  readonly hostCores: MachineProbe['hostCores'];
  /** Set when bytes move at memory speed: what moves them is the line then, bytes/s. */
  readonly memoryBytesPerSecond?: number;
}

export interface MeasureRequest {
  readonly ground: DispatchGround;
  readonly variants: readonly DispatchVariant[];
  readonly routing: Routing;
  readonly seed: number;
  /** Times that every case is measured, in turns. */
  readonly rounds: number;
  /** Measured curves of the ground, given what the host adds to a collective. */
  readonly curves?: (overheadSeconds: number) => CollectiveCurves;
  readonly onMeasuring?: () => void;
  readonly signal?: AbortSignal;
}

export interface MeasuredVariants {
  readonly cases: readonly DispatchCase[];
  /** What predictions were made with. */
  readonly workload: Workload;
  readonly probe: MachineProbe;
  /** Seconds for which an emulated network stood still for want of a processor; of the whole job. */
  readonly lostSeconds: number;
  readonly jobSeconds: number;
}

/** Runs that are not timed. */
const warmUps = { tiny: 2, variant: 1 };

/** Times kernels alone, then runs tiny programs and all variants in turns, and predicts every case from the probes. */
export async function measureVariants(request: MeasureRequest): Promise<MeasuredVariants> {
  const { ground, variants, routing, seed, rounds, signal } = request;
  const { shape } = ground;
  const strategies = probedStrategies(variants);
  const kernels = await probeDispatchKernels({ shape, strategies, routing, seed }, signal);
  const job = (of: MoeShape, strategy: Strategy, before: number): RepeatedJob => ({
    job: {
      shape: of,
      strategy,
      passes: layerPasses,
      routing,
      seed,
      warmUps: before,
      repetitions: 1,
      trace: true,
    },
    turns: rounds,
  });
  // one row a rank, one element each: nothing but what the host adds
  const tiny: MoeShape = { ...shape, tokens: shape.layout.tp, hiddenSize: 1 };
  let lostSeconds = 0;
  request.onMeasuring?.();
  const start = performance.now();
  // in every round, so that probes and cases see the same other work on the machine
  const measured = await measureInTurns(
    [
      ...strategies.map((strategy) => job(tiny, strategy, warmUps.tiny)),
      ...variants.map(({ strategy }) => job(shape, strategy, warmUps.variant)),
    ],
    {
      ...(ground.fabric === undefined ? {} : { fabric: ground.fabric }),
      onLostSeconds: (seconds) => {
        lostSeconds = seconds;
      },
      ...(signal === undefined ? {} : { signal }),
    },
  );
  const jobSeconds = (performance.now() - start) / 1e3;
  const probes = measured.slice(0, strategies.length).flat();
  const timed = measured.slice(strategies.length);
  const { hostCores, seen } = ground;
  const probe = readHost(probes, seen, { hostCores, kernels });
  const workload = benchWorkload({ seen, shape, routing, seed, probe, curves: request.curves?.(probe.delaySeconds) });
  const cases = variants.flatMap((variant, index) =>
    dispatchCases({
      dispatchVariant: variant,
      rounds: timed[index] ?? [],
      workload,
      probe,
      memoryBytesPerSecond: ground.memoryBytesPerSecond,
    }),
  );
  return { cases, workload, probe, lostSeconds, jobSeconds };
}

/** Both passes of a variant, measured in several rounds, with what was predicted. */
export function dispatchCases({
  dispatchVariant: { name, strategy },
  rounds,
  workload,
  probe,
  memoryBytesPerSecond,
}: {
  readonly dispatchVariant: DispatchVariant;
  readonly rounds: readonly DispatchMeasurement[];
  readonly workload: Workload;
  readonly probe: MachineProbe;
  readonly memoryBytesPerSecond?: number;
}): DispatchCase[] {
  const [first] = rounds;
  if (!first) throw new RangeError(`${name} was not measured`);
  const binding = bindingOf(first);
  return layerPasses.map((pass, index) => {
    const measured = rounds.map(({ passSeconds }) => median(passSeconds[index] ?? []));
    const prediction = predictPass({ workload, strategy, pass, binding, probe });
    const [medianSeconds, fastestSeconds] = [median(measured), minOf(measured)];
    const { price, seconds: predictedSeconds } = prediction;
    const moved = price.bytes.reduce((sum, { perRank }) => sum + perRank, 0) * first.counts.length;
    return {
      name,
      chunks: strategy.chunks[pass],
      pass,
      measured,
      medianSeconds,
      fastestSeconds,
      predictedSeconds,
      error: predictedSeconds / medianSeconds - 1,
      errorOfFastest: predictedSeconds / fastestSeconds - 1,
      boundSeconds: memoryBytesPerSecond === undefined ? price.boundSeconds : moved / memoryBytesPerSecond,
      bytes: price.bytes,
      held: price.held,
      ...(pass === 'forward' && first.spans.length > 0 ? outward(prediction, rounds, probe) : {}),
      deviation: maxOf(rounds.map(({ error }) => error)),
    };
  });
}

/** When the last collective had ended that brings rows to their experts, in the forward pass. */
function outward(prediction: PassPrediction, rounds: readonly DispatchMeasurement[], probe: MachineProbe) {
  const [
    {
      job: { shape, strategy },
    },
  ] = rounds;
  const [template] = Object.values(dispatchProgram(shape, strategy, ['forward']).templates);
  const outgoing = new Set(
    feedersOf(template, expertInput).map((operation) => spanLabel(template, operation).operation),
  );
  // each rank's spans count from its own start, and ranks start one after another: the rank in the middle stands for
  // all
  const ended = (spans: DispatchMeasurement['spans']): number => {
    const last = new Map<number, number>();
    for (const { node, operation, collective, rank, end } of spans) {
      if (node !== 0 || collective === undefined || !outgoing.has(operation)) continue;
      last.set(rank, Math.max(last.get(rank) ?? 0, end));
    }
    return median([...last.values()]);
  };
  return {
    outwardSeconds: minOf(rounds.map(({ spans }) => ended(spans))),
    outwardPredictedSeconds: ended(prediction.trace.spans) + probe.startSeconds,
  };
}
