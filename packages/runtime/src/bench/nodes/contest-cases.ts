/** The layers on which the plan's choice is judged: of sizes, experts, layouts and routings with different winners. */
import type { Layout, MoeShape, Routing } from '@monta/core';
import { formatLayout, parseLayout } from '@monta/core/layout';
import { dtypeBytes } from '@monta/core/schedule';

export interface NamedCase {
  readonly name: string;
  readonly shape: MoeShape;
  /** Dispatched bytes of a replica. */
  readonly mebibytes: number;
  readonly routing: Routing;
  /** Of the routing; 1 unless given. */
  readonly seed?: number;
  /** Names of halves to measure; all that the layout allows when left out. */
  readonly only?: readonly string[];
  /** Whether the fixed strategies are measured, to the end, however slow; they are unless this is false. */
  readonly keepFixed?: boolean;
  /** Chunk counts that are measured, and among which the plan chooses. */
  readonly chunkCounts: readonly number[];
}

interface CaseWords {
  readonly layout: Layout;
  /** Dispatched bytes of a replica: T x k x h x bytes of an element. */
  readonly mebibytes: number;
  readonly hiddenSize: number;
  readonly experts: number;
  readonly topK: number;
  readonly routing?: Routing;
  readonly chunkCounts?: readonly number[];
}

const mebibyte = 2 ** 20;
const uniform: Routing = { kind: 'uniform' };
const skewed: Routing = { kind: 'zipf', exponent: 1 };
const fewChunks = [1, 2, 4];
const allChunks = [1, 2, 4, 8];

/** A layer with as many tokens as bring its dispatched rows to the bytes wanted. */
export function namedCase(words: CaseWords, dtype: 'f32' | 'bf16'): NamedCase {
  const { layout, mebibytes, hiddenSize, experts, topK, routing = uniform, chunkCounts = fewChunks } = words;
  const { tp } = layout;
  const tokens = tp * Math.max(1, Math.round((mebibytes * mebibyte) / (topK * hiddenSize * dtypeBytes[dtype] * tp)));
  const shape: MoeShape = { tokens, hiddenSize, expertFfn: hiddenSize, experts, topK, layout, dtype };
  const skew = routing.kind === 'uniform' ? '' : ', skewed';
  return {
    name: `${formatLayout(layout)}: ${experts} experts, top-${topK}, hidden ${hiddenSize}, ${mebibytes} MiB${skew}`,
    shape,
    mebibytes,
    routing,
    chunkCounts,
  };
}

/** The table of strategies: the layer of the 2x70B, whose both experts every token visits, on two nodes of TP ranks. */
export function strategyCases(
  dtype: 'f32' | 'bf16',
  mebibytes: readonly number[],
  { tp = 2, smaller = 1 }: { readonly tp?: number; readonly smaller?: number } = {},
): NamedCase[] {
  const layout = parseLayout(`tp=${tp},dp=2,ep=2`);
  const words = { layout, hiddenSize: 8192 / smaller, experts: 2, topK: 2, chunkCounts: allChunks };
  return mebibytes.map((size) => namedCase({ ...words, mebibytes: size }, dtype));
}

/** Experts and picks a token: few large ones, Mixtral's, and many small ones. */
const kinds = [
  { experts: 2, topK: 1, hiddenSize: 8192 },
  { experts: 8, topK: 1, hiddenSize: 4096 },
  { experts: 8, topK: 2, hiddenSize: 4096 },
  { experts: 8, topK: 4, hiddenSize: 4096 },
  { experts: 64, topK: 6, hiddenSize: 2048 },
  { experts: 128, topK: 8, hiddenSize: 2048 },
] as const;

/** Layers of two nodes of TP ranks; widths and volumes are divided by `smaller`. */
export function choiceCases(dtype: 'f32' | 'bf16', tp = 2, smaller = 1): NamedCase[] {
  const ranks = 2 * tp;
  const layouts = [
    `tp=${tp},dp=2,ep=2`,
    `tp=${tp},dp=2,ep=2,sp`,
    `tp=1,dp=${ranks},ep=${ranks}`,
    `tp=${tp},dp=2,ep=${ranks},etp=1`,
  ].map((text) => parseLayout(text));
  const everywhere = layouts.flatMap((layout) =>
    kinds.map((kind, place) => ({ layout, mebibytes: place % 2 === 0 ? 32 : 16, ...kind })),
  );
  const [plain, , wide] = layouts;
  const more = [
    ...[4, 64, 128].flatMap((mebibytes) => [kinds[2], kinds[5]].map((kind) => ({ layout: plain, mebibytes, ...kind }))),
    ...[4, 64].flatMap((mebibytes) => [kinds[2], kinds[5]].map((kind) => ({ layout: wide, mebibytes, ...kind }))),
    ...[plain, wide].flatMap((layout) =>
      [kinds[2], kinds[3], kinds[5]].map((kind) => ({ layout, mebibytes: 32, routing: skewed, ...kind })),
    ),
    ...[kinds[1], kinds[2], kinds[4]].map((kind) => ({ layout: plain, mebibytes: 48, chunkCounts: [1], ...kind })),
  ];
  const fitting = [...everywhere, ...more].filter(({ experts, layout }) => experts % layout.ep === 0);
  return mixed(fitting).map((words) => namedCase(scaled(words, smaller), dtype));
}

const scaled = (words: CaseWords, smaller: number): CaseWords => ({
  ...words,
  hiddenSize: words.hiddenSize / smaller,
  mebibytes: words.mebibytes / smaller,
});

/** In an order in which neighbours differ, so that a list that time cuts short still holds some of all kinds. */
function mixed<Item>(items: readonly Item[]): Item[] {
  const stride = 7;
  return items
    .map((item, place) => ({ item, at: (place * stride) % items.length }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Layers of the ranks of one node: EP over all of them. */
export const insideCases = (dtype: 'f32' | 'bf16', ranks = 2, smaller = 1): NamedCase[] =>
  [32, 256].flatMap((mebibytes) =>
    [kinds[2], kinds[5]].map((kind) =>
      namedCase(
        scaled(
          { layout: parseLayout(`tp=1,dp=${ranks},ep=${ranks}`), mebibytes, chunkCounts: allChunks, ...kind },
          smaller,
        ),
        dtype,
      ),
    ),
  );
