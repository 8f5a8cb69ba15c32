/** The end of a step as a template: gradients are summed over the ranks that share a parameter, their norm is taken, AdamW steps. */
import { groupSize } from '../layout/mesh.js';
import { lossRegion } from './ends.js';
import { activationOf, work } from './moe-shape.js';
import { flatRuns, statedLayout, type FlatRun } from './parameter-layout.js';
import { gradientId, weightId } from './parameter-regions.js';
import { bucketGroups, type Bucket } from './parameters.js';
import type { Region, Template } from './schedule.js';
import type { StepShape } from './step-shape.js';
import { add, read, TemplateBuilder } from './template-builder.js';

/** A flat region in f32 and the slots that it is made of; moments have none, as only the update knows them. */
function flatRegion({ region, state, run, slots }: FlatRun): Region {
  const idOf = state === 'weight' ? weightId : gradientId;
  const known = state === 'weight' || state === 'gradient';
  return {
    id: region,
    dtype: 'f32',
    rows: run.length,
    columns: 1,
    order: 'rows',
    life: 'parameter',
    parts: known ? slots.map(({ slot, layer }) => ({ region: idOf(slot), layer })) : [],
  };
}

export function updateTemplate(step: StepShape): Template {
  const { layout } = step;
  const builder = new TemplateBuilder();
  const parameters = statedLayout(step);
  const runs = new Map(flatRuns(parameters).map((run) => [run.region, run]));
  const declare = (id: string): string => {
    const run = runs.get(id);
    if (run === undefined) throw new RangeError(`no run of the parameters is called ${id}`);
    return builder.region(flatRegion(run));
  };
  for (const bucket of Object.keys(bucketGroups) as Bucket[]) {
    const group = bucketGroups[bucket];
    const region = `gradients.${bucket}`;
    if (!runs.has(region) || groupSize(layout, group) === 1) continue;
    builder.collective(`reduce.${bucket}`, 'inter', { name: 'all_reduce', group }, { buffer: add(declare(region)) });
  }
  const elements = parameters.slots.reduce((sum, { length }) => sum + length, 0);
  const [gradients, weights] = [declare('gradients'), declare('weights')];
  const [firstMoments, secondMoments] = [declare('firstMoments'), declare('secondMoments')];
  builder.region(lossRegion);
  builder.kernel({
    id: 'norm',
    kernel: 'update.norm',
    operands: { gradients: read(gradients), loss: add('loss') },
    work: work('memory', elements, { bytes: 4 }),
  });
  if (groupSize(layout, 'world') > 1)
    builder.collective('norm.reduce', 'inter', { name: 'all_reduce', group: 'world' }, { buffer: add('loss') });
  // Reads gradient, weight and two moments, writes weight and moments, all f32.
  builder.kernel({
    id: 'adamw',
    kernel: 'update.adamw',
    operands: {
      gradients: read(gradients),
      loss: read('loss'),
      weights: add(weights),
      firstMoments: add(firstMoments),
      secondMoments: add(secondMoments),
    },
    work: work('memory', elements, { flops: 12, bytes: 28 }),
  });
  const activation = activationOf(layout);
  return builder.build('update', activation, activation);
}
