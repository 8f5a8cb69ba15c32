/** What a rank is predicted to hold for what its tokens picked, to stand beside what it held. */
import { rankMemory } from '@monta/core/memory';
import type { GroupRouting } from '@monta/core';
import type { TrainingExecutor } from '../execute/index.js';

/** Of one way to run the step. Keeps the routing of the step in which the rank held the most. */
export class ForetoldMemory {
  readonly #executor: TrainingExecutor;
  readonly #rank: number;
  #mostBytes = -1;
  #routed: readonly (readonly GroupRouting[])[] = [];

  constructor(executor: TrainingExecutor, rank: number) {
    this.#executor = executor;
    this.#rank = rank;
  }

  /** A step has ended. */
  after(): void {
    const { peakBytes, step } = this.#executor;
    if (peakBytes <= this.#mostBytes) return;
    this.#mostBytes = peakBytes;
    const microBatches = Array.from({ length: step.microBatches }, (_, microBatch) => microBatch);
    this.#routed = step.model.moeLayers.map((moe, layer) =>
      moe ? microBatches.map((microBatch) => this.#executor.routing({ layer, microBatch })) : [],
    );
  }

  /** Bytes at the highest; 0 before any step. */
  bytes(): number {
    if (this.#mostBytes < 0) return 0;
    const of = ({ layer, microBatch }: { readonly layer: number; readonly microBatch: number }): GroupRouting =>
      this.#routed[layer][microBatch];
    return rankMemory(this.#executor.step, { rank: this.#rank, of }).totalBytes;
  }
}
