/** The dispatchers by name, and the choice of halves and chunk counts that a plan makes. */
import type { Activation } from '../schedule.js';
import { activationOf, type MoeShape } from '../moe-shape.js';
import type { Scope } from '../rows.js';
import { returnsRows, type OutgoingHalf, type ReturningHalf } from './dispatcher.js';
import { outgoingDeduplicated, returningDeduplicated } from './deduplicated.js';
import { outgoingDeduplicatedGathered, returningDeduplicatedGathered } from './deduplicated-gathered.js';
import { outgoingGathered, returningGathered } from './gathered.js';
import { HalfList } from './half-list.js';
import { outgoingHierarchical, returningHierarchical } from './hierarchical.js';
import { outgoingDuplicated } from './outgoing-duplicated.js';
import { outgoingSliced } from './outgoing-sliced.js';
import { returningDuplicated } from './returning-duplicated.js';
import { returningScattered } from './returning-scattered.js';
import { returningSliced } from './returning-sliced.js';

/** The lists of halves, those first that usually win. A new half is added here, or from outside with `add`. */
export const outgoingHalves = new HalfList<OutgoingHalf>('dispatch half', [
  outgoingSliced,
  outgoingDeduplicated,
  outgoingDeduplicatedGathered,
  outgoingHierarchical,
  outgoingGathered,
  outgoingDuplicated,
]);
export const returningHalves = new HalfList<ReturningHalf>('combine half', [
  returningScattered,
  returningDeduplicated,
  returningDeduplicatedGathered,
  returningHierarchical,
  returningGathered,
  returningSliced,
  returningDuplicated,
]);

/** How a layer's tokens travel: the two halves, and into how many chunks each pass is cut. */
export interface Strategy {
  /** The half that sends rows to their experts, of `outgoingHalves`. */
  readonly dispatch: string;
  /** The half that brings rows back, of `returningHalves`. */
  readonly combine: string;
  readonly chunks: { readonly forward: number; readonly backward: number };
}

/** Two halves, whatever their chunks. */
export type Halves = Omit<Strategy, 'chunks'>;

/**
 * Names of the field. `pipelined` is `sliced` in chunks; it takes its count from the choice (`pipelinedChunks` where
 * none is made).
 */
export const namedStrategies = {
  duplicated: { dispatch: 'duplicated', combine: 'duplicated' },
  sliced: { dispatch: 'sliced', combine: 'sliced' },
  pipelined: { dispatch: 'sliced', combine: 'sliced' },
  scattered: { dispatch: 'sliced', combine: 'scattered' },
  deduplicated: { dispatch: 'deduplicated', combine: 'deduplicated' },
  'deduplicated-gathered': { dispatch: 'deduplicated-gathered', combine: 'deduplicated-gathered' },
  hierarchical: { dispatch: 'hierarchical', combine: 'hierarchical' },
  gathered: { dispatch: 'gathered', combine: 'gathered' },
} as const satisfies Record<string, Halves>;

export type StrategyName = keyof typeof namedStrategies;

/** Both passes in so many chunks. */
export const inChunks = ({ dispatch, combine }: Halves, chunks: number): Strategy => ({
  dispatch,
  combine,
  chunks: { forward: chunks, backward: chunks },
});

/** What is meant by `pipelined` without a count: MoNTA's public code cuts into 4. */
export const pipelinedChunks = 4;

/** What people fix without a plan, in one piece, `pipelined` in its usual chunks. */
export const fixedStrategies: readonly Strategy[] = (
  ['duplicated', 'sliced', 'pipelined', 'scattered', 'deduplicated', 'hierarchical', 'gathered'] as const
).map((name) => inChunks(namedStrategies[name], name === 'pipelined' ? pipelinedChunks : 1));

/** All pairs of halves that there are now, those first that usually win. */
export const allHalves = (): Halves[] =>
  outgoingHalves.names.flatMap((dispatch) => returningHalves.names.map((combine) => ({ dispatch, combine })));

/** Halves that only move expert rows over the expert group and over etp. Each of them goes with each. */
const plainHalves = ['sliced', 'scattered', 'duplicated'];

/** Whether both halves only move expert rows over the expert group and over etp. */
export const plainPair = ({ dispatch, combine }: Halves): boolean =>
  plainHalves.includes(dispatch) && plainHalves.includes(combine);

/**
 * Pairs that a search tries: all of plain halves and of what was added to the lists from outside, and the others each
 * with its own kind. Any other pair is run and priced by its name.
 */
export const searchedHalves = (): Halves[] => {
  const own = new Set<string>(Object.values(namedStrategies).flatMap(({ dispatch, combine }) => [dispatch, combine]));
  const free = (name: string): boolean => plainHalves.includes(name) || !own.has(name);
  return allHalves().filter(({ dispatch, combine }) => dispatch === combine || (free(dispatch) && free(combine)));
};

/**
 * Pairs after which a token's picks are summed where it is, in the order of its picks: losses are the same to the last
 * bit whichever of them is taken. Tokens may travel there deduplicated, and their experts' rows come back one by one.
 */
export const sameSums = (): Halves[] => {
  const copies = ['deduplicated', 'deduplicated-gathered'].map((dispatch) => ({ dispatch, combine: 'scattered' }));
  return [...searchedHalves().filter((halves) => !sumsOnTheWay(halves)), ...copies];
};

/** Why a strategy can't serve a shape, or undefined. */
export const unsupportedStrategy = (strategy: Halves, shape: Pick<MoeShape, 'layout'>): string | undefined =>
  outgoingHalves.get(strategy.dispatch).unsupported(shape) ?? returningHalves.get(strategy.combine).unsupported(shape);

/** Whether all ranks of an expert group must know the picks of all its tokens, and not only their sums. */
export const exchangesPicks = (strategy: Halves): boolean =>
  outgoingHalves.get(strategy.dispatch).picks === true || returningHalves.get(strategy.combine).picks === true;

/** Whether gradients of expert rows are weighted at their experts: where a row that travels may serve several picks. */
export const weighsAtExperts = (strategy: Halves): boolean =>
  outgoingHalves.get(strategy.dispatch).shared === true || sumsOnTheWay(strategy);

/** Whether a token's picks are summed before they are back, so that its expert rows are only where its experts are. */
export const sumsOnTheWay = (strategy: Halves): boolean => !returnsRows(returningHalves.get(strategy.combine));

/** Tokens whose returned rows a rank sums, and whose routing it differentiates. */
export const combineScope = (strategy: Strategy, activation: Activation): Scope =>
  returningHalves.get(strategy.combine).scope(activation);

/** Tokens that a rank must route: more than its slice when either half needs them all. Without TP they are the same. */
export function routingScope(strategy: Strategy, shape: MoeShape): Scope {
  if (shape.layout.tp === 1) return 'slice';
  return outgoingHalves.get(strategy.dispatch).scope === 'replica' ||
    returningHalves.get(strategy.combine).routing(activationOf(shape.layout)) === 'replica'
    ? 'replica'
    : 'slice';
}
