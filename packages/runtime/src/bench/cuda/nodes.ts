/**
 * The part of a GPU run that needs several cards of one host: TP over all of them (eight at most) x EP=2 as two virtual
 * nodes, links of the cards inside and the loopback between; narrower TP beside it; and EP inside one node.
 */
import { parseLayout } from '@monta/core';
import {
  choiceCases,
  insideCases,
  measureArrangement,
  strategyCases,
  type ArrangementRequest,
  type NodesReport,
} from '../nodes/index.js';
import { cardsCluster, cardsHere, ncclLauncher } from '../../launch/index.js';
import type { CardFacts } from '../../device/cuda/context.js';

export interface NodesOptions {
  readonly card: CardFacts;
  /** A minute's worth, to see whether it runs. */
  readonly quick: boolean;
  /** Of all parts together, calibrations among them. */
  readonly seconds: number;
  /** Told whenever something was added. */
  readonly onReport: (report: NodesReport) => void;
}

const dtype = 'bf16';
const say = (text: string): void => void process.stdout.write(`${text}\n`);
/**
 * Dispatched bytes of a replica, MiB: over links and the loopback, and over the loopback alone. What time cuts off
 * stands last.
 */
const mebibytes = { many: [64, 16, 256, 32, 128, 512], one: [16, 64] };
/** Of narrower TP. */
const narrowMebibytes = [64, 256];
/** Of a rank's card, which others share, and which has contexts and NCCL's buffers beside. */
const cardShare = 0.85;
const sequence = 8192;
const widestTp = 8;

/** Rows looked at in a result: enough to see one that went astray, few enough not to be what takes the time. */
const rules = { trialRuns: 4, finalRuns: 5, finalShare: 0.12, checkedRows: 256 };
const quickRules = { trialRuns: 1, finalRuns: 2, finalShare: 0.1, checkedRows: 64 };

/** Of the time: the rest is for ranks of one node, and for narrower TP where there are more cards. */
const share = { one: 1, two: 0.92, more: 0.62, narrow: 0.15 };

/** Two nodes of `tp` ranks. */
function betweenNodes(
  { card, quick }: NodesOptions,
  { tp, cards, seconds }: { readonly tp: number; readonly cards: number; readonly seconds: number },
): Omit<ArrangementRequest, 'onReport'> {
  const layout = parseLayout(`tp=${tp},dp=2,ep=2`);
  const sizes = quick ? [16] : mebibytes[cards > 1 ? 'many' : 'one'];
  const choices = choiceCases(dtype, tp);
  return {
    launcher: ncclLauncher({ ranksPerNode: tp }),
    cluster: cardsCluster(2 * tp, tp),
    dtype,
    strategies: strategyCases(dtype, sizes, tp),
    choices: quick ? [0, 6, 12, 17].map((place) => choices[place]) : choices,
    volumes: sizes.map((size) => size * 2 ** 20),
    exchangeTurns: quick ? 3 : 9,
    rules: quick ? quickRules : rules,
    seconds,
    steps: {
      layout,
      sequence,
      mostLayers: quick ? 1 : cards === 1 ? 2 : 6,
      bytes: (cardShare * card.totalBytes * cards) / (2 * tp),
      turns: quick ? 1 : 2,
      steps: quick ? 1 : 3,
    },
    say,
  };
}

/** The same with fewer ranks a node: exchanges, and the table of strategies at two volumes. */
function narrowNodes(options: NodesOptions, tp: number, seconds: number): Omit<ArrangementRequest, 'onReport'> {
  const { steps: _steps, ...whole } = betweenNodes(options, { tp, cards: cardsHere(), seconds });
  return {
    ...whole,
    strategies: strategyCases(dtype, narrowMebibytes, tp),
    choices: [],
    volumes: narrowMebibytes.map((size) => size * 2 ** 20),
  };
}

function insideNode({ quick }: NodesOptions, ranks: number, seconds: number): Omit<ArrangementRequest, 'onReport'> {
  const cases = insideCases(dtype, ranks);
  return {
    launcher: ncclLauncher({ ranksPerNode: ranks }),
    cluster: cardsCluster(ranks, ranks),
    dtype,
    strategies: quick ? cases.slice(0, 1) : cases,
    choices: [],
    volumes: [],
    exchangeTurns: 0,
    rules: quick ? quickRules : rules,
    seconds,
    say,
  };
}

/** The widest TP that a node of so many cards has; on one card two ranks share it. */
export const tpOfCards = (cards: number): number => Math.min(widestTp, 2 ** Math.max(1, Math.floor(Math.log2(cards))));

/**
 * Runs all arrangements, the widest first. Throws `InputError` where the host has no cards of a known family.
 */
export async function measureNodes(options: NodesOptions): Promise<NodesReport> {
  const cards = cardsHere();
  const end = performance.now() + options.seconds * 1e3;
  const left = (): number => (end - performance.now()) / 1e3;
  let report: NodesReport = { cards };
  const add = (part: Partial<NodesReport>): void => {
    report = { ...report, ...part };
    options.onReport(report);
  };
  const tp = tpOfCards(cards);
  const narrow = tp > 2 ? [tp / 2, tp / 4].filter((one) => one > 1) : [];
  const first = cards === 1 ? share.one : narrow.length > 0 ? share.more : share.two;
  await measureArrangement({
    ...betweenNodes(options, { tp, cards, seconds: first * options.seconds }),
    onReport: (between) => add({ between }),
  });
  if (cards === 1) return report;
  for (const [place, fewer] of narrow.entries())
    await measureArrangement({
      ...narrowNodes(options, fewer, Math.min(left(), share.narrow * options.seconds)),
      onReport: (one) => add({ narrower: [...(report.narrower ?? []).slice(0, place), one] }),
    });
  await measureArrangement({ ...insideNode(options, tp, left()), onReport: (inside) => add({ inside }) });
  return report;
}
