/** What is kept in flight against a walk over all passes in their order. */
import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/resolve.js';
import { getModel } from '../model/names.js';
import { pipelineOrder } from '../schedule/pipeline-order.js';
import { stageChunks } from '../schedule/stages.js';
import type { StepShape } from '../schedule/step-shape.js';
import { maxOf } from '../units/index.js';
import { Random } from '../units/random.js';
import { ChunkKinds, stagePasses, type ChunkKind } from './in-flight.js';

type Bytes = ReadonlyMap<ChunkKind, number>;

/** The most that forwards, and backwards, of each kind find kept, where a kept pass takes so much. */
function walked(step: StepShape, stage: number, known: ChunkKinds, bytes: Bytes): Map<string, number> {
  const { model, layout, virtualStages = 1, microBatches } = step;
  const chunks = stageChunks(step, stage).map((chunk) => known.of(model, chunk));
  const all = [...bytes.keys()];
  const most = new Map<string, number>();
  let kept = 0;
  for (const { pass, chunk } of pipelineOrder({ stages: layout.pp, virtual: virtualStages, microBatches }, stage)) {
    const kind = chunks[chunk];
    if (kind === undefined) throw new RangeError('a pass of no chunk');
    const key = `${pass} ${all.indexOf(kind)}`;
    most.set(key, Math.max(most.get(key) ?? 0, kept));
    kept += (pass === 'forward' ? 1 : -1) * (bytes.get(kind) ?? 0);
  }
  return most;
}

describe('passes in flight', () => {
  it('are the most that any pass finds, whatever passes of each kind take', () => {
    const random = new Random(9);
    const model = getModel('deepseek-v3');
    for (let draw = 0; draw < 200; draw++) {
      const pp = 2 + random.integer(7);
      const virtualStages = 1 + random.integer(Math.min(7, Math.floor(model.layers / pp)));
      const step: StepShape = {
        model,
        layout: resolveLayout({ pp, dp: 1 }),
        virtualStages,
        sequence: 64,
        sequences: 1,
        microBatches: pp * (1 + random.integer(6)),
        dtype: 'bf16',
        strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
      };
      const stage = random.integer(pp);
      const known = new ChunkKinds();
      const { kinds, states } = stagePasses(step, stage, known);
      const bytes = new Map(kinds.map((kind) => [kind, 1 + random.integer(1000)]));
      const found = new Map<string, number>();
      for (const { pass, kind, kept } of states) {
        const key = `${pass} ${kinds.indexOf(kind)}`;
        const sum = kept.reduce((all, count, place) => all + count * ([...bytes.values()][place] ?? 0), 0);
        // A backward is told with its own pass kept, and stands beside it.
        found.set(key, Math.max(found.get(key) ?? 0, sum));
      }
      expect(maxOf(found.values())).toBeGreaterThan(0);
      expect(found).toEqual(walked(step, stage, known, bytes));
    }
  });
});
