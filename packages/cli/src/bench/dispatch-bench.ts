/** The dispatch benchmark: probes the machine, measures every variant on real ranks in one job, and lays prediction and bound beside it. */
import { availableParallelism, loadavg } from 'node:os';
import {
  chooseDispatch,
  didYouMean,
  worldSize,
  InputError,
  type Cluster,
  type CollectiveCurves,
  type HeldBy,
  type MoeShape,
  type Routing,
  type Strategy,
  type TierBytes,
  type Workload,
} from '@monta/core';
import {
  measureDispatch,
  probeDispatchKernels,
  probeMover,
  type DispatchJob,
  type DispatchMeasurement,
} from '@monta/runtime';
import { scaledCurves } from '../calibrate/scaled-curves.js';
import { benchPasses, dispatchVariants, halvesName, type BenchPass, type DispatchVariant } from './dispatch-cases.js';
import {
  benchWorkload,
  bindingOf,
  median,
  predictPass,
  readHost,
  type MachineProbe,
  type Prediction,
} from './dispatch-predict.js';
import { chooseScale, memorySpeed, type Scale } from './dispatch-scale.js';

export interface DispatchBenchOptions {
  readonly cluster: Cluster;
  /** At full size, in the model's type. */
  readonly shape: MoeShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly chunkCounts: readonly number[];
  /** Names of halves to measure; all when left out. `duplicated` is always among them where the layout allows it. */
  readonly only?: readonly string[];
  /** A time scale, one that is chosen, or memory speed. */
  readonly emulate: 'auto' | 'off' | number;
  /** Times that every case is measured, in turns. */
  readonly rounds: number;
  /** What all rounds may take on the emulated clock, seconds; noise, filling and checking come on top. */
  readonly seconds: number;
  /** Measured curves of the cluster at full size, in place of its file's latencies and bandwidths. */
  readonly curves?: CollectiveCurves;
  readonly onPhase?: (what: string) => void;
  readonly signal?: AbortSignal;
}

/** One pass of one variant. */
export interface DispatchCase {
  readonly name: string;
  readonly chunks: number;
  readonly pass: BenchPass;
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
  /** Until the last row has arrived at its experts (AllToAll and AllGather), forward only: fastest measured, and predicted. */
  readonly outwardSeconds?: number;
  readonly outwardPredictedSeconds?: number;
  /** Largest difference of a token's result from its closed form; row elements lie in [-1, 1). */
  readonly deviation: number;
}

/** A variant that is pointed out: its case forward, and its case backward. */
export interface PickedVariant {
  readonly name: string;
  readonly forward: DispatchCase;
  readonly backward: DispatchCase;
}

export interface DispatchBench {
  readonly scale: Scale;
  readonly emulated: boolean;
  readonly ranks: number;
  readonly probe: MachineProbe;
  readonly cases: readonly DispatchCase[];
  /** The planner's, for the emulated cluster and this machine, before anything was measured but the probes. */
  readonly choice: PickedVariant;
  readonly duplicated?: PickedVariant;
  /** The fastest measured of duplicated, sliced and scattered in one piece and pipelined in 4 chunks. */
  readonly bestFixed?: PickedVariant;
  /** Seconds for which the emulated network stood still for want of a processor; of the whole job. */
  readonly lostSeconds: number;
  readonly jobSeconds: number;
  /** Runnable threads of the machine in the last minute, before the job. */
  readonly loadBefore: number;
}

/** Small packets share ports evenly even when messages are short; the mover makes up for that much lateness. */
const scheduler = { packetBytes: 4096, catchUpSeconds: 0.05 };
/** Share of what the mover can carry that the emulation may ask of it. */
const moverShare = 0.05;
const probeRuns = { warmUps: 3, repetitions: 5 };
/** Chunk counts at which kernels and overheads are probed. */
const probedChunks = [1, 4];

/** Runs it. Throws `InputError` for layouts that no dispatcher serves, and when results are wrong. */
export async function benchDispatch(options: DispatchBenchOptions): Promise<DispatchBench> {
  const { cluster, routing, seed, signal, rounds, emulate, onPhase = () => undefined } = options;
  const ranks = worldSize(options.shape.layout);
  const all = dispatchVariants(options.shape, options.chunkCounts);
  const names = new Set(all.map(({ name }) => name));
  const unknown = options.only?.find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new InputError(`"${unknown}" is no strategy that this layout allows`, {
      expected: [...names].join(', '),
      hint: didYouMean(unknown, [...names]),
    });
  }
  const variants = all.filter(
    ({ name }) => options.only === undefined || name === 'duplicated' || options.only.includes(name),
  );
  if (variants.length === 0) throw new InputError('no dispatcher that was asked for serves this layout');
  const loadBefore = loadavg()[0] ?? 0;
  onPhase('probing the machine');
  const emulated = emulate !== 'off';
  const moverBytesPerSecond = await probeMover(emulated ? scheduler : undefined, signal);
  const request = {
    cluster,
    shape: options.shape,
    routing,
    seed,
    variants,
    roundSeconds: options.seconds / (rounds + 1),
    bytesPerSecond: moverBytesPerSecond * moverShare,
    ...(typeof emulate === 'number' ? { timeScale: emulate } : {}),
  };
  const scale = emulated ? chooseScale(request) : memorySpeed({ ...request, bytesPerSecond: moverBytesPerSecond });
  const { shape } = scale;
  const probed = variants.filter(({ strategy }) => probedChunks.includes(strategy.chunks.forward));
  const strategies = (probed.length > 0 ? probed : variants).map(({ strategy }) => strategy);
  const kernels = await probeDispatchKernels({ shape, strategies, routing, seed, ...probeRuns }, signal);
  const job = (of: MoeShape, strategy: Strategy, warmUps: number, repetitions: number): DispatchJob => ({
    shape: of,
    strategy,
    passes: benchPasses,
    routing,
    seed,
    warmUps,
    repetitions,
    trace: true,
  });
  // one row a rank, one element each: nothing but what the host adds
  const tiny: MoeShape = { ...shape, tokens: shape.layout.tp, hiddenSize: 1 };
  // in every round, so that probes and cases see the same other work on the machine
  const jobs = Array.from({ length: rounds }, (_, round) => [
    ...strategies.map((strategy) => job(tiny, strategy, round === 0 ? 2 : 0, 1)),
    ...variants.map(({ strategy }) => job(shape, strategy, round === 0 ? 1 : 0, 1)),
  ]).flat();
  let lostSeconds = 0;
  onPhase(
    `measuring ${2 * variants.length} cases, ${rounds} times each: about ${Math.ceil(options.seconds)} s or more`,
  );
  const start = performance.now();
  const measured = await measureDispatch({
    jobs,
    ...(emulated ? { fabric: { cluster: scale.emulated, timeScale: scale.timeScale, scheduler } } : {}),
    onLostSeconds: (seconds) => {
      lostSeconds = seconds;
    },
    ...(signal === undefined ? {} : { signal }),
  });
  const jobSeconds = (performance.now() - start) / 1e3;
  const perRound = strategies.length + variants.length;
  const probes = measured.filter((_, index) => index % perRound < strategies.length);
  const timed = measured.filter((_, index) => index % perRound >= strategies.length);
  const probe = readHost(probes, scale.seen, {
    cores: availableParallelism(),
    moverBytesPerSecond,
    kernels,
  });
  const { volumeShare, timeScale } = scale;
  const { curves } = options;
  const seenCurves =
    curves && scaledCurves(curves, { volumeShare, timeScale, overheadSeconds: probe.collectiveSeconds });
  const workload = benchWorkload(scale.seen, shape, routing, seed, probe, ranks, seenCurves);
  const cases = variants.flatMap((variant, index) =>
    casesOf(
      variant,
      timed.filter((_, at) => at % variants.length === index),
      workload,
      probe,
      emulated,
    ),
  );
  return {
    scale,
    emulated,
    ranks,
    probe,
    cases,
    ...picked(cases, workload, variants, options.chunkCounts),
    lostSeconds,
    jobSeconds,
    loadBefore,
  };
}

function casesOf(
  { name, strategy }: DispatchVariant,
  rounds: readonly DispatchMeasurement[],
  workload: Workload,
  probe: MachineProbe,
  emulated: boolean,
): DispatchCase[] {
  const [first] = rounds;
  if (!first) throw new RangeError(`${name} was not measured`);
  const binding = bindingOf(first);
  return benchPasses.map((pass, index) => {
    const measured = rounds.map(({ passSeconds }) => median(passSeconds[index] ?? []));
    const prediction = predictPass(workload, strategy, pass, binding, probe);
    const [medianSeconds, fastestSeconds] = [median(measured), Math.min(...measured)];
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
      // at memory speed, the mover is the line
      boundSeconds: emulated ? price.boundSeconds : moved / probe.moverBytesPerSecond,
      bytes: price.bytes,
      held: price.held,
      ...(pass === 'forward' ? outward(prediction, rounds, probe) : {}),
      deviation: Math.max(...rounds.map(({ error }) => error)),
    };
  });
}

/** Operations that bring rows to their experts, chunk numbers apart. */
const outwardOperations = /\/(?:gather\.tokens|all_to_all\.\d+|all_gather\.\d+)$/u;

// each rank's spans count from its own start, and ranks start one after another: the rank in the middle stands for all
const ended = (spans: DispatchMeasurement['spans']): number => {
  const last = new Map<number, number>();
  for (const { node, operation, rank, end } of spans)
    if (node === 0 && outwardOperations.test(operation)) last.set(rank, Math.max(last.get(rank) ?? 0, end));
  return median([...last.values()]);
};

function outward(prediction: Prediction, rounds: readonly DispatchMeasurement[], probe: MachineProbe) {
  return {
    outwardSeconds: Math.min(...rounds.map(({ spans }) => ended(spans))),
    outwardPredictedSeconds: ended(prediction.trace.spans) + probe.startSeconds,
  };
}

const total = ({ forward, backward }: PickedVariant): number => forward.medianSeconds + backward.medianSeconds;

function picked(
  cases: readonly DispatchCase[],
  workload: Workload,
  variants: readonly DispatchVariant[],
  chunkCounts: readonly number[],
): Pick<DispatchBench, 'choice' | 'duplicated' | 'bestFixed'> {
  const find = (name: string, pass: BenchPass, chunks: number): DispatchCase | undefined =>
    cases.find((one) => one.name === name && one.pass === pass && one.chunks === chunks);
  const pick = (name: string, chunks: Strategy['chunks']): PickedVariant | undefined => {
    const forward = find(name, 'forward', chunks.forward);
    const backward = find(name, 'backward', chunks.backward);
    return forward && backward ? { name, forward, backward } : undefined;
  };
  const halves = [...new Map(variants.map(({ name, strategy }) => [name, strategy])).values()];
  const planned = chooseDispatch(workload, { chunkCounts, halves });
  const best = planned.known
    ? planned.candidates.find(({ strategy }) => pick(halvesName(strategy), strategy.chunks))
    : undefined;
  const choice = best && pick(halvesName(best.strategy), best.strategy.chunks);
  if (!choice) throw new InputError('the planner could not choose among the measured cases');
  const fixed = [
    ...['duplicated', 'sliced', 'scattered'].map((name) => pick(name, { forward: 1, backward: 1 })),
    pick('sliced', { forward: 4, backward: 4 }),
  ].filter((one) => one !== undefined);
  const [bestFixed] = [...fixed].sort((a, b) => total(a) - total(b));
  const duplicated = pick('duplicated', { forward: 1, backward: 1 });
  return { choice, ...(duplicated ? { duplicated } : {}), ...(bestFixed ? { bestFixed } : {}) };
}
