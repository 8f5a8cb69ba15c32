/** What `npm run bench:choices` found, as a table in the terminal and as docs/emulated.md. */
import { formatInteger, formatPercent, formatSeconds, median } from '@monta/core/units';
import type { ContestFigures } from '@monta/runtime';
import { renderTable } from '../output/table.js';

export interface JudgedLayer {
  readonly figures: ContestFigures;
  /** Seconds of the emulated network for a second of the cluster. */
  readonly timeScale: number;
}

export interface JudgedChoices {
  readonly host: string;
  /** As 2026-11-29. */
  readonly date: string;
  /** Runnable threads of the machine in the last minute, before and at the end. */
  readonly loadBefore: number;
  readonly loadAfter: number;
  readonly seconds: number;
  readonly trialRuns: number;
  readonly finalRuns: number;
  readonly layers: readonly JudgedLayer[];
}

/** How far from the fastest measured a plan with trials and predictions alone may be. */
const close = { plan: 0.05, predicted: 0.1 } as const;

const over = ({ figures }: JudgedLayer, of: 'plan' | 'predicted'): number =>
  figures[of].seconds / figures.best.seconds - 1;

/** `pipelined` is `sliced` in chunks. */
const halvesOf = (label: string): string => (label.split(',')[0] ?? label).replace('pipelined', 'sliced');

export interface ChoicesSummary {
  readonly layers: number;
  /** Layers in which the plan is within 5 % of the fastest, and predictions alone are within 10 %. */
  readonly plan: number;
  readonly predicted: number;
  /** Halves of the fastest, the most frequent first. */
  readonly winners: readonly { readonly name: string; readonly layers: number }[];
  /** Relative difference of predictions from the median of measured passes, of all that were measured to the end. */
  readonly errors: readonly number[];
}

export function summaryOf({ layers }: JudgedChoices): ChoicesSummary {
  const within = (of: 'plan' | 'predicted'): number => layers.filter((one) => over(one, of) <= close[of]).length;
  const winners = new Map<string, number>();
  for (const { figures } of layers) {
    const name = halvesOf(figures.best.label);
    winners.set(name, (winners.get(name) ?? 0) + 1);
  }
  return {
    layers: layers.length,
    plan: within('plan'),
    predicted: within('predicted'),
    winners: [...winners].map(([name, count]) => ({ name, layers: count })).sort((a, b) => b.layers - a.layers),
    errors: layers.flatMap(({ figures: { passes } }) =>
      passes.flatMap(({ final, predictedSeconds, medianSeconds }) =>
        final && predictedSeconds !== undefined ? [predictedSeconds / medianSeconds - 1] : [],
      ),
    ),
  };
}

const columns = ['layer', 'fastest measured', 'takes', 'plan', 'over', 'predictions alone', 'over'];
const numbers = new Set(['takes', 'over']);

const rowOf = (one: JudgedLayer): string[] => {
  const { name, best, plan, predicted } = one.figures;
  return [
    name,
    best.label,
    formatSeconds(best.seconds),
    plan.label === best.label ? 'the same' : plan.label,
    formatPercent(over(one, 'plan')),
    predicted.label === best.label ? 'the same' : predicted.label,
    formatPercent(over(one, 'predicted')),
  ];
};

function sentences(choices: JudgedChoices): string[] {
  const { layers, plan, predicted, winners, errors } = summaryOf(choices);
  const share = (count: number): string => `${count} of ${layers} (${formatPercent(count / layers)})`;
  return [
    `The plan is within ${formatPercent(close.plan)} of the fastest measured in ${share(plan)}, ` +
      `by predictions alone within ${formatPercent(close.predicted)} in ${share(predicted)}.`,
    `Fastest: ${winners.map((one) => `${one.name} ${one.layers}`).join(', ')}.`,
    `Predictions of ${formatInteger(errors.length)} passes measured to the end: ` +
      `${formatPercent(median(errors.map(Math.abs)))} off in the median.`,
    `${choices.date}, ${choices.host}, load ${choices.loadBefore.toFixed(1)} before and ` +
      `${choices.loadAfter.toFixed(1)} at the end, ${formatInteger(choices.seconds)} s in all.`,
  ];
}

export function renderChoices(choices: JudgedChoices): string {
  const table = renderTable(
    columns.map((header) => (numbers.has(header) ? { header, align: 'right' } : { header })),
    choices.layers.map(rowOf),
  );
  return [table, ...sentences(choices).map((line) => `  ${line}`), ''].join('\n');
}

const formatScale = (scale = 1): string => scale.toPrecision(2);

/** docs/emulated.md. */
export function choicesPage(choices: JudgedChoices): string {
  const { trialRuns, finalRuns } = choices;
  const scales = choices.layers.map(({ timeScale }) => timeScale).sort((a, b) => a - b);
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    '# The choice on the emulated fabric',
    '',
    'Written by `npm run docs:emulated`. Everything here is **measured**. Four ranks are threads of this machine. A ' +
      'packet scheduler lets their bytes through ports with the bandwidths and latencies of a cluster, to scale ' +
      '([emulated network](glossary.md#emulated-network)). It shares no code with the simulator.',
    '',
    'Volumes and bandwidths are scaled down by one factor, and all times are stretched by another, so that the ' +
      "machine's own work is small beside the network's. Ratios of times are those of the full size. A second of the " +
      `cluster took ${formatScale(scales[0])} to ${formatScale(scales.at(-1))} seconds here.`,
    '',
    '| word | meaning |',
    '|:--|:--|',
    '| layer | a cluster, a layout, experts, tokens of a replica and routing; left out are those whose bytes leave ' +
      'one pair of halves only |',
    '| fastest measured | of every pair of halves that makes a program of its own, in 1, 2 and 4 chunks a pass; left ' +
      'out are those whose bytes alone take longer on the busiest port than the fastest took |',
    `| takes | forward and backward; medians of ${finalRuns} runs, in turns with all that is near the fastest |`,
    '| predictions alone | what the links, the routing of the layer and probes of this machine predict to be the ' +
      'fastest |',
    `| plan | the same after ${trialRuns} runs of what predictions find close, weighed by how far predictions were ` +
      'off in the layers before, as `monta train` does before a run; these runs do not judge |',
    '| over | its measured time over that of the fastest, minus one |',
    '',
    'Every result is checked against its closed form. What runs on a busy machine says little: the load stands below.',
    '',
    ...sentences(choices).flatMap((line) => [line, '']),
    row(columns),
    row(columns.map((header) => (numbers.has(header) ? '--:' : ':--'))),
    ...choices.layers.map((one) => row(rowOf(one))),
    '',
  ].join('\n');
}
