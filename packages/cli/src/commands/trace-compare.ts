/** `monta trace --plan` and `--script`: the recorded step beside the predicted one. */
import {
  compareStep,
  formatInteger,
  formatPercent,
  formatSeconds,
  layoutText,
  priceRun,
  type ProfileReport,
  type RunSetting,
  type StepComparison,
} from '@monta/core';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';

export interface TraceComparison extends StepComparison {
  /** Changes that would save most, and the best plan of the framework, predicted. */
  readonly changes: readonly { readonly flags: string; readonly seconds: number; readonly gain: number }[];
  readonly best: { readonly layout: string; readonly seconds: number; readonly gain: number } | null;
}

/** Compares, and prices what would be better. */
export function comparedWith(report: ProfileReport, setting: RunSetting, steps: number): TraceComparison {
  const { changes, best, estimate } = priceRun(setting);
  return {
    ...compareStep(report, setting, steps),
    changes: changes.map(({ flags, seconds, gain }) => ({ flags, seconds, gain })),
    best:
      best === undefined
        ? null
        : { layout: layoutText(best.setting), seconds: best.seconds, gain: 1 - best.seconds / estimate.seconds },
  };
}

const names: Readonly<Record<string, string>> = {
  computing: 'computing',
  idle: 'idle: bubble, host, waiting outside kernels',
};

const numeric = { align: 'number' } as const;
const shownChanges = 3;
const or = (value: number | undefined): string => (value === undefined ? '' : formatSeconds(value));

/** Prints it. */
export function showComparison(console: Console, compared: TraceComparison): void {
  const { style } = console;
  const { parts, steps, predicted, measured, unassigned, changes, best } = compared;
  const title = `The same step predicted: ${formatSeconds(predicted)}, recorded ${formatSeconds(measured)}`;
  console.print(style.bold(`\n${title}\n`));
  console.print(
    renderTable(
      [
        { header: 'part of a step' },
        { header: 'predicted', ...numeric },
        { header: 'recorded', ...numeric },
        { header: 'beyond it', ...numeric },
        { header: 'in all predicted', ...numeric },
        { header: 'in all recorded', ...numeric },
      ],
      parts.map(({ part, predicted: expected, measured: seen, predictedInAll, measuredInAll }) => [
        names[part] ?? `${part.toUpperCase()}, exposed`,
        formatSeconds(expected),
        formatSeconds(seen),
        `${seen < expected ? '−' : '+'}${formatSeconds(Math.abs(seen - expected))}`,
        or(predictedInAll),
        or(measuredInAll),
      ]),
      { style, indent: 2 },
    ),
  );
  const facts: [string, string][] = [
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
      best === null || best.gain < 0.01
        ? 'none that is faster'
        : `${best.layout}: ${formatSeconds(best.seconds)} predicted, ${formatPercent(best.gain)} less`,
    ],
  ];
  console.print(`\n${renderFacts(facts, style)}`);
}
