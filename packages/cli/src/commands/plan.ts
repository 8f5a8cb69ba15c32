/** `monta plan`: prices every way to dispatch, chooses, and says why. */
import type { Candidate, StepPrediction } from '@monta/core';
import { InputError } from '@monta/core/units';
import { deviceCount } from '@monta/core/cluster';
import { formatLayout } from '@monta/core/layout';
import { describeCostModel } from '@monta/core/cost';
import { chooseDispatch, chooseOverlap, findFlips, marginOver, reasons, rivals } from '@monta/core/plan';
import { coverageOf } from '../calibrate/coverage-facts.js';
import { givenKinds } from '../config/overlap-config.js';
import type { MontaContext } from '../context.js';
import { nearestStageTo, nearestText, ofCapacity } from './fit-text.js';
import type { PlanFlags } from './plan.flags.js';
import { showLayoutPlan } from './plan-layout-text.js';
import { type LayoutFlags, problemOf, stepsOf, fittingEtps } from './plan-layout.js';

/** The JSON of a candidate. */
const describeCandidate = (candidate: Candidate | undefined) =>
  candidate === undefined ? null : { ...candidate, layout: formatLayout(candidate.layout) };

/** The JSON of a predicted step, without its trace. */
const describeStep = (step: StepPrediction | undefined) =>
  step === undefined
    ? null
    : { seconds: step.seconds, tokensPerSecond: step.tokensPerSecond, basis: step.basis, extended: step.extended };

/** Runs the command. Throws `InputError` for bad input, and when something needed for a price is not known. */
export async function runPlan(context: MontaContext, flags: PlanFlags): Promise<void> {
  const { layout } = flags;
  if (layout === undefined) await (await import('./plan-search.js')).runPlanSearch(context, flags);
  else planLayout(context, { ...flags, layout });
}

function planLayout({ console }: MontaContext, flags: LayoutFlags): void {
  const problem = problemOf(flags, console);
  const { fit, setting, workload } = problem;
  /** Where it does not fit: what is near it and does. */
  const nearest = fit.fits ? null : nearestStageTo(setting, workload.cluster, flags);
  // Known at once, while prices of a large layout take a while.
  if (nearest !== null && !flags.json) console.print(`does not fit: ${ofCapacity(fit)}\n${nearestText(nearest)}\n`);
  const options = { expertTensorParallel: fittingEtps(problem) };
  const dispatch = chooseDispatch(workload, options);
  const given = givenKinds(flags).layer;
  const chosen = dispatch.known ? chooseOverlap(workload, dispatch, { given }) : dispatch;
  if (!chosen.known)
    throw new InputError('this cannot be priced', { file: flags.cluster, expected: chosen.missing.join('; ') });
  const { choice } = chosen;
  const steps = stepsOf(problem, choice, flags);
  const verdicts = [...chosen.verdicts, ...steps.verdicts];
  const flips =
    flags.flips && fit.fits ? findFlips(workload, choice.best, { ...options, overlapGiven: given }) : undefined;
  if (!flags.json) {
    showLayoutPlan(console, { flags, problem, choice, steps, verdicts, flips });
    return;
  }
  const { best, baseline, bestFixed, runnerUp } = choice;
  const { step } = problem;
  console.json({
    cluster: workload.cluster.name,
    devices: deviceCount(workload.cluster),
    part: workload.cluster.part ?? null,
    model: step.model.name,
    layout: formatLayout(step.layout, workload.cluster),
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
    memory: steps.fit,
    nearest,
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
