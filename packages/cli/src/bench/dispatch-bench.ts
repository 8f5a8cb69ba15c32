/**
 * The dispatch benchmark: probes the machine, measures every variant on real ranks in one job, and lays prediction and
 * bound beside it.
 */
import { availableParallelism, loadavg } from 'node:os';
import type {
  Cluster,
  CollectiveCurves,
  EmulationScale,
  MoeShape,
  PickedVariants,
  Routing,
  Workload,
} from '@monta/core';
import { didYouMean, InputError } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import { scaledCurves } from '@monta/core/cost';
import { dispatchVariants, emulationScale, memorySpeedScale, pickVariants } from '@monta/core/plan';
import { probeMover, type MachineProbe, measureVariants, type DispatchCase } from '@monta/runtime';

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

export interface DispatchBench extends PickedVariants<DispatchCase> {
  readonly scale: EmulationScale;
  readonly emulated: boolean;
  readonly ranks: number;
  /** What moves the bytes of all ranks, at most. */
  readonly moverBytesPerSecond: number;
  readonly probe: MachineProbe;
  readonly cases: readonly DispatchCase[];
  /** What predictions were made for. */
  readonly workload: Workload;
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

/** The ways that are timed. Throws `InputError` for names that are none, and where none is left. */
function variantsOf({ shape, chunkCounts, only }: DispatchBenchOptions): ReturnType<typeof dispatchVariants> {
  const all = dispatchVariants(shape, chunkCounts);
  const names = new Set(all.map(({ name }) => name));
  const unknown = only?.find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new InputError(`"${unknown}" is no strategy that this layout allows`, {
      expected: [...names].join(', '),
      hint: didYouMean(unknown, [...names]),
    });
  }
  const variants = all.filter(({ name }) => only === undefined || name === 'duplicated' || only.includes(name));
  if (variants.length === 0) throw new InputError('no dispatcher that was asked for serves this layout');
  return variants;
}

/** Products in float32 of one core, FLOP/s: what its kernels are probed at later, near enough to size them. */
const coreFlopsPerSecond = 5e9;

/** At what share of its size the dispatch runs here. */
function scaleOf(
  { cluster, shape, routing, seed, emulate, rounds, seconds }: DispatchBenchOptions,
  variants: ReturnType<typeof dispatchVariants>,
  moverBytesPerSecond: number,
): EmulationScale {
  const ranks = worldSize(shape.layout);
  const request = {
    cluster,
    shape,
    routing,
    seed,
    variants,
    roundSeconds: seconds / (rounds + 1),
    bytesPerSecond: moverBytesPerSecond * moverShare,
    flopsPerSecond: (coreFlopsPerSecond * Math.min(ranks, availableParallelism())) / ranks,
    ...(typeof emulate === 'number' ? { timeScale: emulate } : {}),
  };
  return emulate === 'off'
    ? memorySpeedScale({ ...request, bytesPerSecond: moverBytesPerSecond })
    : emulationScale(request);
}

/** Runs it. Throws `InputError` for layouts that no dispatcher serves, and when results are wrong. */
export async function benchDispatch(options: DispatchBenchOptions): Promise<DispatchBench> {
  const { routing, seed, signal, rounds, emulate, onPhase = () => undefined } = options;
  const ranks = worldSize(options.shape.layout);
  const variants = variantsOf(options);
  const loadBefore = loadavg()[0] ?? 0;
  onPhase('probing the machine');
  const emulated = emulate !== 'off';
  const moverBytesPerSecond = await probeMover(emulated ? scheduler : undefined, signal);
  const scale = scaleOf(options, variants, moverBytesPerSecond);
  const { volumeShare, timeScale } = scale;
  const { curves } = options;
  const measured = await measureVariants({
    ground: {
      seen: scale.seen,
      shape: scale.shape,
      ...(emulated
        ? { fabric: { cluster: scale.emulated, timeScale, scheduler } }
        : { memoryBytesPerSecond: moverBytesPerSecond }),
      hostCores: {
        cores: availableParallelism(),
        ranksPerHost: ranks,
        movers: { threads: 1, bytesPerSecond: moverBytesPerSecond },
      },
    },
    variants,
    routing,
    seed,
    rounds,
    ...(curves === undefined
      ? {}
      : { curves: (overheadSeconds) => scaledCurves(curves, { volumeShare, timeScale, overheadSeconds }) }),
    onMeasuring: () =>
      onPhase(
        `measuring ${2 * variants.length} cases, ${rounds} times each: about ${Math.ceil(options.seconds)} s or more`,
      ),
    ...(signal === undefined ? {} : { signal }),
  });
  const { workload } = measured;
  return {
    scale,
    emulated,
    ranks,
    moverBytesPerSecond,
    ...measured,
    ...pickVariants(measured.cases, workload, variants, options.chunkCounts),
    loadBefore,
  };
}
