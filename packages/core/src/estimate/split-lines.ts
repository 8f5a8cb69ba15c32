/**
 * What layers and ends of a model take under one split over ranks, as straight lines over the tokens of a micro-batch:
 * worked out at two numbers of tokens, once a split, where a search asks for very many.
 */
import type { LayerKinds } from './layer-amounts.js';
import { endPrice, expertExchange, layerWork, type LayerWork, type PriceContext } from './layer-prices.js';
import { dispatchKinds, type DispatchKind } from './run-setting.js';

/** Degrees that split a layer's work, as well as the tokens of its rank. */
export interface Split {
  readonly tp: number;
  readonly ep: number;
  readonly etp: number;
}

/** Names of the values that grow with the tokens, in the order of their places in a row. */
const growing = [
  'projections',
  'feedForward',
  'grouped',
  'elements',
  'attention',
  'attentionBackward',
  'tp',
] as const satisfies readonly (keyof LayerWork)[];

/** Places of a kind's values in `layers`; the experts' exchange lies behind them, two places a way: both passes. */
export const place = {
  projections: 0,
  feedForward: 1,
  grouped: 2,
  elements: 3,
  attention: 4,
  attentionBackward: 5,
  tp: 6,
  dense: 7,
  expert: 8,
  launching: 9,
} as const satisfies Partial<Record<keyof LayerWork, number>>;

/** Of a forward pass; that of a backward pass comes next. */
export const placeOfDispatcher: Readonly<Record<DispatchKind, number>> = {
  all_to_all: 10,
  deduplicated: 12,
  gathered: 14,
};

/** Values of a kind. */
export const valuesOfKind = 16;

/** Places of the ends' values in `ends`. */
export const endPlace = {
  embedding: 0,
  logits: 1,
  multiToken: 2,
  embeddingParameters: 3,
  outputParameters: 4,
} as const;

export const valuesOfEnds = 5;

/** Values at no tokens, and behind each what every token adds. */
export interface SplitLines {
  /** `valuesOfKind` of each kind of layer, one kind behind the other. */
  readonly layers: Float64Array;
  readonly ends: Float64Array;
}

/** A value at so many tokens. */
export const valueAt = (lines: Float64Array, value: number, tokens: number): number =>
  (lines[2 * value] ?? 0) + (lines[2 * value + 1] ?? 0) * tokens;

/** Tokens at which lines are drawn, beside none: far off, so that differences keep their digits. */
const far = 2 ** 24;

function linesBetween(none: Float64Array, many: Float64Array): Float64Array {
  const lines = new Float64Array(2 * none.length);
  for (const [value, least] of none.entries()) {
    lines[2 * value] = least;
    lines[2 * value + 1] = ((many[value] ?? 0) - least) / far;
  }
  return lines;
}

function layerValues(context: PriceContext, { kinds }: LayerKinds, split: Split, tokens: number): Float64Array {
  const values = new Float64Array(kinds.length * valuesOfKind);
  kinds.forEach((kind, index) => {
    const first = index * valuesOfKind;
    const share = { ...split, cp: 1, tokens };
    const work = layerWork(context, kind, share);
    for (const name of [...growing, 'dense', 'expert', 'launching'] as const) values[first + place[name]] = work[name];
    for (const dispatcher of dispatchKinds) {
      const { forward, backward } = expertExchange(context, kind, share, dispatcher);
      values[first + placeOfDispatcher[dispatcher]] = forward;
      values[first + placeOfDispatcher[dispatcher] + 1] = backward;
    }
  });
  return values;
}

function endValues(context: PriceContext, split: Split, tokens: number): Float64Array {
  const price = endPrice(context, { ...split, tokens });
  const values = new Float64Array(valuesOfEnds);
  for (const name of Object.keys(endPlace) as (keyof typeof endPlace)[]) values[endPlace[name]] = price[name];
  return values;
}

export function splitLines(context: PriceContext, kinds: LayerKinds, split: Split): SplitLines {
  return {
    layers: linesBetween(layerValues(context, kinds, split, 0), layerValues(context, kinds, split, far)),
    ends: linesBetween(endValues(context, split, 0), endValues(context, split, far)),
  };
}
