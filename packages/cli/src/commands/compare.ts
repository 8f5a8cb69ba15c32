/** `monta compare`: two plans, what differs and what it costs. */
import {
  deviceCount,
  estimateStep,
  formatBytes,
  formatInteger,
  formatPercent,
  formatSeconds,
  partNames,
  tieShare,
} from '@monta/core';
import type { MontaContext } from '../context.js';
import { renderFacts, renderTable } from '../output/table.js';
import type { CompareFlags } from './compare.command.js';
import { loadPlan, type ReadPlan } from './plan-file.js';

const asked = [
  'model',
  'cluster',
  'framework',
  'sequence',
  'globalBatch',
  'precision',
  'states',
  'stack',
  'imbalance',
] as const;
const chosen = [
  'layout',
  'virtualStages',
  'layersOfStages',
  'sequences',
  'microBatches',
  'schedule',
  'dispatcher',
  'sharing',
  'recompute',
  'overlap',
] as const;

export interface Difference {
  readonly field: string;
  readonly values: readonly [string, string];
}

const shown = (value: unknown): string =>
  value === undefined || value === null ? '-' : typeof value === 'string' ? value : JSON.stringify(value);

function differencesOf(
  first: ReadPlan,
  second: ReadPlan,
  fields: readonly (typeof asked | typeof chosen)[number][],
): Difference[] {
  return fields
    .map((field) => ({ field, values: [shown(first.plan[field]), shown(second.plan[field])] as const }))
    .filter(({ values: [a, b] }) => a !== b);
}

const speedOf = ({ best: { setting, seconds } }: ReadPlan): number =>
  (setting.globalBatch * setting.sequence) / seconds / deviceCount(setting.cluster);

/** Rows of seconds by part, where either takes a thousandth of its step. */
function partRows(plans: readonly [ReadPlan, ReadPlan]): string[][] {
  const estimates = plans.map(({ best }) => estimateStep(best.setting));
  return (Object.keys(partNames) as (keyof typeof partNames)[])
    .filter((part) => estimates.some(({ parts, seconds }) => parts[part] > seconds / 1000))
    .map((part) => {
      const [a = 0, b = 0] = estimates.map(({ parts }) => parts[part]);
      return [
        partNames[part],
        formatSeconds(a),
        formatSeconds(b),
        `${b < a ? '−' : '+'}${formatSeconds(Math.abs(b - a))}`,
      ];
    });
}

/** Runs the command. Throws `InputError` for what is no plan. */
export function runCompare(
  { console }: MontaContext,
  flags: CompareFlags,
  firstFile: string,
  secondFile: string,
): void {
  const plans = [loadPlan(firstFile), loadPlan(secondFile)] as const;
  const [first, second] = plans;
  const differences = { asked: differencesOf(first, second, asked), chosen: differencesOf(first, second, chosen) };
  const speed = speedOf(second) / speedOf(first);
  if (flags.json) {
    const of = ({ best: { seconds, memoryBytes }, plan }: ReadPlan) => ({ plan, seconds, memoryBytes });
    console.json({ plans: plans.map(of), differences, speed });
    return;
  }
  const { style } = console;
  const columns = [{ header: '' }, { header: firstFile }, { header: secondFile }];
  const rows = [...differences.asked, ...differences.chosen].map(({ field, values }) => [field, ...values]);
  console.print(rows.length === 0 ? 'both plans are the same\n' : `${renderTable(columns, rows, { style })}\n`);
  const numbers = ['number', 'number', 'number'] as const;
  const headers = ['step (predicted)', firstFile, secondFile, 'change'];
  const align = headers.map((header, index) => ({ header, ...(index === 0 ? {} : { align: numbers[index - 1] }) }));
  const steps = plans.map(({ best }) => best.seconds);
  const [a = 0, b = 0] = steps;
  const whole = ['whole', formatSeconds(a), formatSeconds(b), `${b < a ? '−' : '+'}${formatSeconds(Math.abs(b - a))}`];
  console.print(`${renderTable(align, [whole, ...partRows(plans)], { style })}\n`);
  const tie = Math.abs(speed - 1) < tieShare ? ': a tie, closer than the estimate orders layouts' : '';
  console.print(
    renderFacts(
      [
        [
          'Speed',
          plans.map((plan) => `${plan.file}: ${formatInteger(Math.round(speedOf(plan)))} tokens/s/GPU`).join('\n'),
        ],
        ['Memory', plans.map(({ file, best }) => `${file}: ${formatBytes(best.memoryBytes, 'binary')}`).join('\n')],
        ['Margin', `${secondFile} is ${formatPercent(Math.abs(speed - 1))} ${speed < 1 ? 'slower' : 'faster'}${tie}`],
      ],
      style,
    ),
  );
}
