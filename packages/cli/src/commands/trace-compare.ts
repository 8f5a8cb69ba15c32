/** `monta trace --plan` and `--script`: the recorded step beside the predicted one. */
import type { ProfileReport, RankProfile, RunSetting, StepComparison, Trace } from '@monta/core';
import { formatInteger, formatPercent, formatSeconds } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import { layoutText } from '@monta/core/plan';
import { compareStep, predictedTrace, priceRun, recordedTrace } from '@monta/core/doctor';
import { renderStepPage, type StepTableText } from '@monta/views';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable, type Column } from '../output/table.js';
import { ganttText, lettersOf } from './simulate-gantt.js';

export interface TraceComparison extends StepComparison {
  /** Changes that would save most, and the best plan of the framework, predicted. */
  readonly changes: readonly { readonly flags: string; readonly seconds: number; readonly gain: number }[];
  readonly best: { readonly layout: string; readonly seconds: number; readonly gain: number } | null;
}

/** The step as it was recorded, as it is predicted, and as the best plan is predicted, on one clock. */
export interface StepTraces {
  readonly recorded: Trace;
  readonly predicted: Trace;
  readonly best?: Trace;
  /** The rank with the most exposed time. */
  readonly shown: number;
}

export interface Compared {
  readonly comparison: TraceComparison;
  readonly traces: StepTraces;
}

/** Compares, and prices what would be better. */
export function comparedWith(
  { report, profiles }: { readonly report: ProfileReport; readonly profiles: readonly RankProfile[] },
  setting: RunSetting,
  steps: number,
): Compared {
  const { changes, best, estimate } = priceRun(setting);
  const { cluster, layout } = setting;
  const [slowest] = [...report.ranks].sort((a, b) => b.exposedSeconds - a.exposedSeconds);
  const shown = slowest?.rank ?? 0;
  const ranks = [shown, ...report.ranks.map(({ rank }) => rank)].filter((rank) => rank < worldSize(layout));
  const gain = best === undefined ? 0 : 1 - best.seconds / estimate.seconds;
  return {
    comparison: {
      ...compareStep(report, setting, steps),
      changes: changes.map(({ flags, seconds, gain: saved }) => ({ flags, seconds, gain: saved })),
      best: best === undefined ? null : { layout: layoutText(best.setting), seconds: best.seconds, gain },
    },
    traces: {
      recorded: recordedTrace(profiles, { cluster, layout }),
      predicted: predictedTrace(setting, { ranks, steps, name: 'predicted' }),
      ...(best === undefined || gain < leastGain
        ? {}
        : { best: predictedTrace(best.setting, { ranks, steps, name: 'best plan' }) }),
      shown,
    },
  };
}

/** A best plan that saves less is none. */
const leastGain = 0.01;

const names: Readonly<Record<string, string>> = {
  computing: 'computing',
  idle: 'idle: bubble, host, waiting outside kernels',
};

const or = (value: number | undefined): string => (value === undefined ? '' : formatSeconds(value));
const signed = (seconds: number): string => `${seconds < 0 ? '−' : '+'}${formatSeconds(Math.abs(seconds))}`;

const partsTable = ({ parts }: TraceComparison): StepTableText => ({
  title: 'Part by part',
  head: ['part of a step', 'predicted', 'recorded', 'beyond it', 'in all predicted', 'in all recorded'],
  rows: parts.map(({ part, predicted, measured, predictedInAll, measuredInAll }) => [
    names[part] ?? `${part.toUpperCase()}, exposed`,
    formatSeconds(predicted),
    formatSeconds(measured),
    signed(measured - predicted),
    or(predictedInAll),
    or(measuredInAll),
  ]),
});

const kindsTable = ({ kinds }: TraceComparison): StepTableText => ({
  title: 'By kind of collective',
  head: ['collective, hidden or not', 'for', 'calls', 'predicted', 'recorded', 'beyond it'],
  rows: kinds.map(({ op, degree, calls, predicted, measured }) => [
    op,
    degree?.toUpperCase() ?? '?',
    calls === undefined ? '' : String(Math.round(calls)),
    formatSeconds(predicted),
    formatSeconds(measured),
    signed(measured - predicted),
  ]),
});

const shownChanges = 3;

function facts({ steps, unassigned, changes, best }: TraceComparison): [string, string][] {
  return [
    ['Steps', `${formatInteger(steps)} in the traces; means per rank and step`],
    ...(unassigned > 0
      ? [['Left over', `${formatSeconds(unassigned)} exposed of groups that the layout has not`] as [string, string]]
      : []),
    ...changes
      .slice(0, shownChanges)
      .map(({ flags, gain }, index): [string, string] => [
        index === 0 ? 'Would save' : '',
        `${formatPercent(gain)} predicted: ${flags}`,
      ]),
    [
      'Best plan',
      best === null || best.gain < leastGain
        ? 'none that is faster'
        : `${best.layout}: ${formatSeconds(best.seconds)} predicted, ${formatPercent(best.gain)} less`,
    ],
  ];
}

const titleOf = ({ predicted, measured }: TraceComparison): string =>
  `The same step predicted: ${formatSeconds(predicted)}, recorded ${formatSeconds(measured)}`;

function printTable(console: Console, { head, rows }: StepTableText): void {
  const columns = head.map((header, column): Column => (column === 0 ? { header } : { header, align: 'number' }));
  console.print(renderTable(columns, rows, { style: console.style, indent: 2 }));
}

const mostColumns = 120;

/** Both steps of one rank as lines of letters, on one scale. */
function overlaid(console: Console, { recorded, predicted, shown }: StepTraces): string {
  const of = ({ spans }: Trace) => spans.filter(({ rank }) => rank === shown);
  const [seen, expected] = [of(recorded), of(predicted)];
  const until = [...seen, ...expected].reduce((latest, { end }) => Math.max(latest, end), 0);
  const letters = lettersOf([...expected, ...seen].map(({ task }) => task));
  const columns = Math.min(console.columns, mostColumns);
  return [
    `Recorded, rank ${shown}`,
    ganttText(seen, columns, { until, letters }),
    `Predicted, rank ${shown}`,
    ganttText(expected, columns, { until, letters }),
  ].join('\n');
}

/** Prints it. */
export function showComparison(console: Console, { comparison, traces }: Compared): void {
  const { style } = console;
  console.print(style.bold(`\n${titleOf(comparison)}\n`));
  printTable(console, partsTable(comparison));
  console.print('');
  printTable(console, kindsTable(comparison));
  console.print(`\n${overlaid(console, traces)}`);
  console.print(`\n${renderFacts(facts(comparison), style)}`);
}

/** The traces of a Perfetto file, the ranks of each side by side. */
export const tracesOf = ({ traces: { recorded, predicted, best } }: Compared): readonly Trace[] => [
  recorded,
  predicted,
  ...(best === undefined ? [] : [best]),
];

/** The page. */
export function stepPage({ comparison, traces }: Compared, notes: readonly string[]): string {
  const { recorded, predicted, best, shown } = traces;
  const bestSeconds = comparison.best?.seconds ?? 0;
  return renderStepPage({
    title: titleOf(comparison),
    lead: `Rank ${shown}, the one with the most exposed time`,
    facts: facts(comparison),
    tables: [partsTable(comparison), kindsTable(comparison)],
    panels: [
      { title: `Recorded, ${formatSeconds(comparison.measured)} a step`, trace: recorded, note: recorded.source },
      { title: `Predicted, ${formatSeconds(comparison.predicted)} a step`, trace: predicted, note: predicted.source },
      ...(best === undefined
        ? []
        : [
            {
              title: `Best plan, ${formatSeconds(bestSeconds)} a step: ${comparison.best?.layout ?? ''}`,
              trace: best,
              note: best.source,
            },
          ]),
    ],
    ranks: [shown],
    notes,
  });
}
