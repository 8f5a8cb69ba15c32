/**
 * Where a rank's parameters lie in its flat states (weights, gradients, moments, which all have this layout): bucket after bucket, and within
 * a bucket slot after slot in the order of the layers, so that kernels, gradient reductions and the update all name runs of it.
 */
import { worldSize } from '../layout/mesh.js';
import {
  bucketGroups,
  holdsParameter,
  parameters,
  shardElements,
  type Bucket,
  type Parameter,
  type Slot,
} from './parameters.js';
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
  /** Elements of each flat state, gaps between buckets included. */
  readonly elements: number;
  /** In the order of memory. */
  readonly slots: readonly PlacedSlot[];
}

/** Buckets start at multiples of so many elements: 64 bytes of f32. */
const alignment = 16;

/** The layout on a rank. */
export function parameterLayout(step: Pick<StepShape, 'model' | 'layout'>, rank: number): ParameterLayout {
  const { model, layout } = step;
  const bySlot = new Map<string, Parameter[]>();
  for (const parameter of parameters(model, layout)) {
    if (!holdsParameter(parameter, model, layout, rank)) continue;
    const key = `${parameter.layer} ${parameter.slot}`;
    const alike = bySlot.get(key);
    if (alike === undefined) bySlot.set(key, [parameter]);
    else alike.push(parameter);
  }
  const slots: PlacedSlot[] = [];
  let offset = 0;
  for (const bucket of Object.keys(bucketGroups) as Bucket[]) {
    offset = Math.ceil(offset / alignment) * alignment;
    for (const alike of bySlot.values()) {
      const [{ layer, slot, bucket: own } = { layer: -1, slot: 'head' as const, bucket: undefined }] = alike;
      if (own !== bucket) continue;
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

/** The layout on the last rank, whose shards are the longest or equal: what a program that all ranks share states as sizes. */
export const statedLayout = (step: Pick<StepShape, 'model' | 'layout'>): ParameterLayout =>
  parameterLayout(step, worldSize(step.layout) - 1);

/** Runs of a flat state that regions of their own name. */
export interface FlatRun {
  readonly region: string;
  readonly state: 'weight' | 'gradient' | 'firstMoment' | 'secondMoment';
  readonly run: Run;
  /** The slots that lie in it. */
  readonly slots: readonly PlacedSlot[];
}

/** Flat regions of a layout: each whole state, and the gradients of every bucket. */
export function flatRuns({ elements, slots }: ParameterLayout): FlatRun[] {
  const whole = { run: { offset: 0, length: elements }, slots };
  const states: FlatRun[] = [
    { region: 'weights', state: 'weight', ...whole },
    { region: 'gradients', state: 'gradient', ...whole },
    { region: 'firstMoments', state: 'firstMoment', ...whole },
    { region: 'secondMoments', state: 'secondMoment', ...whole },
  ];
  const buckets = (Object.keys(bucketGroups) as Bucket[]).flatMap((bucket): FlatRun[] => {
    const held = slots.filter((placed) => placed.bucket === bucket);
    const [first, last] = [held[0], held.at(-1)];
    if (first === undefined || last === undefined) return [];
    const run = { offset: first.offset, length: last.offset + last.length - first.offset };
    return [{ region: `gradients.${bucket}`, state: 'gradient', run, slots: held }];
  });
  return [...states, ...buckets];
}
