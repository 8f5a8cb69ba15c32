/** Lifetimes of one template against the compiler and the timeline of the program that is this template alone. */
import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/resolve.js';
import { getModel } from '../model/names.js';
import { compile } from '../schedule/compile.js';
import type { Recompute } from '../schedule/recompute.js';
import type { Region, Template } from '../schedule/schedule.js';
import { blockTemplates, passBlocks, wholeTemplates } from '../schedule/step.js';
import type { StepShape } from '../schedule/step-shape.js';
import { Random } from '../units/random.js';
import { asConvention } from './convention.js';
import { bytesWhileRunning, templateLifetimes } from './template-lifetimes.js';
import { expectedRows, memoryTimeline, type TimelineOptions } from './timeline.js';

function compiledBytes(template: Template, counts: (region: Region) => boolean, options: TimelineOptions): number[] {
  const node = { template: template.name, layer: 0, microBatch: 0, pass: 'forward', after: [] } as const;
  const bytes: number[] = [];
  memoryTimeline(compile({ stage: 0, templates: { [template.name]: template }, nodes: [node] }), {
    ...options,
    counts,
    watch: (live) => bytes.push(live),
  });
  return bytes;
}

describe('regions of one template live as the compiler says', () => {
  const recomputes: readonly Recompute[] = ['none', 'selective', ['layernorm', 'moe'], 'full'];

  it.each(['mixtral-8x7b', 'deepseek-v3', 'qwen3-30b-a3b', 'llama3-8b'])('%s', (name) => {
    const random = new Random(5);
    const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)];
    const model = getModel(name);
    let compared = 0;
    for (let draw = 0; draw < 6; draw++) {
      const tp = pick([1, 2, 4]);
      const ep = model.experts > 0 ? pick([1, 4]) : 1;
      const step: StepShape = {
        model,
        layout: resolveLayout({ tp, dp: 4, ep, etp: pick([1, tp]), sequenceParallel: tp > 1 }),
        sequence: 512,
        sequences: pick([1, 3]),
        microBatches: 1,
        dtype: 'bf16',
        strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: pick([1, 3]), backward: 1 } },
      };
      const freed = pick(['node', 'use'] as const);
      const options = {
        rowsOf: expectedRows(1.3),
        freed,
        round: pick([(bytes: number) => bytes, (bytes: number) => 512 * Math.ceil(bytes / 512)]),
      };
      for (const block of passBlocks) {
        if (block === 'moe' ? model.experts === 0 : block === 'mlp' && !model.moeLayers.includes(false)) continue;
        const templates = blockTemplates(wholeTemplates(step, block), block, pick(recomputes));
        const program = asConvention({ stage: 0, templates, nodes: [] }, pick(['monta', 'megatron']), step);
        const counts = pick([() => true, ({ life }: Region) => life === 'layer']);
        for (const template of Object.values(program.templates)) {
          const lifetimes = templateLifetimes(template, counts, freed);
          expect(bytesWhileRunning(lifetimes, template.regions, options)).toEqual(
            compiledBytes(template, counts, options),
          );
          compared += 1;
        }
      }
    }
    expect(compared).toBeGreaterThan(30);
  });
});
