/** `monta plan`: prices every way to dispatch, chooses, and says why. */
import {
  type Candidate,
  type Choice,
  chooseDispatch,
  chunksText,
  costModel,
  deviceCount,
  findFlips,
  type FlipSearch,
  formatBandwidth,
  formatBytes,
  formatInteger,
  formatLayout,
  formatPercent,
  formatSeconds,
  InputError,
  marginOver,
  moeShape,
  predictStep,
  reasons,
  type StepPrediction,
  type StepShape,
  type Workload,
} from '@monta/core';
import type { MontaContext } from '../context.js';
import { loadCalibration, loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import { layoutFlag, stepOf } from './layer-inputs.js';
import type { PlanFlags } from './plan.command.js';

/** Name with chunk counts: `scattered, 4 / 3 chunks`. */
export const candidateName = ({ name, strategy: { chunks } }: Candidate): string => `${name}${chunksText(chunks)}`;

/** `duplicated` in one piece: what everything is compared to. */
const isBaseline = ({ name, strategy: { chunks } }: Candidate): boolean =>
  name === 'duplicated' && chunksText(chunks) === '';

interface Problem {
  readonly workload: Workload;
  readonly step: StepShape;
}

/** Reads the layout; a complaint says that it is about the flag. */
function problemOf(flags: PlanFlags): Problem {
  const cluster = loadCluster(flags.cluster);
  const model = loadModel(flags.model);
  const layout = layoutFlag(flags.layout, cluster, model);
  const step = stepOf(model, layout, flags, {
    dispatch: 'sliced',
    combine: 'scattered',
    chunks: { forward: 1, backward: 1 },
  });
  const measured = flags.calibration === undefined ? {} : loadCalibration(flags.calibration, cluster, flags.dtype);
  const costs = costModel(cluster.device, {
    ...measured,
    inputs: { computeType: flags.dtype, ...measured.inputs },
    inputSource: measured.inputSource ?? '--dtype',
  });
  const { routing, seed, scope } = flags;
  return { step, workload: { cluster, shape: moeShape(step), routing, seed, model: costs, scope } };
}

interface Steps {
  readonly best?: StepPrediction;
  readonly baseline?: StepPrediction;
  readonly bestFixed?: StepPrediction;
}

function stepsOf({ workload, step }: Problem, choice: Choice): Steps {
  const predict = (candidate: Candidate | undefined) => {
    if (candidate === undefined) return undefined;
    const { cluster, routing, seed, model } = workload;
    const { layout, strategy } = candidate;
    const prediction = predictStep({ cluster, routing, seed, model, step: { ...step, layout, strategy } });
    return prediction.known ? prediction : undefined;
  };
  return { best: predict(choice.best), baseline: predict(choice.baseline), bestFixed: predict(choice.bestFixed) };
}

/** Change of a time against another, `−17 %`. */
function change(seconds: number, against: number): string {
  const share = seconds / against - 1;
  return `${share < 0 ? '−' : '+'}${formatPercent(Math.abs(share))}`;
}

/** A varied figure with its unit. */
const amount = (figure: string, value: number) => (figure === 'tokens' ? formatInteger(value) : formatBandwidth(value));

function flipText({ flips, steady }: FlipSearch): string {
  const lines = flips.map(
    ({ figure, now, at, to }) =>
      `to ${to} ${at < now ? 'below' : 'above'} about ${amount(figure, at)}${figure === 'tokens' ? ' tokens' : ` of ${figure}`} (now ${amount(figure, now)})`,
  );
  for (const { figure, from, to } of steady) {
    lines.push(`never with ${figure} from ${amount(figure, from)} to ${amount(figure, to)}`);
  }
  return lines.join('\n');
}

function show(
  console: Console,
  flags: PlanFlags,
  problem: Problem,
  choice: Choice,
  steps: Steps,
  flips?: FlipSearch,
): void {
  const { cluster } = problem.workload;
  const { best, baseline, bestFixed, runnerUp } = choice;
  const { model, layout, sequence, sequences } = problem.step;
  const network = cluster.tiers
    .map(
      ({ name, ports, bytesPerSecond }) =>
        `${name} ${ports > 1 ? `${ports} x ` : ''}${formatBandwidth(bytesPerSecond)}`,
    )
    .join(', ');
  const tokens = `${sequences > 1 ? `${sequences} x ` : ''}${formatInteger(sequence)} tokens`;
  const title = `${model.name} · ${deviceCount(cluster)} x ${cluster.device.name} (${network}) · ${formatLayout(layout)} · ${tokens}`;
  console.print(`${console.style.bold(title)}\n`);
  const what = flags.scope === 'layer' ? 'one MoE layer' : 'dispatch + combine, one layer';
  const columns = [
    { header: `${what} (predicted)` },
    { header: 'forward', align: 'number' as const },
    { header: 'backward', align: 'number' as const },
    ...best.forward.bytes.map(({ name }) => ({ header: name, align: 'number' as const })),
    { header: 'hidden', align: 'right' as const },
    { header: 'rests on' },
  ];
  const rows = choice.candidates.map((candidate) => {
    const { forward, backward } = candidate;
    return [
      `${candidateName(candidate)}${isBaseline(candidate) ? '  (baseline)' : ''}`,
      formatSeconds(forward.seconds),
      formatSeconds(backward.seconds),
      ...forward.bytes.map(({ perRank }) => formatBytes(perRank)),
      formatPercent(forward.hiddenShare),
      forward.basis,
    ];
  });
  console.print(renderTable(columns, rows, { marked: choice.candidates.indexOf(best), style: console.style }));
  console.print('  bytes: sent by a rank in the forward pass, mean over ranks; hidden: share of its communication\n');

  const facts: [string, string][] = [['Why', reasons(choice).join('\n')]];
  const margins = [...new Set([runnerUp, bestFixed])].flatMap((other) =>
    other === undefined || other === best ? [] : [{ other, margin: marginOver(best, other) }],
  );
  if (margins.length > 0) {
    facts.push([
      'Margin',
      margins
        .map(
          ({ other, margin }) =>
            `${formatPercent(margin.share)} over ${candidateName(other)}; assumed error of the model ${formatPercent(margin.modelError)}: ${margin.tie ? 'a tie, measure' : 'not a tie'}`,
        )
        .join('\n'),
    ]);
  }
  if (flips) facts.push(['Flips', flipText(flips)]);
  if (steps.best) {
    const against = [
      ...(steps.baseline && baseline !== best
        ? [
            `${formatSeconds(steps.baseline.seconds)} with duplicated (${change(steps.best.seconds, steps.baseline.seconds)})`,
          ]
        : []),
      ...(steps.bestFixed && bestFixed !== best
        ? [
            `${formatSeconds(steps.bestFixed.seconds)} with the best fixed, ${candidateName(bestFixed)} (${change(steps.best.seconds, steps.bestFixed.seconds)})`,
          ]
        : []),
    ];
    facts.push([
      'Step',
      `${formatSeconds(steps.best.seconds)}${against.length > 0 ? ` against ${against.join(' and ')}` : ''}; one micro-batch, without recomputation${steps.best.extended ? '; extended from few layers' : ''}`,
    ]);
  }
  for (const { name, why } of choice.refused) facts.push(['Refused', `${name}: ${why}`]);
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

/** Runs the command. Throws `InputError` for bad input, and when something needed for a price is not known. */
export function runPlan({ console }: MontaContext, flags: PlanFlags): void {
  const problem = problemOf(flags);
  const choice = chooseDispatch(problem.workload);
  if (!choice.known) {
    throw new InputError('this cannot be priced', { file: flags.cluster, expected: choice.missing.join('; ') });
  }
  const steps = stepsOf(problem, choice);
  const flips = flags.flips ? findFlips(problem.workload, choice.best, {}) : undefined;
  if (!flags.json) {
    show(console, flags, problem, choice, steps, flips);
    return;
  }
  const { best, baseline, bestFixed, runnerUp } = choice;
  const { workload, step } = problem;
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
    best: describeCandidate(best),
    baseline: describeCandidate(baseline),
    bestFixed: describeCandidate(bestFixed),
    runnerUp: describeCandidate(runnerUp),
    candidates: choice.candidates.map(describeCandidate),
    refused: choice.refused,
    reasons: reasons(choice),
    margins: [...new Set([runnerUp, bestFixed])].flatMap((other) =>
      other === undefined || other === best ? [] : [marginOver(best, other)],
    ),
    flips: flips ?? null,
    step: {
      best: describeStep(steps.best),
      baseline: describeStep(steps.baseline),
      bestFixed: describeStep(steps.bestFixed),
    },
  });
}
