/** The end of a step as a template: gradients are summed over the ranks that share a parameter, their norm is taken, AdamW steps. */
import { groupSize, worldSize } from '../layout/mesh.js';
import { lossRegion } from './ends.js';
import { activationOf, work } from './moe-shape.js';
import { bucketElements, bucketGroups, parameters, type Bucket } from './parameters.js';
import type { Region, Template, Use } from './schedule.js';
import type { StepShape } from './step-shape.js';
import { add, read, TemplateBuilder } from './template-builder.js';

/** Main gradients are f32, one flat region a bucket. */
export const gradientRegion = (bucket: Bucket, elements: number): Region => ({
  id: `gradients.${bucket}`,
  dtype: 'f32',
  rows: elements,
  columns: 1,
  order: 'rows',
  life: 'step',
});

const buckets: readonly Bucket[] = ['partial', 'dense', 'expert'];

export function updateTemplate(step: StepShape): Template {
  const { model, layout } = step;
  const builder = new TemplateBuilder();
  // The last rank's shards are the longest or equal; sizes of one bucket's group agree because its members hold the same shards.
  const elements = bucketElements(parameters(model, layout), model, layout, worldSize(layout) - 1);
  const present = buckets.filter((bucket) => elements[bucket] > 0);
  for (const bucket of present) {
    builder.region(gradientRegion(bucket, elements[bucket]));
    const group = bucketGroups[bucket];
    if (groupSize(layout, group) > 1)
      builder.collective(`reduce.${bucket}`, 'inter', { name: 'all_reduce', group }, [add(`gradients.${bucket}`)]);
  }
  const total = present.reduce((sum, bucket) => sum + elements[bucket], 0);
  const gradients: Use[] = present.map((bucket) => read(`gradients.${bucket}`));
  builder.region(lossRegion);
  builder.kernel('norm', 'update.norm', work('memory', total, { bytes: 4 }), [...gradients, add('loss')]);
  if (groupSize(layout, 'world') > 1)
    builder.collective('norm.reduce', 'inter', { name: 'all_reduce', group: 'world' }, [add('loss')]);
  // Reads gradient, weight and two moments, writes weight and moments, all f32.
  builder.kernel('adamw', 'update.adamw', work('memory', total, { flops: 12, bytes: 28 }), [
    ...gradients,
    read('loss'),
  ]);
  const activation = activationOf(layout);
  return builder.build('update', activation, activation);
}
