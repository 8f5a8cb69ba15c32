/** Runs passes of known length through a pipeline: each starts when its stage is free and what it needs has arrived. */
import { pipelineOrder, type PipelinePass } from '../schedule/pipeline-order.js';
import type { StepShape } from '../schedule/step-shape.js';
import { maxOf } from '../units/index.js';
import type { ChunkSeconds } from './pass-prices.js';

/** What passes and transfers take, seconds. */
export interface PipelineSeconds {
  chunk(stage: number, chunk: number): ChunkSeconds;
  transfer(from: number, to: number, pass: PipelinePass['pass']): number;
}

export interface PipelineTimes {
  /** When the last gradient of the last stage is reduced. */
  readonly finishSeconds: number;
  /** By stage, what its passes take. */
  readonly busySeconds: readonly number[];
}

/** When the passes of all stages end, by virtual stage, pass and micro-batch. */
class Ends {
  readonly #seconds = new Map<string, number>();

  at(place: number, { pass, microBatch }: Pick<PipelinePass, 'pass' | 'microBatch'>): number | undefined {
    return this.#seconds.get(`${place} ${pass} ${microBatch}`);
  }

  set(place: number, { pass, microBatch }: Pick<PipelinePass, 'pass' | 'microBatch'>, seconds: number): void {
    this.#seconds.set(`${place} ${pass} ${microBatch}`, seconds);
  }
}

/** Runs the passes of a step in the order of its pipeline. */
export function runPipeline(
  { layout: { pp }, microBatches, virtualStages = 1 }: Pick<StepShape, 'layout' | 'microBatches' | 'virtualStages'>,
  seconds: PipelineSeconds,
): PipelineTimes {
  const places = pp * virtualStages;
  const ends = new Ends();
  const free = new Float64Array(pp);
  const busy = new Float64Array(pp);
  const finish = new Float64Array(pp);
  const orders = Array.from({ length: pp }, (_, stage) =>
    pipelineOrder({ stages: pp, virtual: virtualStages, microBatches }, stage),
  );
  const next = new Int32Array(pp);
  /**
   * When a pass may start at the earliest; undefined while what it needs is not known. Where stages are not
   * interleaved, a receive is issued when its stage has nothing else to do (`schedule/step.ts`).
   */
  const readyAt = (stage: number, one: PipelinePass): number | undefined => {
    const place = one.chunk * pp + stage;
    const before = one.pass === 'forward' ? place - 1 : place + 1;
    if (before < 0) return 0;
    if (before === places) return ends.at(place, { pass: 'forward', microBatch: one.microBatch });
    const end = ends.at(before, one);
    if (end === undefined) return undefined;
    const issued = virtualStages > 1 ? end : Math.max(end, free[stage] ?? 0);
    return issued + seconds.transfer(before % pp, stage, one.pass);
  };
  for (let moved = true; moved;) {
    moved = false;
    for (let stage = 0; stage < pp; stage++)
      for (;;) {
        const one = orders[stage]?.[next[stage] ?? 0];
        const ready = one && readyAt(stage, one);
        if (one === undefined || ready === undefined) break;
        const price = seconds.chunk(stage, one.chunk);
        const start = Math.max(free[stage] ?? 0, ready);
        const takes = one.pass === 'forward' && one.microBatch === 0 ? (price.first ?? price.forward) : price[one.pass];
        const end = start + takes;
        ends.set(one.chunk * pp + stage, one, end);
        free[stage] = end;
        busy[stage] = (busy[stage] ?? 0) + takes;
        const last = one.pass === 'backward' && one.microBatch === microBatches - 1;
        finish[stage] = Math.max(finish[stage] ?? 0, last ? start + price.reduced : end);
        next[stage] = (next[stage] ?? 0) + 1;
        moved = true;
      }
  }
  return { finishSeconds: maxOf([...finish]), busySeconds: [...busy] };
}
