/** Training steps from weights and tokens of a bench's making, for ranks that time them in several ways. */
import { coordinates } from '@monta/core/layout';
import { stepTokens, type StepShape } from '@monta/core/schedule';
import { Random } from '@monta/core/units';
import type { Device } from '../device/device.js';
import { initialiseFromPool } from '../execute/initialise.js';
import { ParameterStore } from '../execute/parameter-store.js';
import type { StepOptions, StepResult, TrainingExecutor } from '../execute/training-executor.js';
import { shiftLabels } from '../transformer/index.js';

const optimizer = { learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };

/** One rank's weights and its replica's micro-batch; steps count on from one way to the next. */
export class BenchTraining {
  readonly parameters: ParameterStore;
  readonly #ids: Int32Array;
  readonly #targets: Int32Array;
  readonly #counted: number;
  #number = 0;

  /** unlike: tokens' rows of the stream stay as unlike as their embeddings, and so do the experts that they choose. */
  constructor(step: StepShape, rank: number, device: Device, { unlike = false }: { readonly unlike?: boolean } = {}) {
    this.parameters = new ParameterStore(step, rank, device);
    initialiseFromPool(this.parameters, 1);
    if (unlike) this.#drawEmbeddings();
    const tokens = stepTokens(step);
    const random = new Random(1, coordinates(step.layout, rank).dp);
    this.#ids = Int32Array.from({ length: tokens }, () => Math.floor(step.model.vocabSize * random.uniform()));
    this.#targets = new Int32Array(tokens);
    this.#counted = shiftLabels(this.#ids, step.sequences, step.sequence, this.#targets) * step.layout.dp;
  }

  /** Layers add little to rows of deviation 1. */
  #drawEmbeddings(): void {
    const { parameters } = this;
    const embedding = parameters.held().find(({ parameter: { slot } }) => slot === 'embedding')?.parameter;
    if (embedding === undefined) return;
    const { name, shape } = embedding;
    const [rows, columns = 1] = shape;
    const random = new Random(2);
    for (let row = 0; row < rows; row++)
      parameters.writeRows(
        name,
        row,
        Float32Array.from({ length: columns }, () => random.normal()),
      );
  }

  trainStep(executor: TrainingExecutor): StepResult {
    return this.#step(executor, { optimizer });
  }

  /** A step that leaves weights as they are. */
  differentiate(executor: TrainingExecutor): StepResult {
    return this.#step(executor, {});
  }

  #step(executor: TrainingExecutor, update: Pick<StepOptions, 'optimizer'>): StepResult {
    this.#number += 1;
    const batch = [{ ids: this.#ids, targets: this.#targets }];
    return executor.trainStep(batch, { targets: this.#counted, number: this.#number, ...update });
  }
}
