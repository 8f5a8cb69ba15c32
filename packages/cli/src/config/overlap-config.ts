/** What runs beside what, as flags and configurations say it: every kind of overlap has a flag of its own. */
import { overlapKinds, type FieldMap, type Overlap, type OverlapKind, type StepShape } from '@monta/core';

/** Flags by kind; all are on where nothing is said. */
export interface OverlapFlags {
  readonly overlapChunks?: boolean;
  readonly overlapExperts?: boolean;
  readonly overlapShared?: boolean;
  readonly overlapWeightGradients?: boolean;
  readonly overlapReductions?: boolean;
}

const onUnlessSaid = (brief: string) => ({ kind: 'boolean', brief, optional: true }) as const;

/** Stages of chunks: the only kind that dispatch and combine alone have. */
export const chunksFlag = {
  overlapChunks: onUnlessSaid("A chunk's all_gather beside its neighbours' all_to_all (on unless --no-overlap-chunks)"),
} as const;

/** The flags, to be spread into a command's. */
export const overlapFlags = {
  ...chunksFlag,
  overlapExperts: onUnlessSaid("A chunk's expert GEMMs beside the transfers of others"),
  overlapShared: onUnlessSaid('The experts that every token visits beside dispatch and combine'),
  overlapWeightGradients: onUnlessSaid("The experts' weight gradients beside the backward of the dispatch"),
  overlapReductions: onUnlessSaid('The reduction of gradients, in slices, beside the backward pass'),
} as const;

const flagOf = {
  chunks: 'overlapChunks',
  experts: 'overlapExperts',
  shared: 'overlapShared',
  weightGradients: 'overlapWeightGradients',
} as const satisfies Record<OverlapKind, keyof OverlapFlags>;

/** What a step is told, of what is switched off. */
export function overlapOf(flags: OverlapFlags): Pick<StepShape, 'overlap' | 'reductions'> {
  const off = overlapKinds.filter((kind) => flags[flagOf[kind]] === false);
  return {
    ...(off.length === 0 ? {} : { overlap: Object.fromEntries(off.map((kind) => [kind, false])) satisfies Overlap }),
    ...(flags.overlapReductions === false ? { reductions: 'behind' } : {}),
  };
}

/** Flags over what a file says: `overlap: { chunks: false, reductions: false }`. Throws `InputError`. */
export function overlapFrom(map: FieldMap | undefined, flags: OverlapFlags): Pick<StepShape, 'overlap' | 'reductions'> {
  const fields = map?.get('overlap')?.map([...overlapKinds, 'reductions']);
  const said = (kind: OverlapKind | 'reductions'): boolean | undefined => fields?.get(kind)?.boolean();
  const given = Object.fromEntries(overlapKinds.map((kind) => [flagOf[kind], flags[flagOf[kind]] ?? said(kind)]));
  return overlapOf({ ...given, overlapReductions: flags.overlapReductions ?? said('reductions') });
}

/** As a file has it. */
export const overlapDocument = ({ overlap, reductions }: Pick<StepShape, 'overlap' | 'reductions'>) =>
  overlap === undefined && reductions === undefined
    ? {}
    : { overlap: { ...overlap, ...(reductions === 'behind' ? { reductions: false } : {}) } };
