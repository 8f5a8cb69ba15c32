/** Launches of kernels/router.cu. */
import type { SelectionArgument } from '@monta/core';
import type { Address } from '../bindings/index.js';
import type { RouterShape } from '../../../moe/index.js';
import { nullAddress, type Launcher } from './launcher.js';

/** Tokens of a block: a warp each. */
const tokensPerBlock = 4;
const mostExperts = 1024;

function router(shape: RouterShape) {
  if (shape.experts > mostExperts) throw new RangeError(`${shape.experts} experts: at most ${mostExperts} on a GPU`);
  return {
    grid: { blocks: Math.ceil(shape.tokens / tokensPerBlock), threads: 32 * tokensPerBlock },
    parameters: {
      tokens: shape.tokens,
      experts: shape.experts,
      picks: shape.picks,
      renormalise: Number(shape.renormalise),
    },
  };
}

/**
 * Softmax in fp32 and the largest picks. logits, probabilities: fp32 tokens x experts, may be one array; ids: int32,
 * weights: fp32, tokens x picks.
 */
export function routerSelect(
  on: Launcher,
  shape: RouterShape,
  to: { readonly logits: Address; readonly probabilities: Address; readonly ids: Address; readonly weights: Address },
): void {
  const { grid, parameters } = router(shape);
  const { logits, probabilities, ids, weights } = to;
  on.launch('router', 'router_select', grid, { logits, probabilities, ids, weights, ...parameters });
}

/** dlogits in fp32 and, where `rounded` is given, in the storage type. See `routerBackward` of the CPU. */
export function routerGradient(
  on: Launcher,
  shape: RouterShape,
  of: {
    readonly probabilities: Address;
    readonly ids: Address;
    readonly dweights: Address;
    readonly dlogits: Address;
    readonly auxiliary?: Address;
    readonly rounded?: Address;
  },
): void {
  const { grid, parameters } = router(shape);
  const { scoring, scaling } = shape.selection ?? { scoring: 'softmax', scaling: 1 };
  on.launch('router', 'router_backward', grid, {
    auxiliary: nullAddress,
    rounded: nullAddress,
    ...of,
    ...parameters,
    scaling,
    sigmoid: Number(scoring === 'sigmoid'),
  });
}

const sigmoidThreads = 256;
/** The kernel keeps the chosen groups in the bits of a number. */
const mostGroups = 64;

interface Chosen {
  readonly logits: Address;
  readonly probabilities: Address;
  readonly bias?: Address;
  readonly ids: Address;
  readonly weights: Address;
}

/**
 * Scores and picks where experts are not scored by softmax and chosen by the largest: see `moe/selection.ts`. logits,
 * probabilities: fp32, may be one array; bias: fp32.
 */
export function routerChoose(
  on: Launcher,
  shape: RouterShape & { readonly selection: SelectionArgument },
  to: Chosen,
): void {
  const { scoring } = shape.selection;
  const { logits, probabilities, bias = nullAddress, ids, weights } = to;
  const count = shape.tokens * shape.experts;
  if (scoring === 'softmax') routerSelect(on, shape, { logits, probabilities, ids, weights });
  else {
    const all = { blocks: Math.ceil(count / sigmoidThreads), threads: sigmoidThreads };
    on.launch('router', 'router_sigmoid', all, { logits, probabilities, count });
  }
  chooseByScores(on, shape, { scores: probabilities, bias, ids, weights });
}

/** The second half: picks by scores that are there. */
export function chooseByScores(
  on: Launcher,
  shape: RouterShape & { readonly selection: SelectionArgument },
  { bias = nullAddress, ...to }: Omit<Chosen, 'logits' | 'probabilities'> & { readonly scores: Address },
): void {
  const { grid, parameters } = router(shape);
  const { scaling, groups } = shape.selection;
  const { groups: number = 0, chosen = 0, by = 'largest' } = groups ?? {};
  if (number > mostGroups) throw new RangeError(`${number} groups of experts: at most ${mostGroups} on a GPU`);
  const sharedBytes = 4 * tokensPerBlock * (shape.experts + number);
  const ofGroups = { groups: number, chosen, judges: by === 'largest' ? 1 : 2 };
  const launched = { bias, scaling, ...to, ...parameters, ...ofGroups };
  on.launch('router', 'router_choose', { ...grid, sharedBytes }, launched);
}

/** picks (fp32, by expert) += how often each is among `count` ids, dropped or not. See `addPicks` of the CPU. */
export function addPicks(
  on: Launcher,
  to: { readonly ids: Address; readonly picks: Address },
  { count, experts }: { readonly count: number; readonly experts: number },
): void {
  on.launch('router', 'add_picks', { blocks: experts, threads: dropThreads }, { count, ...to });
}

const dropThreads = 256;

interface Drop {
  /** Of all tokens that share the capacity. */
  readonly tokens: number;
  readonly experts: number;
  readonly picks: number;
  /** Picks that an expert keeps. */
  readonly capacity: number;
}

const dropGrid = ({ experts }: Drop) => ({ blocks: experts, threads: dropThreads });

/** Marks picks beyond the capacity: see `dropByProbability` of the CPU. ids: int32, weights: fp32, tokens x picks. */
export function dropRouted(
  on: Launcher,
  drop: Drop,
  to: { readonly probabilities: Address; readonly ids: Address; readonly weights: Address },
): void {
  const { tokens, experts, picks, capacity } = drop;
  on.launch('router', 'drop_routed', dropGrid(drop), { count: tokens * picks, experts, picks, capacity, ...to });
}

/** The same of picks that several ranks noted: ids and weights are of the tokens of `slice`. */
export function dropGathered(
  on: Launcher,
  drop: Drop & { readonly slice: { readonly start: number; readonly end: number } },
  to: { readonly noted: Address; readonly ids: Address; readonly weights: Address },
): void {
  const { tokens, picks, capacity, slice } = drop;
  const range = { first: slice.start * picks, end: slice.end * picks };
  on.launch('router', 'drop_gathered', dropGrid(drop), { count: tokens * picks, picks, capacity, ...range, ...to });
}

/** noted: fp32, tokens x 2 x picks: a token's picks as numbers, then their probabilities. */
export function notePicks(
  on: Launcher,
  { tokens, experts, picks }: Omit<Drop, 'capacity'>,
  to: { readonly probabilities: Address; readonly ids: Address; readonly noted: Address },
): void {
  const count = tokens * picks;
  const grid = { blocks: Math.ceil(count / dropThreads), threads: dropThreads };
  on.launch('router', 'note_picks', grid, { count, experts, picks, ...to });
}
