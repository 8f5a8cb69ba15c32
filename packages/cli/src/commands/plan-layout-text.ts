/** A plan of a given layout, as a person reads it. */
import type { Candidate, Choice, FlipSearch, OverlapVerdict } from '@monta/core';
import {
  formatBandwidth,
  formatBytes,
  formatInteger,
  formatPercent,
  formatSeconds,
  maxOf,
  minOf,
} from '@monta/core/units';
import { devicesText } from '@monta/core/cluster';
import { formatLayout } from '@monta/core/layout';
import { chunksText } from '@monta/core/schedule';
import { leftOutOfStep, marginOver, reasons, rivals, samePlan, unpricedInLayer } from '@monta/core/plan';
import { collectiveLines, coverageOf, coverageText } from '../calibrate/coverage-facts.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import { inputLines } from './cost-flags.js';
import { usedDevices } from './layer-inputs.js';
import { overlapText } from './overlap-text.js';
import { stackText } from './step-text.js';
import type { PlanFlags } from './plan.flags.js';
import type { Style } from '../output/style.js';
import type { Problem, Steps } from './plan-layout.js';

/** Name with chunk counts: `scattered, 4 / 3 chunks`. */
const candidateName = ({ name, strategy: { chunks } }: Candidate): string => `${name}${chunksText(chunks)}`;

/** `duplicated` in one piece: what everything is compared to. */
const isBaseline = ({ name, strategy: { chunks } }: Candidate): boolean =>
  name === 'duplicated' && chunksText(chunks) === '';

/** In what rows of a layout with tp=1 differ. */
const oneRankReplicas = ({ etp, ep }: Candidate['layout']): string =>
  'a replica is one rank: duplicated, sliced, scattered and pipelined are one program, shown with its best chunks; ' +
  (etp * ep === 1
    ? 'nothing travels, rows differ in how often kernels copy a token'
    : 'rows differ in which copies of a token travel and where its picks are summed');

/** Change of a time against another, `−17 %`. */
function change(seconds: number, against: number): string {
  const share = seconds / against - 1;
  return `${share < 0 ? '−' : '+'}${formatPercent(Math.abs(share))}`;
}

/** `1 token`, `4,096 tokens`. */
const count = (n: number, one: string, many: string): string => `${formatInteger(n)} ${n === 1 ? one : many}`;

/** A pass, with the range of the draws. */
function passText({ seconds, range }: Candidate['forward']): string {
  return range
    ? `${formatSeconds(seconds)} (${formatSeconds(range[0])} to ${formatSeconds(range[1])})`
    : formatSeconds(seconds);
}

/** A varied figure with its unit. */
const amount = (figure: string, value: number) => (figure === 'tokens' ? formatInteger(value) : formatBandwidth(value));

/** `4,096 tokens`, `25 GB/s of inter`. */
const amountOf = (figure: string, value: number) =>
  figure === 'tokens' ? count(value, 'token', 'tokens') : `${formatBandwidth(value)} of ${figure}`;

function flipText({ flips, steady }: FlipSearch): string {
  const lines = flips.map(
    ({ figure, now, at, to }) =>
      `to ${to} at ${amountOf(figure, at)} and ${at < now ? 'below' : 'above'} (now ${amount(figure, now)})`,
  );
  for (const { figure, tried } of steady) {
    lines.push(
      `not with ${figure} at ${tried.length} values from ${amount(figure, minOf(tried))} to ` +
        amount(figure, maxOf(tried)),
    );
  }
  return lines.join('\n');
}

/** A plan of a given layout, and what was found out about it. */
export interface LayoutPlan {
  readonly flags: PlanFlags;
  readonly problem: Problem;
  readonly choice: Choice;
  readonly steps: Steps;
  readonly verdicts: readonly OverlapVerdict[];
  readonly flips?: FlipSearch;
}

function titleOf({ workload: { cluster }, step }: Problem): string {
  const { model, layout, sequence, sequences } = step;
  const network = cluster.tiers
    .map(
      ({ name, ports, bytesPerSecond }) =>
        `${name} ${ports > 1 ? `${ports} x ` : ''}${formatBandwidth(bytesPerSecond)}`,
    )
    .join(', ');
  const tokens = `${sequences > 1 ? `${sequences} x ` : ''}${count(sequence, 'token', 'tokens')}`;
  return (
    `${model.name} · ${devicesText(cluster)} x ${cluster.device.name} (${network}) · ` +
    `${formatLayout(layout)} · ${tokens}`
  );
}

/** What each way takes, with the chosen one marked, and what the columns mean. */
function candidatesText({ flags, choice: { best, candidates } }: LayoutPlan, style: Style): string {
  const what = flags.scope === 'layer' ? 'one MoE layer' : 'dispatch + combine, one layer';
  const skewed = flags.routing.kind !== 'uniform';
  const columns = [
    { header: `${what} (predicted)` },
    { header: 'forward', align: 'number' as const },
    { header: 'backward', align: 'number' as const },
    ...best.forward.bytes.flatMap(({ name }) => [
      { header: name, align: 'number' as const },
      ...(skewed ? [{ header: 'busiest', align: 'number' as const }] : []),
    ]),
    { header: 'hidden', align: 'right' as const },
    { header: 'rests on' },
  ];
  const rows = candidates.map((candidate) => {
    const { forward, backward } = candidate;
    return [
      `${candidateName(candidate)}${isBaseline(candidate) ? '  (baseline)' : ''}`,
      passText(forward),
      passText(backward),
      ...forward.bytes.flatMap(({ perRank, busiest }) => [
        formatBytes(perRank),
        ...(skewed ? [formatBytes(busiest)] : []),
      ]),
      formatPercent(forward.hiddenShare),
      forward.basis,
    ];
  });
  return (
    `${renderTable(columns, rows, { marked: candidates.indexOf(best), style })}\n` +
    `  bytes: sent by a rank in the forward pass, mean over ranks${skewed ? ' and at the busiest port' : ''}; ` +
    `hidden: share of its communication${
      best.forward.range ? '; times: median of several draws of the hot experts (fastest to slowest)' : ''
    }${best.layout.tp === 1 ? `\n  ${oneRankReplicas(best.layout)}` : ''}\n`
  );
}

type Fact = readonly [name: string, text: string];

/** The choice over each of its rivals. */
function marginFacts(choice: Choice): Fact[] {
  const margins = rivals(choice).map((other) => ({ other, margin: marginOver(choice.best, other) }));
  const lines = margins.map(
    ({ other, margin }) =>
      `${formatPercent(margin.share)} over ${candidateName(other)}; error to expect ` +
      `${formatPercent(margin.modelError)}: ${margin.tie ? 'a tie, measure' : 'not a tie'}`,
  );
  return lines.length === 0 ? [] : [['Margin', lines.join('\n')]];
}

function flipFacts({ flags, flips }: LayoutPlan): Fact[] {
  if (flips) return [['Flips', flipText(flips)]];
  return flags.flips ? [['Flips', 'not looked for, as it does not fit']] : [];
}

/** The step with the choice, against the baseline and the best fixed strategy. */
function predictedStep({ problem, choice, steps }: LayoutPlan): Fact[] {
  const { best, baseline, bestFixed, candidates } = choice;
  if (!steps.best) return [];
  const { seconds, extended } = steps.best;
  const compared = candidates.length > 1;
  const against = [
    ...(steps.baseline && baseline && compared && !samePlan(baseline, best)
      ? [`${formatSeconds(steps.baseline.seconds)} with duplicated (${change(seconds, steps.baseline.seconds)})`]
      : []),
    ...(steps.bestFixed && compared && !samePlan(bestFixed, best)
      ? [
          `${formatSeconds(steps.bestFixed.seconds)} with the best fixed, ${candidateName(bestFixed)} ` +
            `(${change(seconds, steps.bestFixed.seconds)})`,
        ]
      : []),
  ];
  const { step, workload } = problem;
  const stack = stackText(steps.best, workload.cluster);
  const recomputed = (step.recompute ?? 'none') !== 'none';
  const text =
    `${formatSeconds(seconds)}${against.length > 0 ? ` against ${against.join(' and ')}` : ''}; ` +
    `${count(step.microBatches, 'micro-batch', 'micro-batches')}, ${recomputed ? 'with' : 'without'} ` +
    `recomputation${extended ? '; extended from few layers' : ''}`;
  return [['Step', stack === undefined ? text : `${text}\n${stack}`]];
}

/** What of the model no price has. */
function leftOutFacts({ flags, problem: { step, unpriced } }: LayoutPlan): Fact[] {
  const ofStep: Fact[] =
    unpriced.length > 0
      ? [['Step', `not predicted, its program lacks ${unpriced.join('; ')}`]]
      : leftOutOfStep(step.model).map((part) => ['Left out', `of the step: ${part}`]);
  const ofLayer = flags.scope === 'layer' ? unpricedInLayer(step.model) : [];
  return [...ofStep, ...ofLayer.map((part): Fact => ['Left out', part])];
}

/** What prices rest on. */
function groundFacts({ problem: { workload }, choice: { best } }: LayoutPlan): Fact[] {
  const { cluster, model } = workload;
  const coverage = coverageOf(model.curves, cluster, best.layout);
  const collectives = collectiveLines([...best.forward.collectives, ...best.backward.collectives]);
  return [
    ...(coverage === undefined ? [] : [['Calibrated', coverageText(coverage)] as const]),
    ['Rests on', [...collectives, ...inputLines(model, cluster)].join('\n')],
  ];
}

/** Ways that the layout refuses, by the reason. */
function refusedFacts({ refused }: Choice): Fact[] {
  const names = new Map<string, string[]>();
  for (const { name, why } of refused) names.set(why, [...(names.get(why) ?? []), name]);
  return [...names].map(([why, of]): Fact => ['Refused', `${of.join(', ')}: ${why}`]);
}

/** Prints what was chosen, and why. */
export function showLayoutPlan(console: Console, plan: LayoutPlan): void {
  const { style } = console;
  const { problem, choice, verdicts } = plan;
  console.print(`${style.bold(titleOf(problem))}\n`);
  console.print(candidatesText(plan, style));
  const facts: Fact[] = [
    ...usedDevices(problem.workload.cluster),
    ['Why', reasons(choice).join('\n')],
    ...marginFacts(choice),
    ['Overlap', overlapText(verdicts)],
    ...flipFacts(plan),
    ...predictedStep(plan),
    ...leftOutFacts(plan),
    ...groundFacts(plan),
    ...refusedFacts(choice),
  ];
  console.print(renderFacts(facts, style));
}
