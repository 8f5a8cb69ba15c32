/** `monta compare`: two plans, what differs and what it costs. */
import type { PricedPlan } from '@monta/core';
import { formatBytes, formatInteger, formatPercent, formatSeconds } from '@monta/core/units';
import { comparePlans } from '@monta/core/plan/document';
import { partNames } from '@monta/core/plan';
import type { MontaContext } from '../context.js';
import { renderFacts, renderTable } from '../output/table.js';
import type { CompareFlags } from './compare.flags.js';
import { loadPlan } from './plan-file.js';

/** Two times and their difference. */
const times = ([a, b]: readonly [number, number]): string[] => [
  formatSeconds(a),
  formatSeconds(b),
  `${b < a ? '−' : '+'}${formatSeconds(Math.abs(b - a))}`,
];

/** Runs the command. Throws `InputError` for what is no plan. */
export function runCompare(
  { console }: MontaContext,
  flags: CompareFlags,
  firstFile: string,
  secondFile: string,
): void {
  const files = [firstFile, secondFile];
  const [first, second] = [loadPlan(firstFile), loadPlan(secondFile)];
  const { asked, chosen, parts, tokensPerSecondPerGpu, speed, tie } = comparePlans(first, second);
  if (flags.json) {
    const of = ({ best: { seconds, memoryBytes }, document: plan }: PricedPlan) => ({ plan, seconds, memoryBytes });
    console.json({ plans: [of(first), of(second)], differences: { asked, chosen }, speed });
    return;
  }
  const { style } = console;
  const columns = [{ header: '' }, { header: firstFile }, { header: secondFile }];
  const rows = [...asked, ...chosen].map(({ field, values }) => [field, ...values]);
  console.print(rows.length === 0 ? 'both plans are the same\n' : `${renderTable(columns, rows, { style })}\n`);
  const number = { align: 'number' } as const;
  const stepColumns = [
    { header: 'step (predicted)' },
    ...[...files, 'change'].map((header) => ({ header, ...number })),
  ];
  const stepRows = [
    ['whole', ...times([first.best.seconds, second.best.seconds])],
    ...parts.map(({ part, seconds }) => [partNames[part], ...times(seconds)]),
  ];
  console.print(`${renderTable(stepColumns, stepRows, { style })}\n`);
  const ofFiles = (figures: readonly string[]): string =>
    files.map((file, index) => `${file}: ${figures[index]}`).join('\n');
  const speeds = tokensPerSecondPerGpu.map((tokens) => `${formatInteger(Math.round(tokens))} tokens/s/GPU`);
  const memory = [first, second].map(({ best }) => formatBytes(best.memoryBytes, 'binary'));
  const margin = `${secondFile} is ${formatPercent(Math.abs(speed - 1))} ${speed < 1 ? 'slower' : 'faster'}`;
  console.print(
    renderFacts(
      [
        ['Speed', ofFiles(speeds)],
        ['Memory', ofFiles(memory)],
        ['Margin', `${margin}${tie ? ': a tie, closer than the estimate orders layouts' : ''}`],
      ],
      style,
    ),
  );
}
