/** What a training run says to people: the job, the plan, the result. */
import type { RunPlan } from '@monta/core';
import { formatBytes, formatInteger, formatPercent, formatSeconds, maxOf } from '@monta/core/units';
import { clusterSummary } from '@monta/core/cluster';
import { formatLayout } from '@monta/core/layout';
import { turnsConfidence } from '@monta/core/schedule';
import { networkShare } from '@monta/core/plan';
import { comparisonText, memoryError, strategyOf, type RunReport } from '@monta/views';
import { hasOwnNetwork } from '../config/backend-config.js';
import type { Console } from '../output/console.js';
import { renderFacts } from '../output/table.js';
import type { RunFolder } from '../run-folder.js';
import type { Setting } from './setting.js';

/** What is known before anything is measured. */
export function showJob(console: Console, { config, layout, fabric }: Setting, folder: Pick<RunFolder, 'path'>): void {
  const used = config.cluster.part === undefined ? '' : `, ${config.cluster.part.used}`;
  const network = hasOwnNetwork(config.backend)
    ? `over ${config.backend.kind === 'mpi' ? 'Open MPI' : 'NCCL'}${used}`
    : `${clusterSummary(config.cluster)}; ` +
      (fabric ? `emulated at 1/${fabric.timeScale} of this speed` : 'not emulated');
  const facts: (readonly [string, string])[] = [
    [
      'Model',
      `${config.model.name}, ${formatLayout(layout, config.cluster)}, ${formatInteger(config.steps)} steps of ` +
        `${formatInteger(config.batch)} x ${formatInteger(config.data.sequence)} tokens`,
    ],
    ['Cluster', `${config.cluster.name}: ${network}`],
    ['Folder', folder.path],
  ];
  console.print(renderFacts(facts, console.style));
}

export function showPlan(console: Console, setting: Setting, plan: RunPlan): void {
  const baseline = plan.compared.find(({ role }) => role === 'baseline');
  const against = baseline ? ` (duplicated ${formatSeconds(baseline.predicted.seconds)})` : '';
  const expected = `expected step ${formatSeconds(plan.chosen.predicted.seconds)}${against}`;
  const facts: (readonly [string, string])[] = [
    ...(hasOwnNetwork(setting.config.backend)
      ? [['Network', `${clusterSummary(setting.cluster)}; measured just now`] as const]
      : []),
    [
      'Plan',
      [plan.chosen.label, networkShare(setting, plan), expected].filter((part) => part !== undefined).join('; '),
    ],
    ...plan.reasons,
  ];
  console.print(renderFacts(facts, console.style));
}

export interface Shown {
  readonly report: RunReport;
  readonly folder: RunFolder;
}

/** What the fullest rank held, beside what was predicted. */
function memoryText(report: RunReport): string {
  const { predictedBytes, routedBytes, measuredBytes, cardBytes } = report.memory;
  const predicted = (bytes: number): string => {
    const error = memoryError(bytes, report.memory);
    return `${formatBytes(bytes, 'binary')} (${error < 0 ? '−' : '+'}${formatPercent(Math.abs(error))})`;
  };
  const kernels = cardBytes === undefined ? '' : `; ${formatBytes(cardBytes, 'binary')} with what kernels take`;
  return (
    `${formatBytes(maxOf(measuredBytes), 'binary')} at the most on a rank; predicted for even routing ` +
    `${predicted(predictedBytes)}, for what was routed ${predicted(maxOf(routedBytes))}${kernels}`
  );
}

export function showResult(console: Console, { report, folder }: Shown): void {
  const { loss: evaluations, turns } = report;
  const chosen = strategyOf(report, 'chosen');
  const heldOut = evaluations.heldOut.at(-1)?.[1];
  const emulated =
    report.timing.timeScale === undefined ? '' : ` (emulated network, 1/${report.timing.timeScale} of its speed)`;
  const facts: (readonly [string, string])[] = [];
  if (chosen)
    facts.push([
      'Result',
      `held-out ${heldOut?.toFixed(3) ?? '?'} nat/byte (unigram ${evaluations.unigram.toFixed(3)})   step ` +
        `${formatSeconds(chosen.stepSeconds)} measured, ${formatSeconds(chosen.predictedStepSeconds ?? NaN)} ` +
        `predicted${emulated}`,
    ]);
  for (const other of report.strategies) {
    if (other === chosen) continue;
    const { name, role, stepSeconds, predictedStepSeconds = NaN } = other;
    facts.push([
      '',
      `${name}${role === 'fixed' ? ' (best fixed)' : ''} ${formatSeconds(stepSeconds)} measured, ` +
        `${formatSeconds(predictedStepSeconds)} predicted: ${comparisonText(other)}`,
    ]);
  }
  const [pairs] = report.strategies.flatMap(({ comparison }) => comparison?.pairs ?? []);
  if (turns !== undefined && pairs !== undefined)
    facts.push([
      '',
      `ratios: medians of ${pairs} rounds of a step each, by turns, and their ` +
        `${formatPercent(turnsConfidence)} intervals`,
    ]);
  facts.push(
    ['Memory', memoryText(report)],
    ['Report', folder.file('report.html')],
    ['Trace', `${folder.file('trace.json')} (open in ui.perfetto.dev)`],
  );
  console.print(renderFacts(facts, console.style));
}
