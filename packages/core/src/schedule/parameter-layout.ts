/**
 * Where a rank's parameters lie in its flat states (weights, gradients, moments, which all have this layout): bucket
 * after bucket, and within a bucket slot after slot in the order of the layers, so that kernels, gradient reductions
 * and the update all name runs of it.
 */
import { groupSize, worldSize } from '../layout/mesh.js';
import { bucketGroups, buckets, type Bucket, type Parameter, type Slot } from './parameter.js';
import { parameters, shardElements, type ModelPart } from './parameters.js';
import type { StepShape } from './step-shape.js';

/** A run of elements. */
export interface Run {
  readonly offset: number;
  readonly length: number;
}

/** A parameter's shard, row-major. */
export interface PlacedParameter extends Run {
  readonly parameter: Parameter;
}

/** All parameters of one slot of one layer, one after another. */
export interface PlacedSlot extends Run {
  readonly layer: number;
  readonly slot: Slot;
  readonly bucket: Bucket;
  readonly parameters: readonly PlacedParameter[];
}

export interface ParameterLayout {
  /** Elements of each flat state, gaps between buckets and slots included. */
  readonly elements: number;
  /** In the order of memory. */
  readonly slots: readonly PlacedSlot[];
}

/** Buckets start at multiples of so many elements: 64 bytes of f32. */
const alignment = 16;
/** And the slots in them at these: 16 bytes of bf16, which a card reads at a time. */
const slotAlignment = 8;

/** The layout on a rank, of the whole model or of the part that its stage holds. */
export function parameterLayout(
  step: Pick<StepShape, 'model' | 'layout'>,
  rank: number,
  part?: ModelPart,
): ParameterLayout {
  const { model, layout } = step;
  const bySlot = new Map<string, Parameter[]>();
  for (const parameter of parameters(model, layout, part, rank)) {
    const key = `${parameter.layer} ${parameter.slot}`;
    const alike = bySlot.get(key);
    if (alike === undefined) bySlot.set(key, [parameter]);
    else alike.push(parameter);
  }
  const slots: PlacedSlot[] = [];
  let offset = 0;
  for (const bucket of buckets) {
    offset = Math.ceil(offset / alignment) * alignment;
    for (const alike of bySlot.values()) {
      const [{ layer, slot, bucket: own } = { layer: -1, slot: 'head' as const, bucket: undefined }] = alike;
      if (own !== bucket) continue;
      offset = Math.ceil(offset / slotAlignment) * slotAlignment;
      const start = offset;
      const placed = alike.map((parameter): PlacedParameter => {
        const length = shardElements(parameter, layout, rank);
        offset += length;
        return { parameter, offset: offset - length, length };
      });
      slots.push({ layer, slot, bucket, offset: start, length: offset - start, parameters: placed });
    }
  }
  return { elements: offset, slots };
}

/**
 * The layout on the last rank, whose shards are the longest or equal: what a program that all ranks share states as
 * sizes.
 */
export function statedLayout(step: Pick<StepShape, 'model' | 'layout'>, part?: ModelPart): ParameterLayout {
  const { model, layout } = step;
  const known = part && knownLayouts.get(part);
  if (known?.model === model && known.layout === layout) return known.made;
  const made = parameterLayout(step, worldSize(layout) - 1, part);
  if (part !== undefined) knownLayouts.set(part, { model, layout, made });
  return made;
}

/** Of a part of a model, which is asked for its reductions, their runs and its update: the last layout of each. */
const knownLayouts = new WeakMap<ModelPart, Pick<StepShape, 'model' | 'layout'> & { readonly made: ParameterLayout }>();

/** Runs of a flat state that regions of their own name. */
export interface FlatRun {
  readonly region: string;
  /** compute: the weights in the type that kernels compute in, where that is not f32. */
  readonly state: 'weight' | 'compute' | 'gradient' | 'firstMoment' | 'secondMoment';
  readonly run: Run;
  /** The slots that lie in it. */
  readonly slots: readonly PlacedSlot[];
}

/**
 * Gradients that are summed over their group in one collective, beside the backward pass: a run of one bucket, from the
 * slots of the layer `stage` up. They are ready once the backward of `stage` has ended; the head counts as the layer
 * behind the last, the embedding as -1.
 */
export interface Reduction {
  readonly bucket: Bucket;
  readonly region: string;
  readonly stage: number;
  /** In the order of memory. */
  readonly slots: readonly Pick<PlacedSlot, 'layer' | 'slot'>[];
}

/**
 * Least bytes of gradients in a reduction, unless nothing is left: small ones pay latency over and over. It ends with a
 * layer all the same, so that large layers have one each. (PyTorch's DistributedDataParallel takes 25 MB, for networks
 * slower than those inside a cluster.)
 */
export const usualReductionBytes = 4 * 2 ** 20;

const gradientBytes = 4;

/**
 * Reductions of a step, in the order in which the backward makes them ready. Decided from what all ranks know alike.
 */
export function reductions(
  step: Pick<StepShape, 'model' | 'layout' | 'reductionBytes' | 'selectionBiasRate'>,
  part?: ModelPart,
): Reduction[] {
  const { model, layout, reductionBytes = usualReductionBytes, selectionBiasRate } = step;
  const { slots } = statedLayout(step, part);
  const stageOf = ({ layer, slot }: PlacedSlot): number =>
    slot === 'embedding' ? -1 : layer < 0 ? model.layers : layer;
  const found: Reduction[] = [];
  for (const bucket of buckets) {
    if (groupSize(layout, bucketGroups[bucket]) === 1) continue;
    if (bucket === 'fixed' && selectionBiasRate === undefined) continue;
    let open: PlacedSlot[] = [];
    let number = 0;
    const close = (): void => {
      const [first] = open;
      if (first === undefined) return;
      found.push({ bucket, region: `gradients.${bucket}.${number++}`, stage: stageOf(first), slots: open });
      open = [];
    };
    for (const placed of slots.filter((one) => one.bucket === bucket).reverse()) {
      const [before] = open;
      const bytes = open.reduce((sum, { length }) => sum + length, 0) * gradientBytes;
      if (before !== undefined && stageOf(before) !== stageOf(placed) && bytes >= reductionBytes) close();
      open = [placed, ...open];
    }
    close();
  }
  return found.sort((a, b) => b.stage - a.stage);
}

/** Flat regions of a rank's layout: each whole state, and the gradients of every reduction. */
export function flatRuns({ elements, slots }: ParameterLayout, reduced: readonly Reduction[]): FlatRun[] {
  const whole = { run: { offset: 0, length: elements }, slots };
  const states: FlatRun[] = [
    { region: 'weights', state: 'weight', ...whole },
    { region: 'computeWeights', state: 'compute', ...whole },
    { region: 'gradients', state: 'gradient', ...whole },
    { region: 'firstMoments', state: 'firstMoment', ...whole },
    { region: 'secondMoments', state: 'secondMoment', ...whole },
  ];
  const byKey = new Map(slots.map((placed) => [`${placed.layer} ${placed.slot}`, placed]));
  const runs = reduced.flatMap(({ region, slots: keys }): FlatRun[] => {
    const held = keys.flatMap(({ layer, slot }) => byKey.get(`${layer} ${slot}`) ?? []);
    const [first, last] = [held[0], held.at(-1)];
    if (first === undefined || last === undefined) return [];
    const run = { offset: first.offset, length: last.offset + last.length - first.offset };
    return [{ region, state: 'gradient', run, slots: held }];
  });
  return [...states, ...runs];
}
