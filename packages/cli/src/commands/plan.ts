/** `monta plan`: prices every way to dispatch, chooses, and says why. */
import {
  alternativeEtps,
  describeCostModel,
  type Candidate,
  type Choice,
  chooseDispatch,
  chooseOverlap,
  chooseStepOverlap,
  chunksText,
  deviceCount,
  findFlips,
  fitOf,
  fitsClosed,
  type FlipSearch,
  formatBandwidth,
  formatBytes,
  formatInteger,
  formatLayout,
  formatPercent,
  formatSeconds,
  inChunks,
  InputError,
  marginOver,
  moeShape,
  namedStrategies,
  type OverlapVerdict,
  predictStep,
  reasons,
  rivals,
  samePlan,
  leftOutOfStep,
  unpricedInLayer,
  unpricedInStep,
  withEtp,
  type MemoryFit,
  type MemorySetting,
  type StepPrediction,
  type StepShape,
  type Workload,
  maxOf,
  minOf,
} from '@monta/core';
import { collectiveLines, coverageOf, coverageText } from '../calibrate/coverage-facts.js';
import { givenKinds } from '../config/overlap-config.js';
import type { MontaContext } from '../context.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import { costsOf, inputLines, withLatencies } from './cost-flags.js';
import { layoutFlag, stepOf } from './layer-inputs.js';
import { memorySetting, nearestText, ofCapacity } from './memory-flags.js';
import { overlapText } from './overlap-text.js';
import { stackText } from './step-text.js';
import type { PlanFlags } from './plan.command.js';

/** Name with chunk counts: `scattered, 4 / 3 chunks`. */
export const candidateName = ({ name, strategy: { chunks } }: Candidate): string => `${name}${chunksText(chunks)}`;

/** `duplicated` in one piece: what everything is compared to. */
const isBaseline = ({ name, strategy: { chunks } }: Candidate): boolean =>
  name === 'duplicated' && chunksText(chunks) === '';

interface Problem {
  readonly workload: Workload;
  readonly step: StepShape;
  /** What the model has and the step's program lacks: then no step is predicted. */
  readonly unpriced: readonly string[];
  readonly setting: MemorySetting;
  readonly fit: MemoryFit;
}

/** Flags of a plan whose layout is given. */
type LayoutFlags = PlanFlags & { readonly layout: string };

/** In what rows of a layout with tp=1 differ. */
const oneRankReplicas = ({ etp, ep }: Candidate['layout']): string =>
  'a replica is one rank: duplicated, sliced, scattered and pipelined are one program, shown with its best chunks; ' +
  (etp * ep === 1
    ? 'nothing travels, rows differ in how often kernels copy a token'
    : 'rows differ in which copies of a token travel and where its picks are summed');

/** One number of virtual stages: a layout is given whole. */
function virtualStagesOf({ virtualStages }: PlanFlags): number {
  if (virtualStages === undefined) return 1;
  if (virtualStages.min === virtualStages.max) return virtualStages.min;
  throw new InputError('several numbers of virtual stages', {
    file: '--virtual-stages',
    expected: 'one number beside --layout',
  });
}

/** Throws `InputError` for flags that bound a search, beside a layout that leaves nothing to search. */
function refuseBounds(flags: LayoutFlags): void {
  const { tp, cp, pp, dp, ep, etp, microBatch, globalBatch, framework, schedule, compute, stack, output } = flags;
  const bounds = { tp, cp, pp, dp, ep, etp, microBatch, globalBatch, framework, schedule, compute, stack, output };
  const given = Object.entries(bounds).find(([, value]) => value !== undefined);
  if (given === undefined) return;
  const flag = given[0].replace(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`);
  throw new InputError('bounds a search, and --layout leaves none', {
    file: `--${flag}`,
    expected: 'either --layout or bounds of one',
  });
}

/** Reads the layout; a complaint says that it is about the flag. */
function problemOf(flags: LayoutFlags): Problem {
  refuseBounds(flags);
  const cluster = withLatencies(loadCluster(flags.cluster), flags.latency);
  const model = loadModel(flags.model);
  const layout = layoutFlag(flags.layout, cluster, { model });
  const { sharing = 'distributed-optimizer', recompute = 'none' } = flags;
  const setting = memorySetting(stepOf(model, layout, flags, inChunks(namedStrategies.scattered, 1)), {
    ...flags,
    sharing,
    recompute,
    virtualStages: virtualStagesOf(flags),
  });
  const { step } = setting;
  const { routing, seed, scope } = flags;
  const workload = { cluster, shape: moeShape(step), routing, seed, model: costsOf(flags, cluster), scope };
  return { step, workload, unpriced: unpricedInStep(model), setting, fit: fitOf(setting, cluster) };
}

interface Steps {
  readonly best?: StepPrediction;
  /** What of the best step runs beside what. */
  readonly verdicts: readonly OverlapVerdict[];
  readonly baseline?: StepPrediction;
  readonly bestFixed?: StepPrediction;
}

function stepsOf(problem: Problem, choice: Choice, flags: PlanFlags): Steps {
  const { workload, step, unpriced, setting, fit } = problem;
  if (unpriced.length > 0) return { verdicts: [] };
  const { cluster, routing, seed, model } = workload;
  const workloadOf = ({ layout, strategy, overlap = step.overlap }: Candidate) => ({
    cluster,
    routing,
    seed,
    model,
    step: { ...step, layout, strategy, ...(overlap === undefined ? {} : { overlap }) },
  });
  const predict = (candidate: Candidate | undefined) => {
    const prediction = candidate && predictStep(workloadOf(candidate));
    return prediction?.known === true ? prediction : undefined;
  };
  const { layout, microBatches } = step;
  const twice = { ...setting, step: { ...setting.step, sequences: 2 * step.sequences } };
  const best = chooseStepOverlap(workloadOf(choice.best), {
    given: givenKinds(flags).step,
    // bounds it from above: all that a micro-batch needs, twice
    roomForPasses: layout.pp === 1 && microBatches > 1 && fit.fits && fitsClosed(twice, cluster),
  });
  return {
    ...(best.known ? { best: best.prediction } : {}),
    verdicts: best.known ? best.verdicts : [],
    baseline: predict(choice.baseline),
    bestFixed: predict(choice.bestFixed),
  };
}

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

function show({
  console,
  flags,
  problem,
  choice,
  steps,
  verdicts,
  flips,
}: {
  readonly console: Console;
  readonly flags: PlanFlags;
  readonly problem: Problem;
  readonly choice: Choice;
  readonly steps: Steps;
  readonly verdicts: readonly OverlapVerdict[];
  readonly flips?: FlipSearch;
}): void {
  const { cluster } = problem.workload;
  const { best, baseline, bestFixed } = choice;
  const { model, layout, sequence, sequences, microBatches } = problem.step;
  const network = cluster.tiers
    .map(
      ({ name, ports, bytesPerSecond }) =>
        `${name} ${ports > 1 ? `${ports} x ` : ''}${formatBandwidth(bytesPerSecond)}`,
    )
    .join(', ');
  const tokens = `${sequences > 1 ? `${sequences} x ` : ''}${count(sequence, 'token', 'tokens')}`;
  const title =
    `${model.name} · ${deviceCount(cluster)} x ${cluster.device.name} (${network}) · ` +
    `${formatLayout(layout)} · ${tokens}`;
  console.print(`${console.style.bold(title)}\n`);
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
  const rows = choice.candidates.map((candidate) => {
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
  console.print(renderTable(columns, rows, { marked: choice.candidates.indexOf(best), style: console.style }));
  console.print(
    `  bytes: sent by a rank in the forward pass, mean over ranks${skewed ? ' and at the busiest port' : ''}; ` +
      `hidden: share of its communication${
        best.forward.range ? '; times: median of several draws of the hot experts (fastest to slowest)' : ''
      }${best.layout.tp === 1 ? `\n  ${oneRankReplicas(best.layout)}` : ''}\n`,
  );

  const facts: [string, string][] = [['Why', reasons(choice).join('\n')]];
  const margins = rivals(choice).map((other) => ({ other, margin: marginOver(best, other) }));
  if (margins.length > 0) {
    facts.push([
      'Margin',
      margins
        .map(
          ({ other, margin }) =>
            `${formatPercent(margin.share)} over ${candidateName(other)}; error to expect ` +
            `${formatPercent(margin.modelError)}: ${margin.tie ? 'a tie, measure' : 'not a tie'}`,
        )
        .join('\n'),
    ]);
  }
  facts.push(['Overlap', overlapText(verdicts)]);
  if (flips) facts.push(['Flips', flipText(flips)]);
  else if (flags.flips) facts.push(['Flips', 'not looked for, as it does not fit']);
  if (steps.best) {
    const compared = choice.candidates.length > 1;
    const against = [
      ...(steps.baseline && baseline && compared && !samePlan(baseline, best)
        ? [
            `${formatSeconds(steps.baseline.seconds)} with duplicated ` +
              `(${change(steps.best.seconds, steps.baseline.seconds)})`,
          ]
        : []),
      ...(steps.bestFixed && compared && !samePlan(bestFixed, best)
        ? [
            `${formatSeconds(steps.bestFixed.seconds)} with the best fixed, ${candidateName(bestFixed)} ` +
              `(${change(steps.best.seconds, steps.bestFixed.seconds)})`,
          ]
        : []),
    ];
    const stack = stackText(steps.best, cluster);
    const recomputed = (problem.step.recompute ?? 'none') !== 'none';
    facts.push([
      'Step',
      [
        `${formatSeconds(steps.best.seconds)}${against.length > 0 ? ` against ${against.join(' and ')}` : ''}; ` +
          `${count(microBatches, 'micro-batch', 'micro-batches')}, ${recomputed ? 'with' : 'without'} ` +
          `recomputation${steps.best.extended ? '; extended from few layers' : ''}`,
        ...(stack === undefined ? [] : [stack]),
      ].join('\n'),
    ]);
  }
  if (problem.unpriced.length > 0)
    facts.push(['Step', `not predicted, its program lacks ${problem.unpriced.join('; ')}`]);
  else for (const part of leftOutOfStep(model)) facts.push(['Left out', `of the step: ${part}`]);
  if (flags.scope === 'layer') for (const part of unpricedInLayer(model)) facts.push(['Left out', part]);
  const coverage = coverageOf(problem.workload.model.curves, cluster, best.layout);
  if (coverage !== undefined) facts.push(['Calibrated', coverageText(coverage)]);
  const collectives = collectiveLines([...best.forward.collectives, ...best.backward.collectives]);
  facts.push(['Rests on', [...collectives, ...inputLines(problem.workload.model, cluster)].join('\n')]);
  const refused = new Map<string, string[]>();
  for (const { name, why } of choice.refused) refused.set(why, [...(refused.get(why) ?? []), name]);
  for (const [why, names] of refused) facts.push(['Refused', `${names.join(', ')}: ${why}`]);
  console.print(renderFacts(facts, console.style));
}

/** The JSON of a candidate. */
const describeCandidate = (candidate: Candidate | undefined) =>
  candidate === undefined ? null : { ...candidate, layout: formatLayout(candidate.layout) };

/** The JSON of a predicted step, without its trace. */
const describeStep = (step: StepPrediction | undefined) =>
  step === undefined
    ? null
    : { seconds: step.seconds, tokensPerSecond: step.tokensPerSecond, basis: step.basis, extended: step.extended };

/** Alternatives to the layout's etp, only such as fit where the layout itself does. */
function fittingEtps({ workload: { cluster, shape }, setting, fit }: Problem): number[] {
  const all = alternativeEtps(shape);
  if (!fit.fits) return all;
  const { layout } = setting.step;
  return all.filter(
    (etp) =>
      etp === layout.etp ||
      fitsClosed({ ...setting, step: { ...setting.step, layout: withEtp(shape, etp).layout } }, cluster),
  );
}

/** Runs the command. Throws `InputError` for bad input, and when something needed for a price is not known. */
export async function runPlan(context: MontaContext, flags: PlanFlags): Promise<void> {
  const { layout } = flags;
  if (layout === undefined) await (await import('./plan-search.js')).runPlanSearch(context, flags);
  else planLayout(context, { ...flags, layout });
}

function planLayout({ console }: MontaContext, flags: LayoutFlags): void {
  const problem = problemOf(flags);
  const { fit, setting, workload } = problem;
  // Known at once, while prices of a large layout take a while.
  if (!fit.fits && !flags.json)
    console.print(`does not fit: ${ofCapacity(fit)}\n${nearestText(setting, workload.cluster)}\n`);
  const options = { expertTensorParallel: fittingEtps(problem) };
  const dispatch = chooseDispatch(workload, options);
  const chosen = dispatch.known ? chooseOverlap(workload, dispatch, { given: givenKinds(flags).layer }) : dispatch;
  if (!chosen.known || !dispatch.known) {
    const missing = chosen.known ? [] : chosen.missing;
    throw new InputError('this cannot be priced', { file: flags.cluster, expected: missing.join('; ') });
  }
  const { choice } = chosen;
  const steps = stepsOf(problem, choice, flags);
  const verdicts = [...chosen.verdicts, ...steps.verdicts];
  const flips = flags.flips && fit.fits ? findFlips(workload, dispatch.best, options) : undefined;
  if (!flags.json) {
    show({ console, flags, problem, choice, steps, verdicts, flips });
    return;
  }
  const { best, baseline, bestFixed, runnerUp } = choice;
  const { step } = problem;
  console.json({
    cluster: workload.cluster.name,
    model: step.model.name,
    layout: formatLayout(step.layout),
    sequence: step.sequence,
    sequences: step.sequences,
    routing: flags.routing,
    scope: flags.scope,
    dtype: flags.dtype,
    calibration: flags.calibration ?? null,
    calibrationCoverage: coverageOf(workload.model.curves, workload.cluster, best.layout) ?? null,
    microBatches: step.microBatches,
    capacityFactor: step.capacityFactor ?? null,
    payload: step.payload ?? null,
    inputs: describeCostModel(workload.model),
    unpriced: problem.unpriced,
    memory: problem.fit,
    best: describeCandidate(best),
    baseline: describeCandidate(baseline),
    bestFixed: describeCandidate(bestFixed),
    runnerUp: describeCandidate(runnerUp),
    candidates: choice.candidates.map(describeCandidate),
    refused: choice.refused,
    reasons: reasons(choice),
    margins: rivals(choice).map((other) => marginOver(best, other)),
    overlap: verdicts,
    flips: flips ?? null,
    step: {
      best: describeStep(steps.best),
      baseline: describeStep(steps.baseline),
      bestFixed: describeStep(steps.bestFixed),
    },
  });
}
