/** Times a rank's kernels alone on a core or a card, at the sizes that a training step gives them. */
import { worldSize } from '@monta/core/layout';
import {
  sameSums,
  strategiesToTime,
  inChunks,
  moeShape,
  trainingStep,
  unsupportedStrategy,
} from '@monta/core/schedule';
import type { KernelRate, StepShape } from '@monta/core';
import { CpuDevice } from '../device/cpu/index.js';
import type { Device } from '../device/device.js';
import { initialiseParameters, ParameterStore, TrainingExecutor } from '../execute/index.js';
import { initialiseFromPool } from '../execute/initialise.js';
import type { DeviceKind, RankContext } from '../launch/index.js';
import { launchLocal } from '../launch/launch-local.js';
import { fitKernelRates, type TimedKernels } from './kernel-rates.js';
import { SoloEndpoint, type AccompaniedDevice } from './solo-endpoint.js';

export interface KernelProbe {
  readonly step: StepShape;
  /** Chunk counts at which kernels are timed, so that rates and overheads can be told apart. */
  readonly chunkCounts: readonly number[];
  /** Steps for each that are not timed. Default: 1. */
  readonly warmSteps?: number;
  /** Timed steps for each. */
  readonly repetitions: number;
}

/**
 * A step that times the same kernels where the pretended peers can't disturb it. They send what this rank sends, so
 * token slices must be alike, or their row counts would contradict the rows that a rank finds when it routes all slices
 * itself: every slice holds the same whole sequences (attention spans differ where sequences had to be cut), and there
 * is one layer of each kind, since what comes back from the pretended experts is not alike any more.
 */
function undisturbed(step: StepShape): StepShape {
  const { model, layout } = step;
  const moeLayers = [...new Set(model.moeLayers)].sort((a, b) => Number(b) - Number(a));
  const whole = step.sequences % layout.tp === 0;
  return {
    ...step,
    model: {
      ...model,
      layers: moeLayers.length,
      moeLayers,
      ...(model.window ? { window: { ...model.window, layers: model.window.layers.slice(0, moeLayers.length) } } : {}),
    },
    sequences: whole ? step.sequences : layout.tp,
    sequence: whole ? step.sequence : Math.ceil((step.sequences * step.sequence) / layout.tp),
  };
}

/** A rank's memory at first; it may grow to 32 times as much. */
const memoryBytes = 64 * 2 ** 20;

const isAccompanied = (device: Device): device is AccompaniedDevice => 'accompany' in device && 'done' in device;

/** The rank's card, which notes when its launches run; or memory of a CPU for one step alone. */
const deviceFor = (own: Device): AccompaniedDevice =>
  own.kind !== 'cpu' && isAccompanied(own)
    ? own
    : CpuDevice.create({ bytes: memoryBytes, maximumBytes: 32 * memoryBytes, trace: true });

function timeSteps(probe: KernelProbe, chunks: number, own: Device): TimedKernels {
  const step: StepShape = {
    ...undisturbed(probe.step),
    strategy: inChunks(probe.step.strategy, chunks),
  };
  const device = deviceFor(own);
  const endpoint = new SoloEndpoint(0, worldSize(step.layout), device);
  const parameters = new ParameterStore(step, 0, device);
  // A card's models are large: weights of their own took most of a probe's time.
  const initialise = device.kind === 'cpu' ? initialiseParameters : initialiseFromPool;
  initialise(parameters, 1);
  const executor = new TrainingExecutor({ step, endpoint, device, parameters, trace: true });
  const tokens = step.sequence * step.sequences;
  const { vocabSize } = step.model;
  // Spread token ids (Knuth's multiplicative hash), so that routing is about even; the same in every sequence, so that
  // slices are alike.
  const ids = Int32Array.from(
    { length: tokens },
    (_, i) => (Math.imul((i % step.sequence) + 1, 2654435761) >>> 0) % vocabSize,
  );
  const batch = { ids, targets: ids };
  const spans: TimedKernels['spans'][number][] = [];
  const { warmSteps = 1 } = probe;
  for (let repetition = 0; repetition < warmSteps + probe.repetitions; repetition++) {
    executor.trainStep(
      Array.from({ length: step.microBatches }, () => batch),
      {
        targets: tokens * step.microBatches * step.layout.dp,
        number: repetition + 1,
        optimizer: { learningRate: 1e-6, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, maxNorm: 1 },
      },
    );
    const taken = executor.takeSpans();
    if (repetition >= warmSteps) for (const span of taken) spans.push(span);
  }
  executor.close();
  parameters.close();
  return { program: trainingStep(step), spans };
}

/** A rank's side, see `probe.worker.ts`. */
export function probeRank({ data, device }: RankContext<readonly KernelProbe[]>): [string, KernelRate][][] {
  return data.map((probe) => [...fitKernelRates(probe.chunkCounts.map((chunks) => timeSteps(probe, chunks, device)))]);
}

export interface KernelProbeOptions {
  readonly device?: DeviceKind | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Runs probes one after another in a thread of their own and gives, for each, the rate of every kernel of its step. */
async function probeInTurn(
  probes: readonly KernelProbe[],
  { device = 'cpu', signal }: KernelProbeOptions,
): Promise<ReadonlyMap<string, KernelRate>[]> {
  const [rates] = (await launchLocal({
    ranks: 1,
    device,
    trace: true,
    memoryBytes: 1 << 20,
    workerModule: new URL('./probe.worker.ts', import.meta.url),
    workerData: probes,
    signal,
  })) as [[string, KernelRate][][]];
  return rates.map((one) => new Map(one));
}

/** Runs the probe in a thread of its own and gives the rate of every kernel of the step. */
export async function probeKernels(
  probe: KernelProbe,
  options: KernelProbeOptions = {},
): Promise<ReadonlyMap<string, KernelRate>> {
  const [rates = new Map<string, KernelRate>()] = await probeInTurn([probe], options);
  return rates;
}

/**
 * Chunk counts and steps with which the kernels of a run are timed. A card's first steps look up how to multiply each
 * new row count, 75 to 370 us a size: it is timed once it has seen most.
 */
const ofRun: Readonly<Record<DeviceKind, Pick<KernelProbe, 'chunkCounts' | 'warmSteps' | 'repetitions'>>> = {
  cpu: { chunkCounts: [1, 4], warmSteps: 1, repetitions: 3 },
  cuda: { chunkCounts: [1, 4], warmSteps: 12, repetitions: 6 },
};

/**
 * Rates of the kernels of a step, whichever halves a run may choose (`sameSums`), or its own. Kernels differ between
 * halves (slices or all tokens): each is timed under the first pair that has it.
 */
export async function probeStepKernels(
  step: StepShape,
  options: KernelProbeOptions = {},
): Promise<Map<string, KernelRate>> {
  const shape = moeShape(step);
  const { dispatch, combine } = step.strategy;
  const named = sameSums();
  const own = named.some((one) => one.dispatch === dispatch && one.combine === combine);
  const supported = [...named, ...(own ? [] : [step.strategy])].filter(
    (one) => unsupportedStrategy(one, shape) === undefined,
  );
  const settings = ofRun[options.device ?? 'cpu'];
  const probes = strategiesToTime(step, supported, settings.chunkCounts).map((strategy): KernelProbe => ({
    step: { ...step, strategy },
    ...settings,
  }));
  // A card takes seconds to start; a thread takes none, and gives the memory of its steps back when it ends.
  const turns = options.device === 'cuda' ? [probes] : probes.map((probe) => [probe]);
  const rates = new Map<string, KernelRate>();
  for (const turn of turns)
    for (const found of await probeInTurn(turn, options))
      for (const [name, rate] of found) if (!rates.has(name)) rates.set(name, rate);
  return rates;
}
