/** The dispatchers by name, and the choice of halves and chunk counts that a plan makes. */
import type { Activation } from '../schedule.js';
import { activationOf, type MoeShape } from '../moe-shape.js';
import type { Scope } from '../rows.js';
import type { OutgoingHalf, ReturningHalf } from './dispatcher.js';
import { HalfList } from './half-list.js';
import { outgoingDuplicated } from './outgoing-duplicated.js';
import { outgoingSliced } from './outgoing-sliced.js';
import { returningDuplicated } from './returning-duplicated.js';
import { returningScattered } from './returning-scattered.js';
import { returningSliced } from './returning-sliced.js';

/** The lists of halves, those first that usually win. A new half is added here, or from outside with `add`. */
export const outgoingHalves = new HalfList<OutgoingHalf>('dispatch half', [outgoingSliced, outgoingDuplicated]);
export const returningHalves = new HalfList<ReturningHalf>('combine half', [
  returningScattered,
  returningSliced,
  returningDuplicated,
]);

/** How a layer's tokens travel: the two halves, and into how many chunks each pass is cut. */
export interface Strategy {
  /** Names in `outgoingHalves` and `returningHalves`. */
  readonly dispatch: string;
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

/** What people fix without a plan: the named strategies in one piece, `pipelined` in its usual chunks. */
export const fixedStrategies: readonly Strategy[] = Object.entries(namedStrategies).map(([name, halves]) =>
  inChunks(halves, name === 'pipelined' ? pipelinedChunks : 1),
);

/** All pairs of halves that there are now, those first that usually win. */
export const allHalves = (): Halves[] =>
  outgoingHalves.names.flatMap((dispatch) => returningHalves.names.map((combine) => ({ dispatch, combine })));

/** Why a strategy can't serve a shape, or undefined. */
export const unsupportedStrategy = (strategy: Halves, shape: Pick<MoeShape, 'layout'>): string | undefined =>
  outgoingHalves.get(strategy.dispatch).unsupported(shape) ?? returningHalves.get(strategy.combine).unsupported(shape);

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
