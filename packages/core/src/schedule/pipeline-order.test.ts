import { describe, expect, it } from 'vitest';
import { completeModel } from '../model/model.js';
import { parseLayout } from '../layout/resolve.js';
import { compile } from './compile.js';
import { passesInFlight, pipelineOrder, type PipelineShape } from './pipeline-order.js';
import { stageChunks } from './stages.js';
import { stagePasses } from './step.js';

const shapes: PipelineShape[] = [];
for (const stages of [1, 2, 3, 4])
  for (const virtual of stages === 1 ? [1] : [1, 2, 3])
    for (const microBatches of virtual === 1 ? [1, 2, 5, 8] : [stages, 3 * stages])
      shapes.push({ stages, virtual, microBatches });

/**
 * Runs all stages together, each in its order, a pass as soon as the one that it needs has run; how many passes ran.
 */
function runTogether(shape: PipelineShape): number {
  const { stages, virtual } = shape;
  const orders = Array.from({ length: stages }, (_, stage) => pipelineOrder(shape, stage));
  const done = new Set<string>();
  const next = orders.map(() => 0);
  const last = stages * virtual - 1;
  for (let before = -1; before < done.size;) {
    before = done.size;
    orders.forEach((order, stage) => {
      const pass = order[next[stage] ?? 0];
      if (pass === undefined) return;
      const place = pass.chunk * stages + stage;
      const needs =
        pass.pass === 'forward'
          ? place > 0 && `forward ${place - 1} ${pass.microBatch}`
          : place < last
            ? `backward ${place + 1} ${pass.microBatch}`
            : `forward ${place} ${pass.microBatch}`;
      if (needs !== false && !done.has(needs)) return;
      done.add(`${pass.pass} ${place} ${pass.microBatch}`);
      next[stage] = (next[stage] ?? 0) + 1;
    });
  }
  return done.size;
}

describe('pipelineOrder', () => {
  it('runs every pass once, and all stages together come to an end', () => {
    for (const shape of shapes)
      expect({ shape, passes: runTogether(shape) }).toEqual({
        shape,
        passes: 2 * shape.stages * shape.virtual * shape.microBatches,
      });
  });

  it('holds as many passes as it says, and on the last stage of a plain pipeline one', () => {
    for (const shape of shapes)
      for (let stage = 0; stage < shape.stages; stage++) {
        let held = 0;
        let most = 0;
        for (const { pass } of pipelineOrder(shape, stage)) {
          held += pass === 'forward' ? 1 : -1;
          most = Math.max(most, held);
        }
        expect(held).toBe(0);
        expect({ shape, stage, most }).toEqual({ shape, stage, most: passesInFlight(shape, stage) });
      }
    expect(passesInFlight({ stages: 4, virtual: 1, microBatches: 32 }, 3)).toBe(1);
    expect(passesInFlight({ stages: 4, virtual: 1, microBatches: 32 }, 0)).toBe(4);
    // Narayanan et al., 2.2: interleaving costs the first stage 1 + (p-1)/(pv) times the activations: 4 x 4 x 1.1875 +
    // 1 passes of a quarter.
    expect(passesInFlight({ stages: 4, virtual: 4, microBatches: 32 }, 0)).toBe(19);
  });

  it('refuses micro-batches that do not fill an interleaved pipeline', () => {
    expect(() => pipelineOrder({ stages: 4, virtual: 2, microBatches: 6 }, 0)).toThrow('6 micro-batches');
  });
});

const model = completeModel({
  name: 'test',
  hiddenSize: 16,
  layers: 7,
  attentionHeads: 4,
  vocabSize: 29,
  experts: 4,
  topK: 2,
  expertFfn: 8,
  denseFfn: 12,
  moeLayers: [false, true, true, true, true, true, true],
});

describe('stagePasses', () => {
  it('hold every layer once over all stages, ends on the first and the last, and compile', () => {
    for (const virtualStages of [1, 3]) {
      const step = {
        model,
        layout: parseLayout('tp=2,cp=2,pp=2,dp=2,ep=2'),
        virtualStages,
        sequence: 8,
        sequences: 1,
        microBatches: 4,
        dtype: 'bf16',
        strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
        recompute: 'selective',
      } as const;
      const programs = [0, 1].map((stage) => stagePasses(step, stage));
      const count = (template: string): number =>
        programs.flatMap(({ nodes }) => nodes).filter((node) => node.template === template).length;
      expect(count('attention.forward')).toBe(7 * 4);
      expect(count('mlp.backward')).toBe(4);
      expect(count('moe.backward')).toBe(6 * 4);
      expect(count('attention.recompute')).toBe(7 * 4);
      for (const end of ['embedding.forward', 'head.forward', 'head.backward', 'embedding.backward'])
        expect(count(end)).toBe(4);
      const edges = (2 * virtualStages - 1) * 4;
      for (const pass of ['forward', 'backward'])
        for (const way of ['send', 'receive']) expect(count(`${way}.${pass}`)).toBe(edges);
      for (const program of programs) expect(compile(program).nodes).toHaveLength(program.nodes.length);
      // A send that waits for its peer must not hold up a receive, nor one direction the other.
      for (const program of programs) {
        const { queues, operations } = compile(program);
        const tasks = queues
          .filter(({ group }) => group === 'pp')
          .map((queue) => new Set(queue.operations.map((index) => operations[index]?.operation.task)).size);
        expect(tasks.length).toBeGreaterThan(1);
        expect(new Set(tasks)).toEqual(new Set([1]));
      }
      // A receive waits for what was computed before it, never for a send; ahead of time for nothing.
      const awaited = programs.map(({ nodes }) =>
        nodes
          .filter(({ template }) => template.startsWith('receive.'))
          .flatMap(({ after }) => after.map((index) => nodes[index]?.template)),
      );
      expect(awaited.map(({ length }) => length > 2)).toEqual(virtualStages > 1 ? [false, false] : [true, true]);
      expect(awaited.flat().filter((one) => one?.startsWith('send.'))).toEqual([]);
    }
  });

  it('takes the layers of each stage as they are given', () => {
    const given = { model, layout: { pp: 2 }, layersOfStages: [3, 4] };
    expect(stageChunks(given, 1)).toEqual([{ place: 1, firstLayer: 3, endLayer: 7, first: false, last: true }]);
    expect(() => stageChunks({ ...given, layersOfStages: [3, 3] }, 0)).toThrow('stages of 3, 3 layers');
  });
});
