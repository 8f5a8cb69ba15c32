/** Times a rank's kernels alone on a core, at the sizes that a training step gives them. */
import {
  searchedHalves,
  inChunks,
  moeShape,
  trainingStep,
  unsupportedStrategy,
  worldSize,
  type KernelRate,
  type StepShape,
} from '@monta/core';
import { CpuDevice } from '../device/cpu/index.js';
import { initialiseParameters, ParameterStore, TrainingExecutor } from '../execute/index.js';
import { launchLocal, type RankContext } from '../launch/index.js';
import { fitKernelRates, type TimedKernels } from './kernel-rates.js';
import { SoloEndpoint } from './solo-endpoint.js';

export interface KernelProbe {
  readonly step: StepShape;
  /** Chunk counts at which kernels are timed, so that rates and overheads can be told apart. */
  readonly chunkCounts: readonly number[];
  /** Timed steps for each, after one that is not timed. */
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

function timeSteps(probe: KernelProbe, chunks: number): TimedKernels {
  const step: StepShape = {
    ...undisturbed(probe.step),
    strategy: inChunks(probe.step.strategy, chunks),
  };
  const device = CpuDevice.create({ bytes: memoryBytes, maximumBytes: 32 * memoryBytes, trace: true });
  const endpoint = new SoloEndpoint(0, worldSize(step.layout), device);
  const parameters = new ParameterStore(step, 0, device);
  initialiseParameters(parameters, 1);
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
  for (let repetition = 0; repetition <= probe.repetitions; repetition++) {
    executor.trainStep(
      Array.from({ length: step.microBatches }, () => batch),
      {
        targets: tokens * step.microBatches * step.layout.dp,
        number: repetition + 1,
        optimizer: { learningRate: 1e-6, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, maxNorm: 1 },
      },
    );
    const taken = executor.takeSpans();
    if (repetition > 0) for (const span of taken) spans.push(span);
  }
  return { program: trainingStep(step), spans };
}

/** A rank's side, see `probe.worker.ts`. */
export function probeRank({ data }: RankContext<KernelProbe>): [string, KernelRate][] {
  return [...fitKernelRates(data.chunkCounts.map((chunks) => timeSteps(data, chunks)))];
}

/** Runs the probe in a thread of its own and gives the rate of every kernel of the step. */
export async function probeKernels(probe: KernelProbe, signal?: AbortSignal): Promise<ReadonlyMap<string, KernelRate>> {
  const [rates] = (await launchLocal({
    ranks: 1,
    memoryBytes: 1 << 20,
    workerModule: new URL('./probe.worker.ts', import.meta.url),
    workerData: probe,
    signal,
  })) as [[string, KernelRate][]];
  return new Map(rates);
}

/** Chunk counts and steps with which the kernels of a run are timed. */
const ofRun = { chunkCounts: [1, 4], repetitions: 3 } as const;

/**
 * Rates of the kernels of a step, whichever halves it may take: they differ between halves (slices or all tokens), so
 * those of every pair are timed.
 */
export async function probeStepKernels(step: StepShape, signal?: AbortSignal): Promise<Map<string, KernelRate>> {
  const shape = moeShape(step);
  const rates = new Map<string, KernelRate>();
  for (const halves of searchedHalves().filter((one) => unsupportedStrategy(one, shape) === undefined)) {
    const strategy = inChunks(halves, 1);
    for (const [name, rate] of await probeKernels({ step: { ...step, strategy }, ...ofRun }, signal))
      if (!rates.has(name)) rates.set(name, rate);
  }
  return rates;
}
