/**
 * The end of a step as templates: gradients are summed over the ranks that share a parameter, in reductions that run
 * beside the backward pass; then their norm is taken and AdamW steps. Sums are taken in rank order element by element,
 * so how they are cut changes no bits.
 */
import { groupSize } from '../layout/mesh.js';
import { lossRegion } from './ends.js';
import { activationOf, dtypeBytes } from './moe-shape.js';
import { flatRuns, reductions, statedLayout, type FlatRun, type Reduction } from './parameter-layout.js';
import { gradientId, weightId } from './parameter-regions.js';
import { bucketGroups } from './parameter.js';
import type { ModelPart } from './parameters.js';
import type { DType, Region, Template } from './schedule.js';
import { bucketSharedUpTo, optimizerRanks } from './shared-states.js';
import type { StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';
import { memoryWork } from './work.js';

/**
 * A flat region and the slots that it is made of. Moments have none, as only the update knows them; so do the weights
 * where kernels compute with a copy of another type.
 */
function flatRegion({ region, state, run, slots }: FlatRun, compute: DType): Region {
  const weights = compute === 'f32' ? 'weight' : 'compute';
  const idOf = state === weights ? weightId : gradientId;
  const known = state === weights || state === 'gradient';
  return {
    id: region,
    dtype: state === 'compute' ? compute : 'f32',
    rows: run.length,
    columns: 1,
    order: 'rows',
    life: 'parameter',
    parts: known ? slots.map(({ slot, layer }) => ({ region: idOf(slot), layer })) : [],
  };
}

/** Declares flat regions of the parameters by their names. */
function declarer(builder: TemplateBuilder, runs: readonly FlatRun[], compute: DType): (id: string) => string {
  return (id) => {
    const run = runs.find(({ region }) => region === id);
    if (run === undefined) throw new RangeError(`no run of the parameters is called ${id}`);
    return builder.region(flatRegion(run, compute));
  };
}

/** A rank's share of a reduction's gradients. */
const ownRegion = (step: StepShape, { bucket, region }: Reduction, { run }: FlatRun): Region => ({
  id: `${region}.own`,
  dtype: 'f32',
  rows: Math.ceil(run.length / optimizerRanks(step, bucket)),
  columns: 1,
  order: 'rows',
  life: 'parameter',
});

/**
 * Templates of the reductions of the model or of a part of it, by their regions' names; each is one all_reduce over
 * the ranks that hold the same parameters, or a reduce_scatter where each of them steps its share alone. Gradients that
 * are shared are added up behind every backward (`shared-states.ts`).
 */
export function reductionTemplates(
  step: StepShape,
  part?: ModelPart,
): { readonly reduction: Reduction; readonly template: Template }[] {
  const activation = activationOf(step.layout);
  const all = reductions(step, part).filter(({ bucket }) => {
    const upTo = bucketSharedUpTo(step, bucket);
    return upTo === 'none' || upTo === 'optimizer';
  });
  const runs = flatRuns(statedLayout(step, part), all);
  return all.map((reduction) => {
    const builder = new TemplateBuilder();
    const group = bucketGroups[reduction.bucket];
    const region = declarer(builder, runs, step.dtype)(reduction.region);
    const run = runs.find((one) => one.region === region);
    // What TP ranks have a part of each is little: all of them take all of it.
    if (run !== undefined && reduction.bucket !== 'partial' && bucketSharedUpTo(step, reduction.bucket) === 'optimizer')
      builder.collective({
        id: 'scatter',
        lane: 'inter',
        collective: { name: 'reduce_scatter', group },
        operands: { from: read(region), to: write(builder.region(ownRegion(step, reduction, run))) },
      });
    else
      builder.collective({
        id: 'reduce',
        lane: 'inter',
        collective: { name: 'all_reduce', group },
        operands: { buffer: add(region) },
      });
    return { reduction, template: builder.build(`reduce.${reduction.region}`, activation, activation) };
  });
}

/**
 * The norm of all gradients and the step of AdamW, of the whole model or of the part that a stage holds, by each rank
 * of its share where ranks share the optimizer; then that of the selection biases.
 */
export function updateTemplate(step: StepShape, part?: ModelPart): Template {
  const { layout, dtype, selectionBiasRate } = step;
  const builder = new TemplateBuilder();
  const parameters = statedLayout(step, part);
  const declare = declarer(builder, flatRuns(parameters, []), dtype);
  const elements = Math.ceil(
    parameters.slots.reduce((sum, { length, bucket }) => sum + length / optimizerRanks(step, bucket), 0),
  );
  const [gradients, weights] = [declare('gradients'), declare('weights')];
  const [firstMoments, secondMoments] = [declare('firstMoments'), declare('secondMoments')];
  builder.region(lossRegion);
  builder.kernel({
    id: 'norm',
    kernel: 'update.norm',
    operands: { gradients: read(gradients), loss: add('loss') },
    work: memoryWork('copy', 4, { rows: elements }),
  });
  if (groupSize(layout, 'world') > 1)
    builder.collective({
      id: 'norm.reduce',
      lane: 'inter',
      collective: { name: 'all_reduce', group: 'world' },
      operands: { buffer: add('loss') },
    });
  // Reads gradient, weight and two moments, writes weight and moments, all f32; then the copy that kernels compute
  // with.
  const copied = dtype === 'f32' ? 0 : dtypeBytes[dtype];
  builder.kernel({
    id: 'adamw',
    kernel: 'update.adamw',
    operands: {
      gradients: read(gradients),
      loss: read('loss'),
      weights: add(weights),
      firstMoments: add(firstMoments),
      secondMoments: add(secondMoments),
      computeWeights: dtype === 'f32' ? undefined : add(declare('computeWeights')),
    },
    work: { ...memoryWork('update', 28 + copied, { rows: elements }), flopsPerRow: 12 },
  });
  const fixed = parameters.slots.filter(({ bucket }) => bucket === 'fixed');
  if (selectionBiasRate !== undefined && fixed.length > 0)
    builder.kernel({
      id: 'selectionBias',
      kernel: 'update.selectionBias',
      operands: { picks: read(gradients), loss: read('loss'), weights: add(weights) },
      arguments: { rate: selectionBiasRate },
      work: memoryWork('update', 12, { rows: fixed.reduce((sum, { length }) => sum + length, 0) }),
    });
  const activation = activationOf(layout);
  return builder.build('update', activation, activation);
}
