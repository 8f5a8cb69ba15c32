/**
 * The part of a GPU run that needs several cards of one host: TP over all of them (eight at most) x EP=2 as two virtual
 * nodes, links of the cards inside and the loopback between; narrower TP beside it; and EP inside one node.
 */
import type { Cluster, MoeModel } from '@monta/core';
import { getModel } from '@monta/core/model';
import { parseLayout } from '@monta/core/layout';
import { trialRounds } from '@monta/core/plan';
import {
  choiceCases,
  insideCases,
  measureArrangement,
  strategyCases,
  type ArrangementRequest,
  type NodesReport,
} from '../nodes/index.js';
import { cardsCluster, cardsHere, ncclLauncher, type Launcher } from '../../launch/index.js';

export interface NodesOptions {
  readonly host: NodesHost;
  /** A minute's worth, to see whether it runs. */
  readonly quick: boolean;
  /** Between the nodes only the plan's choice over many layers, and nothing else. */
  readonly choicesAlone?: boolean;
  /** Of all parts together, calibrations among them; what still runs then is ended. */
  readonly seconds: number;
  /** Told whenever something was added. */
  readonly onReport: (report: NodesReport) => void;
  readonly say: (text: string) => void;
}

/** Cards, and what stands for them in tests. */
export interface NodesHost {
  readonly cards: number;
  /** Of each card. */
  readonly bytes: number;
  readonly dtype: 'f32' | 'bf16';
  readonly launcherOf: (ranksPerNode: number) => Launcher;
  /** Of so many ranks, in nodes of so many. */
  readonly clusterOf: (ranks: number, perNode: number) => Cluster;
  /** Of which a step has layers. */
  readonly model: MoeModel;
  /** What sizes are divided by. */
  readonly smaller: number;
}

/** This host's cards. Throws `InputError` where it has none. */
export const cardsHost = (bytes: number): NodesHost => ({
  cards: cardsHere(),
  bytes,
  dtype: 'bf16',
  launcherOf: (ranksPerNode) => ncclLauncher({ ranksPerNode }),
  clusterOf: cardsCluster,
  model: getModel('2x70b'),
  smaller: 1,
});

/**
 * Dispatched bytes of a replica, MiB: over links and the loopback, and over the loopback alone. What time cuts off
 * stands last.
 */
const mebibytes = { many: [64, 16, 256, 32, 128, 512], one: [16, 64] };
/** Of narrower TP. */
const narrowMebibytes = [64, 256];
/** Of a rank's card, which others share, and which has contexts and NCCL's buffers beside. */
const cardShare = 0.85;
const widestTp = 8;

/** Rows looked at in a result: enough to see one that went astray, few enough not to be what takes the time. */
const rules = { trialRuns: 4, finalRuns: 5, finalShare: 0.12, checkedRows: 256 };
/** Of choices alone: trials as long as a training run makes them, and medians that the best of many cannot lean on. */
const choiceRules = { ...rules, trialRuns: trialRounds.mostSteps, finalRuns: 11, finalShare: 0.1 };
const quickRules = { trialRuns: 1, finalRuns: 2, finalShare: 0.1, checkedRows: 64 };

/** Of the time: the rest is for ranks of one node, and for narrower TP where there are more cards. */
const share = { one: 1, two: 0.88, more: 0.62, narrow: 0.15 };
/** Of the time, for the step of the widest arrangement. */
const stepShare = 0.18;
/** What an arrangement may take beyond its time before it is ended, s: a layer that is under way, and a step. */
const graceSeconds = 40;

/** What every arrangement of a run is measured by. */
interface Run {
  readonly options: NodesOptions;
  readonly host: NodesHost;
  /** On `performance.now`'s clock, ms. */
  readonly end: number;
}

type Arranged = Omit<ArrangementRequest, 'onReport'>;

function arranged(
  { options, host, end }: Run,
  seconds: number,
): Pick<Arranged, 'dtype' | 'smaller' | 'rules' | 'say' | 'seconds' | 'deadline'> {
  return {
    dtype: host.dtype,
    smaller: host.smaller,
    rules: options.quick ? quickRules : rules,
    say: options.say,
    seconds,
    deadline: Math.min(end, performance.now() + (seconds + graceSeconds) * 1e3),
  };
}

/** Two nodes of `tp` ranks. */
function betweenNodes(run: Run, tp: number, seconds: number): Arranged {
  const { quick } = run.options;
  const { cards, bytes, dtype, launcherOf, clusterOf, smaller } = run.host;
  const sizes = (quick ? [16] : mebibytes[cards > 1 ? 'many' : 'one']).map((size) => size / smaller);
  const choices = choiceCases(dtype, tp, smaller);
  return {
    ...arranged(run, seconds),
    launcher: launcherOf(tp),
    cluster: clusterOf(2 * tp, tp),
    strategies: strategyCases(dtype, sizes, { tp, smaller }),
    choices: quick ? [0, 6, 12, 17].map((place) => choices[place]) : choices,
    volumes: sizes.map((size) => size * 2 ** 20),
    exchangeTurns: quick ? 3 : 9,
    steps: {
      model: run.host.model,
      dtype,
      layout: parseLayout(`tp=${tp},dp=2,ep=2`),
      sequence: 8192 / smaller,
      mostLayers: quick ? 1 : cards === 1 ? 2 : 6,
      bytes: (cardShare * bytes * cards) / (2 * tp),
      turns: quick ? 1 : 2,
      steps: quick ? 1 : 2,
      seconds: stepShare * seconds,
    },
  };
}

/** The same with fewer ranks a node: exchanges, and the table of strategies at two volumes. */
function narrowNodes(run: Run, tp: number, seconds: number): Arranged {
  const { steps: _steps, ...whole } = betweenNodes(run, tp, seconds);
  const { dtype, smaller } = run.host;
  const sizes = narrowMebibytes.map((size) => size / smaller);
  return {
    ...whole,
    strategies: strategyCases(dtype, sizes, { tp, smaller }),
    choices: [],
    volumes: sizes.map((size) => size * 2 ** 20),
  };
}

function insideNode(run: Run, ranks: number, seconds: number): Arranged {
  const { dtype, launcherOf, clusterOf, smaller } = run.host;
  const cases = insideCases(dtype, ranks, smaller);
  return {
    ...arranged(run, seconds),
    launcher: launcherOf(ranks),
    cluster: clusterOf(ranks, ranks),
    strategies: run.options.quick ? cases.slice(0, 1) : cases,
    choices: [],
    volumes: [],
    exchangeTurns: 0,
  };
}

/** Of that, the calibration and the choices. */
function choicesAlone(run: Run, tp: number, seconds: number): Arranged {
  const { steps: _steps, ...whole } = betweenNodes(run, tp, seconds);
  return { ...whole, strategies: [], volumes: [], rules: run.options.quick ? quickRules : choiceRules };
}

/** The widest TP that a node of so many cards has; on one card two ranks share it. */
export const tpOfCards = (cards: number): number => Math.min(widestTp, 2 ** Math.max(1, Math.floor(Math.log2(cards))));

/** Runs all arrangements, the widest first. Throws `InputError` where the host has no cards of a known family. */
export async function measureNodes(options: NodesOptions): Promise<NodesReport> {
  const { host, seconds } = options;
  const { cards } = host;
  const run: Run = { options, host, end: performance.now() + seconds * 1e3 };
  const left = (): number => (run.end - performance.now()) / 1e3;
  let report: NodesReport = { cards };
  const add = (part: Partial<NodesReport>): void => {
    report = { ...report, ...part };
    options.onReport(report);
  };
  const tp = tpOfCards(cards);
  if (options.choicesAlone === true) {
    await measureArrangement({ ...choicesAlone(run, tp, seconds), onReport: (between) => add({ between }) });
    return report;
  }
  const narrow = tp > 2 ? [tp / 2, tp / 4].filter((one) => one > 1) : [];
  const first = cards === 1 ? share.one : narrow.length > 0 ? share.more : share.two;
  await measureArrangement({
    ...betweenNodes(run, tp, first * seconds),
    onReport: (between) => add({ between }),
  });
  if (cards === 1) return report;
  for (const [place, fewer] of narrow.entries())
    await measureArrangement({
      ...narrowNodes(run, fewer, Math.min(left(), share.narrow * seconds)),
      onReport: (one) => add({ narrower: [...(report.narrower ?? []).slice(0, place), one] }),
    });
  await measureArrangement({ ...insideNode(run, tp, left()), onReport: (inside) => add({ inside }) });
  return report;
}
