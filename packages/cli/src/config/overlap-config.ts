/** What runs beside what, as flags and configurations say it: every kind of overlap has a flag of its own. */
import type { FieldMap, Overlap, OverlapKind, StepOverlap } from '@monta/core';
import { overlapKinds } from '@monta/core/schedule';

/** Flags by kind; all but `overlapPasses`, which takes memory, are on where nothing is said. */
export interface OverlapFlags {
  readonly overlapChunks?: boolean;
  readonly overlapExperts?: boolean;
  readonly overlapShared?: boolean;
  readonly overlapWeightGradients?: boolean;
  readonly overlapReductions?: boolean;
  readonly overlapPasses?: boolean;
}

const onUnlessSaid = (brief: string) => ({ kind: 'boolean', brief, optional: true }) as const;

/** The flags, to be spread into a command's. */
export const overlapFlags = {
  overlapChunks: onUnlessSaid("A chunk's all_gather beside its neighbours' all_to_all (on unless --no-overlap-chunks)"),
  overlapExperts: onUnlessSaid("A chunk's expert GEMMs beside the transfers of others"),
  overlapShared: onUnlessSaid('The experts that every token visits beside dispatch and combine'),
  overlapWeightGradients: onUnlessSaid("The experts' weight gradients beside the backward of the dispatch"),
  overlapReductions: onUnlessSaid('The reduction of gradients, in slices, beside the backward pass'),
  overlapPasses: onUnlessSaid(
    "A micro-batch's forward beside the backward of the one before (off unless said: two layers work at a time)",
  ),
} as const;

const flagOf = {
  chunks: 'overlapChunks',
  experts: 'overlapExperts',
  shared: 'overlapShared',
  weightGradients: 'overlapWeightGradients',
} as const satisfies Record<OverlapKind, keyof OverlapFlags>;

/** Kinds whose flag was given, on or off: they are not for a plan to choose. */
export const givenKinds = (flags: OverlapFlags) => ({
  layer: overlapKinds.filter((kind) => flags[flagOf[kind]] !== undefined),
  step: (['reductions', 'passes'] as const).filter((kind) => flags[stepKinds[kind]] !== undefined),
});

/** What a step is told: the kinds that were given, on or off. */
export function overlapOf(flags: OverlapFlags): StepOverlap {
  const { layer } = givenKinds(flags);
  const { overlapReductions, overlapPasses } = flags;
  return {
    ...(layer.length === 0
      ? {}
      : { overlap: Object.fromEntries(layer.map((kind) => [kind, flags[flagOf[kind]]])) satisfies Overlap }),
    ...(overlapReductions === undefined ? {} : { reductions: overlapReductions ? 'beside' : 'behind' }),
    ...(overlapPasses === undefined ? {} : { passes: overlapPasses ? 'beside' : 'behind' }),
  };
}

/** Kinds that are a step's, not a layer's. */
const stepKinds = { reductions: 'overlapReductions', passes: 'overlapPasses' } as const;

/** Flags over what a file says: `overlap: { chunks: false, passes: true }`. Throws `InputError`. */
export function overlapFrom(map: FieldMap | undefined, flags: OverlapFlags): StepOverlap {
  const names = { ...flagOf, ...stepKinds };
  const fields = map?.get('overlap')?.map(Object.keys(names));
  const given = Object.entries(names).map(([kind, flag]) => [flag, flags[flag] ?? fields?.get(kind)?.boolean()]);
  return overlapOf(Object.fromEntries(given) as OverlapFlags);
}

/** As a file has it. */
export const overlapDocument = ({ overlap, reductions, passes }: StepOverlap) =>
  overlap === undefined && reductions === undefined && passes === undefined
    ? {}
    : {
        overlap: {
          ...overlap,
          ...(reductions === undefined ? {} : { reductions: reductions === 'beside' }),
          ...(passes === undefined ? {} : { passes: passes === 'beside' }),
        },
      };
