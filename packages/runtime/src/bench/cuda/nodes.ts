/**
 * The part of a GPU run that needs two cards of one host: TP=2 x EP=2 as two virtual nodes, NVLink inside and the
 * loopback between, and EP=2 inside one node.
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
  /** Told whenever something was added. */
  readonly onReport: (report: NodesReport) => void;
}

const dtype = 'bf16';
const say = (text: string): void => void process.stdout.write(`${text}\n`);
/** Dispatched bytes of a replica, MiB: over NVLink and the loopback, and over the loopback alone. */
const mebibytes = { many: [16, 32, 64, 128, 256, 512], one: [16, 64] };
/** Seconds for the layers on which the choice is judged; what one card takes longer for is cut short. */
const contestSeconds = { many: 230, one: 170 };
/** Of a rank's card, which another shares, and which has contexts and NCCL's buffers beside. */
const cardShare = 0.85;
const sequence = 8192;

const rules = { trialRuns: 4, finalRuns: 5, finalShare: 0.12 };
const quickRules = { trialRuns: 1, finalRuns: 2, finalShare: 0.1 };

function betweenNodes({ card, quick }: NodesOptions): Omit<ArrangementRequest, 'onReport'> {
  const layout = parseLayout('tp=2,dp=2,ep=2');
  const cards = cardsHere() > 1 ? 'many' : 'one';
  const choices = choiceCases(dtype);
  return {
    launcher: ncclLauncher({ ranksPerNode: 2 }),
    cluster: cardsCluster(4, 2),
    dtype,
    strategies: strategyCases(dtype, quick ? [16] : mebibytes[cards]),
    choices: quick ? [0, 6, 12, 17].map((place) => choices[place]) : choices,
    volumes: (quick ? [16, 64] : mebibytes[cards]).map((size) => size * 2 ** 20),
    exchangeTurns: quick ? 3 : 11,
    rules: quick ? quickRules : rules,
    contestSeconds: quick ? 20 : contestSeconds[cards],
    steps: {
      layout,
      sequence,
      mostLayers: quick ? 1 : cards === 'one' ? 2 : 6,
      bytes: (cardShare * card.totalBytes) / (cards === 'one' ? 4 : 2),
      turns: quick ? 1 : 2,
      steps: quick ? 1 : 3,
    },
    say,
  };
}

function insideNode({ quick }: NodesOptions): Omit<ArrangementRequest, 'onReport'> {
  const cases = insideCases(dtype);
  return {
    launcher: ncclLauncher({ ranksPerNode: 2 }),
    cluster: cardsCluster(2, 2),
    dtype,
    strategies: quick ? cases.slice(0, 1) : cases,
    choices: [],
    volumes: [],
    exchangeTurns: 0,
    rules: quick ? quickRules : rules,
    contestSeconds: quick ? 10 : 40,
    say,
  };
}

/** Runs both arrangements. Throws `InputError` where the host has no cards of a known family. */
export async function measureNodes(options: NodesOptions): Promise<NodesReport> {
  const cards = cardsHere();
  let report: NodesReport = { cards };
  const add = (part: Partial<NodesReport>): void => {
    report = { ...report, ...part };
    options.onReport(report);
  };
  await measureArrangement({ ...betweenNodes(options), onReport: (between) => add({ between }) });
  if (cards > 1) await measureArrangement({ ...insideNode(options), onReport: (inside) => add({ inside }) });
  return report;
}
