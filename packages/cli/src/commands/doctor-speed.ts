/** `monta doctor`, for a run that is slower than it should be. */
import type { RunSetting, SpeedExplanation, ToldSpeed } from '@monta/core';
import { formatFlops, formatInteger, formatPercent, formatSeconds } from '@monta/core/units';
import { layoutText, partNames } from '@monta/core/plan';
import { explainSpeed, secondsOfSpeed } from '@monta/core/doctor';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';

export interface SpeedFlags {
  readonly stepTime?: number;
  readonly tokensPerSecond?: number;
  readonly tflops?: number;
}

/** The speed that flags tell; undefined where they tell none. */
export function speedOfFlags({ stepTime, tokensPerSecond, tflops }: SpeedFlags): ToldSpeed | undefined {
  if (stepTime !== undefined) return { stepSeconds: stepTime };
  if (tokensPerSecond !== undefined) return { tokensPerSecond };
  return tflops === undefined ? undefined : { flopsPerSecond: tflops * 1e12 };
}

/** Throws `InputError` for what is no speed. */
export const explainedSpeed = (setting: RunSetting, told: ToldSpeed): SpeedExplanation =>
  explainSpeed(setting, secondsOfSpeed(told, setting));

const shownParts = 8;

/** Prints it. */
export function showSpeed(console: Console, explained: SpeedExplanation, setting: RunSetting): void {
  const { style } = console;
  const { estimate, measuredSeconds, gapSeconds, parts, causes } = explained;
  const ratio = measuredSeconds / estimate.seconds;
  const verdict =
    gapSeconds <= 0
      ? `${formatPercent(1 - ratio)} faster than predicted`
      : causes.length === 0
        ? 'as predicted, within the error of the model'
        : `${formatSeconds(gapSeconds)} more than predicted, ${formatPercent(ratio - 1)}`;
  console.print(style.bold(`a step of ${formatSeconds(measuredSeconds)}: ${verdict}\n`));
  const tokens = (estimate.tokensPerSecondPerGpu * estimate.seconds) / measuredSeconds;
  const flops = (estimate.modelFlopsPerGpu * estimate.seconds) / measuredSeconds;
  const speed = (seconds: number, rate: number, perGpu: number): string =>
    `${formatSeconds(seconds)}, ${formatInteger(Math.round(rate))} tokens/s a GPU, ${formatFlops(perGpu)} a GPU`;
  console.print(
    renderFacts(
      [
        ['Layout', layoutText(setting)],
        ['Measured', speed(measuredSeconds, tokens, flops)],
        ['Predicted', speed(estimate.seconds, estimate.tokensPerSecondPerGpu, estimate.modelFlopsPerGpu)],
        [
          'Of it',
          parts
            .slice(0, shownParts)
            .map(([part, seconds]) => `${partNames[part]} ${formatSeconds(seconds)}`)
            .join(', '),
        ],
      ],
      style,
    ),
  );
  if (causes.length === 0) return;
  console.print(
    `\n${renderTable(
      [
        { header: 'what would explain it, alone' },
        { header: 'adds', align: 'number' },
        { header: 'of the gap', align: 'right' },
      ],
      causes.map(({ what, seconds }) => [
        what,
        formatSeconds(seconds),
        seconds >= gapSeconds ? 'all' : formatPercent(seconds / gapSeconds),
      ]),
      { style },
    )}`,
  );
  const together = causes.reduce((sum, { seconds }) => sum + seconds, 0);
  if (together < gapSeconds)
    console.print(
      `\n  Together they leave ${formatSeconds(gapSeconds - together)}: monta trace with the same script names it.`,
    );
  for (const { cause, evidence, mend } of causes) {
    console.print(`\n  ${style.bad(cause)}  seen by: ${evidence}`);
    console.print(`    → ${console.typed(mend)}`);
  }
}
