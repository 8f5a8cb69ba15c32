/** A rank's side of verification: runs batch 0 and the trajectory under each strategy and returns what it computed. */
import { coordinates } from '@monta/core/layout';
import { isTrained, sliceStart } from '@monta/core/schedule';
import type { Layout, StepShape, Strategy } from '@monta/core';
import { HuggingFaceFolder } from '../checkpoint/hugging-face-folder.js';
import { loadShards } from '../checkpoint/tensor-source.js';
import type { Device } from '../device/device.js';
import { readFloats } from '../device/host-array.js';
import { ParameterStore, TrainingExecutor, type MicroBatch, type NodeObserver } from '../execute/index.js';
import type { RankContext } from '../launch/index.js';
import { shiftLabels } from '../transformer/index.js';
import type { Trajectory } from './expected.js';
import { recordingRouting, replayingRouting } from './routing-replay.js';

export interface VerifyJob {
  readonly folder: string;
  readonly step: Omit<StepShape, 'strategy' | 'layout'>;
  readonly layout: Layout;
  readonly strategies: readonly Strategy[];
  /** Sequences of the whole job, by batch: [batches][sequences * sequence]. */
  readonly ids: readonly Int32Array[];
  readonly trajectory?: Trajectory;
}

/** Rows that a rank computed of a matrix of the whole job: rows from `row`, columns from `column`. */
export interface Patch {
  readonly row: number;
  readonly column: number;
  readonly columns: number;
  readonly values: Float32Array;
}

export interface RankComputation {
  readonly loss: number;
  readonly auxiliaryLoss: number;
  readonly gradientNorm: number;
  readonly logits: Patch;
  /** By layer: probabilities of all experts. */
  readonly probabilities: ReadonlyMap<number, Patch>;
  /** Of rank 0 only: whole tensors, put together from all ranks. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  readonly trajectory: readonly (readonly [loss: number, norm: number])[];
}

/** Verifies on one rank; every rank of the job calls it. */
export function verifyRank(context: RankContext<VerifyJob>): RankComputation[] {
  const { data: job } = context;
  const folder = HuggingFaceFolder.open(job.folder, { verify: false });
  try {
    return job.strategies.map((strategy) => {
      const step: StepShape = { ...job.step, layout: job.layout, strategy };
      if (step.dtype === 'f32' && step.payload === undefined) return compute(context, step, folder);
      const { trajectory: _none, ...first } = job;
      const picks: Int32Array[] = [];
      const recording = { ...context, device: recordingRouting(context.device, picks), data: first };
      const { payload: _plain, ...plain } = step;
      compute(recording, { ...plain, dtype: 'f32' }, folder);
      return compute({ ...context, device: replayingRouting(context.device, picks), data: first }, step, folder);
    });
  } finally {
    folder.close();
  }
}

function batchOf(job: VerifyJob, step: StepShape, rank: number, batch: number): MicroBatch {
  const tokens = step.sequences * step.sequence;
  const first = coordinates(step.layout, rank).dp * tokens;
  const ids = job.ids[batch]?.slice(first, first + tokens) ?? new Int32Array(tokens);
  const targets = new Int32Array(tokens);
  shiftLabels(ids, step.sequences, step.sequence, targets);
  return { ids, targets };
}

function compute(
  { rank, endpoint, device, data: job }: RankContext<VerifyJob>,
  step: StepShape,
  folder: HuggingFaceFolder,
): RankComputation {
  const store = new ParameterStore(step, rank, device);
  const { layout, model } = step;
  // A target for every token but the last of each sequence.
  const targets = layout.dp * step.sequences * (step.sequence - 1);
  loadShards(store, folder);
  const captured = new Capture(step, rank, device);
  const executor = new TrainingExecutor({
    step,
    endpoint,
    device,
    parameters: store,
    ...(model.padTokenId === undefined ? {} : { paddingId: model.padTokenId }),
  });
  const { observe } = captured;
  const optimizer = job.trajectory?.optimizer;
  // The trajectory begins with this step: its gradients stay behind the update.
  const result = executor.trainStep([batchOf(job, step, rank, 0)], { targets, number: 1, optimizer, observe });
  const { logits, probabilities } = captured.take();
  const full = store.gather(
    store.list.filter(isTrained).map(({ name }) => name),
    'gradient',
    endpoint,
  );
  const trajectory = (job.trajectory?.steps ?? []).map((_, index): [number, number] => {
    const batches = [batchOf(job, step, rank, index)];
    const { loss, gradientNorm } =
      index === 0 ? result : executor.trainStep(batches, { targets, number: index + 1, optimizer });
    return [loss, gradientNorm];
  });
  executor.close();
  store.close();
  return {
    loss: result.loss,
    auxiliaryLoss: result.auxiliaryLoss,
    gradientNorm: result.gradientNorm,
    logits,
    probabilities,
    gradients: rank === 0 ? full : new Map(),
    trajectory,
  };
}

/** Copies logits and router probabilities out of a running step. */
class Capture {
  #logits: Patch | undefined;
  readonly #probabilities = new Map<number, Patch>();

  constructor(
    private readonly step: StepShape,
    private readonly rank: number,
    private readonly device: Device,
  ) {}

  readonly observe: NodeObserver = (node, storage) => {
    if (node.pass !== 'forward') return;
    const { layout, model, sequences, sequence } = this.step;
    const tokens = sequences * sequence;
    const { dp, tp } = coordinates(layout, this.rank);
    const row = dp * tokens;
    if (node.template === 'head.forward') {
      const column = sliceStart(model.vocabSize, tp, layout.tp);
      const columns = sliceStart(model.vocabSize, tp + 1, layout.tp) - column;
      const values = readFloats(this.device, storage.view('head.logits')).slice(0, tokens * columns);
      this.#logits = { row, column, columns, values };
    }
    if (node.template === 'moe.forward') {
      const { rows } = storage.region('route.probabilities');
      const first = typeof rows === 'number' ? 0 : sliceStart(tokens, tp, layout.tp);
      const values = readFloats(this.device, storage.view('route.probabilities'));
      this.#probabilities.set(node.layer, { row: row + first, column: 0, columns: model.experts, values });
    }
  };

  take(): { logits: Patch; probabilities: ReadonlyMap<number, Patch> } {
    if (!this.#logits) throw new Error('the step computed no logits');
    return { logits: this.#logits, probabilities: this.#probabilities };
  }
}
