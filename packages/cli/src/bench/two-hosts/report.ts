/** The two-host bench as tables in Markdown, for terminals and for the page alike. */
import { formatBandwidth, formatSeconds, maxOf, median, minOf, quantile } from '@monta/core/units';
import type {
  CaseResult,
  CostResult,
  ExchangeResult,
  LinksResult,
  PartsResult,
  PassResult,
  RateResult,
  TwoHostsResult,
  Way,
} from './types.js';

const mebibyte = 2 ** 20;
/** Within this share of the best, a choice counts as good. */
const closeEnough = 0.05;

const ms = (seconds: number): string => (seconds * 1e3).toFixed(seconds < 0.1 ? 1 : 0);
const mib = (bytes: number): string => String(Number((bytes / mebibyte).toFixed(2)));
const ratio = (value: number): string => `${value.toFixed(2)}x`;
const signed = (share: number): string => `${share < 0 ? '−' : '+'}${(Math.abs(share) * 100).toFixed(0)} %`;
const megabits = (bytesPerSecond: number): string => ((8 * bytesPerSecond) / 1e6).toFixed(0);

const table = (header: readonly string[], left: number, rows: readonly (readonly string[])[]): string =>
  [header, header.map((_, index) => (index < left ? '---' : '--:')), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');

export const linksLine = ({
  tp,
  tcpBytesPerSecond,
  mpiBytesPerSecond,
  tiers,
  copyBytesPerSecond,
}: LinksResult): string =>
  `TP=${tp}: TCP reaches ${megabits(tcpBytesPerSecond)} Mbit/s each way, both ways busy, MPI ` +
  `${megabits(mpiBytesPerSecond)}; probed: ${tiers
    .map(
      ({ name, bytesPerSecond, latencySeconds }) =>
        `${name} ${megabits(bytesPerSecond)} Mbit/s a pair, ${formatSeconds(latencySeconds)}`,
    )
    .join(', ')}; all ranks copying at once ${(copyBytesPerSecond / 1e9).toFixed(1)} GB/s`;

export const costLine = ({ tp, coreSeconds, delaySeconds, networkBytesPerSecond, error }: CostResult): string =>
  `TP=${tp}: a collective costs ${formatSeconds(coreSeconds)} of a core and a delay of ` +
  `${formatSeconds(delaySeconds)}, a core moves ${formatBandwidth(networkBytesPerSecond)} between hosts; the fit ` +
  `is off by ${(100 * error).toFixed(0)} % (root mean square)`;

const timeHeads = ['ms (fastest..slowest)', 'predicted', 'error', 'bound', 'over bound'];

const timeCells = (one: ExchangeResult | PassResult): string[] => [
  `${ms(one.medianSeconds)} (${ms(one.fastestSeconds)}..${ms(one.slowestSeconds)})`,
  ms(one.predictedSeconds),
  signed(one.predictedSeconds / one.medianSeconds - 1),
  ms(one.boundSeconds),
  signed(one.medianSeconds / one.boundSeconds - 1),
];

export const exchangeName = ({ strategy, chunks }: ExchangeResult): string =>
  strategy === 'duplicated' ? 'duplicated' : chunks === 1 ? 'sliced' : `pipelined, ${chunks} chunks`;

/** AllToAll and AllGather alone. */
export function exchangeTable(results: readonly ExchangeResult[]): string {
  return table(
    ['TP', 'V MiB', 'strategy', ...timeHeads, 'vs duplicated', 'vs best unchunked'],
    0,
    results.map((one) => {
      const alike = results.filter(({ tp, volumeBytes }) => tp === one.tp && volumeBytes === one.volumeBytes);
      const duplicated = alike.find(({ strategy }) => strategy === 'duplicated');
      const unchunked = minOf(alike.filter(({ chunks }) => chunks === 1).map((other) => other.medianSeconds));
      return [
        String(one.tp),
        mib(one.volumeBytes),
        exchangeName(one),
        ...timeCells(one),
        duplicated ? ratio(duplicated.medianSeconds / one.medianSeconds) : '-',
        ratio(unchunked / one.medianSeconds),
      ];
    }),
  );
}

/** The collectives of `sliced` by themselves, beside the two together. */
export function partsTable(parts: readonly PartsResult[]): string {
  return table(
    ['TP', 'V MiB', 'bound', 'AllToAll alone', 'over bound', 'AllGather alone', 'of the bound', 'sliced', 'over bound'],
    0,
    parts.map(({ tp, volumeBytes, boundSeconds, allToAllSeconds, allGatherSeconds, slicedSeconds }) => [
      String(tp),
      mib(volumeBytes),
      ms(boundSeconds),
      ms(allToAllSeconds),
      signed(allToAllSeconds / boundSeconds - 1),
      ms(allGatherSeconds),
      `${((100 * allGatherSeconds) / boundSeconds).toFixed(0)} %`,
      ms(slicedSeconds),
      signed(slicedSeconds / boundSeconds - 1),
    ]),
  );
}

export const wayText = ({ strategy, forwardChunks, backwardChunks }: Way): string =>
  forwardChunks === 1 && backwardChunks === 1 ? strategy : `${strategy} ${forwardChunks}/${backwardChunks}`;

/** What the plan chose in each case, beside what was fastest. */
export function choiceTable(cases: readonly CaseResult[]): string {
  return table(
    [
      'TP',
      'V MiB',
      'routing',
      'predicted best',
      'ms',
      'plan',
      'ms',
      'fastest measured',
      'ms',
      'plan over fastest',
      'vs duplicated',
      'vs best fixed',
    ],
    0,
    cases.map(({ tp, volumeBytes, routing, predicted, chosen, best, duplicated, bestFixed }) => [
      String(tp),
      mib(volumeBytes),
      routing,
      wayText(predicted),
      ms(predicted.seconds),
      wayText(chosen),
      ms(chosen.seconds),
      wayText(best),
      ms(best.seconds),
      signed(chosen.seconds / best.seconds - 1),
      ratio(duplicated.seconds / chosen.seconds),
      ratio(bestFixed.seconds / chosen.seconds),
    ]),
  );
}

/** Every pass of one case. */
export function passTable({ passes }: CaseResult): string {
  return table(
    ['pass', 'strategy', 'chunks', ...timeHeads, 'vs duplicated'],
    2,
    passes.map((one) => {
      const duplicated = passes.find(
        ({ strategy, chunks, pass }) => strategy === 'duplicated' && chunks === 1 && pass === one.pass,
      );
      return [
        one.pass,
        one.strategy,
        String(one.chunks),
        ...timeCells(one),
        duplicated ? ratio(duplicated.medianSeconds / one.medianSeconds) : '-',
      ];
    }),
  );
}

export interface ChoiceSummary {
  readonly cases: number;
  /** Cases whose choice was the fastest, or within 5 % of it. */
  readonly good: number;
  /** The same of what predictions alone would have taken. */
  readonly goodPredicted: number;
  /** Different fastest ways: halves and chunk counts. */
  readonly winners: number;
  /** Different fastest halves. */
  readonly winningStrategies: readonly string[];
  readonly medianLoss: number;
  readonly worstLoss: number;
}

export function summarizeChoices(cases: readonly CaseResult[]): ChoiceSummary {
  const lossOf = (way: Way, { best }: CaseResult): number => way.seconds / best.seconds - 1;
  const losses = cases.map((one) => lossOf(one.chosen, one));
  return {
    cases: cases.length,
    good: losses.filter((loss) => loss <= closeEnough).length,
    goodPredicted: cases.filter((one) => lossOf(one.predicted, one) <= closeEnough).length,
    winners: new Set(cases.map(({ best }) => wayText(best))).size,
    winningStrategies: [...new Set(cases.map(({ best }) => best.strategy))].sort(),
    medianLoss: median(losses),
    worstLoss: maxOf(losses),
  };
}

export function choiceLine(summary: ChoiceSummary): string {
  const { cases, good, goodPredicted, winners, winningStrategies, medianLoss, worstLoss } = summary;
  const share = (count: number): string =>
    `${count} of ${cases} cases (${((100 * count) / Math.max(1, cases)).toFixed(0)} %)`;
  return (
    `The plan took the fastest, or one within 5 % of it, in ${share(good)}, predictions without trials in ` +
    `${share(goodPredicted)}; median loss of the plan ${(100 * medianLoss).toFixed(1)} %, worst ` +
    `${(100 * worstLoss).toFixed(0)} %; ${winners} different winners, of halves ${winningStrategies.join(', ')}`
  );
}

const errorsOf = (rates: readonly RateResult[]): number[] =>
  rates.flatMap(({ cases }) =>
    cases.flatMap(({ passes }) =>
      passes.map(({ predictedSeconds, medianSeconds }) => predictedSeconds / medianSeconds - 1),
    ),
  );

/** How well passes were predicted, all rates together. */
export function predictionLine(rates: readonly RateResult[]): string {
  const errors = errorsOf(rates).map(Math.abs);
  const at = (share: number): string => `${(100 * quantile(errors, share)).toFixed(0)} %`;
  return `Of ${errors.length} passes predicted, the median error is ${at(0.5)}, the 90th percentile ${at(0.9)}`;
}

/** One line about the machine and the day. */
export const originLine = ({ date, processor, cores, loadBefore, mpi, repetitions }: TwoHostsResult): string =>
  `Measured on ${date}: ${processor}, ${cores} cores, load ${loadBefore.toFixed(1)} before the start; ${mpi}; ` +
  `medians of ${repetitions}.`;
