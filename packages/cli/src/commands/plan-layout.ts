/** What `monta plan` asks about a given layout: the workload, whether it fits, and steps of what was chosen. */
import type {
  Candidate,
  Choice,
  MemoryFit,
  MemorySetting,
  OverlapVerdict,
  StepOverlap,
  StepPrediction,
  StepShape,
  Workload,
} from '@monta/core';
import { InputError } from '@monta/core/units';
import { inChunks, moeShape, namedStrategies } from '@monta/core/schedule';
import { alternativeEtps, chooseStepOverlap, predictStep, unpricedInStep, withEtp } from '@monta/core/plan';
import { fitOf, fitsClosed, roomForPairs, withPassesInPairs } from '@monta/core/memory';
import { givenKinds } from '../config/overlap-config.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { costsOf, withLatencies } from './cost-flags.js';
import { clusterUnder, layoutFlag, stepOf } from './layer-inputs.js';
import { fitUnderFlags, memorySetting } from './memory-flags.js';
import type { PlanFlags } from './plan.flags.js';
import { searchFlags, type SearchFlags } from './search-flags.js';

export interface Problem {
  readonly workload: Workload;
  readonly step: StepShape;
  /** What the model has and the step's program lacks: then no step is predicted. */
  readonly unpriced: readonly string[];
  readonly setting: MemorySetting;
  readonly fit: MemoryFit;
}

/** Flags of a plan whose layout is given. */
export type LayoutFlags = PlanFlags & { readonly layout: string };

/** One number of virtual stages: a layout is given whole. */
function virtualStagesOf({ virtualStages }: PlanFlags): number {
  if (virtualStages === undefined) return 1;
  if (virtualStages.min === virtualStages.max) return virtualStages.min;
  throw new InputError('several numbers of virtual stages', {
    file: '--virtual-stages',
    expected: 'one number beside --layout',
  });
}

const searchDefaults: Partial<Record<keyof SearchFlags, unknown>> = { exact: false };

/** All flags of a search but the one that a layout has too. */
const searchOnly = (Object.keys(searchFlags) as (keyof SearchFlags)[]).filter((key) => key !== 'virtualStages');

/** Throws `InputError` for flags that bound a search, beside a layout that leaves nothing to search. */
function refuseBounds(flags: LayoutFlags): void {
  const given = searchOnly.find((key) => flags[key] !== undefined && flags[key] !== searchDefaults[key]);
  if (given === undefined) return;
  const flag = given.replace(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`);
  throw new InputError('bounds a search, and --layout leaves none', {
    file: `--${flag}`,
    expected: 'either --layout or bounds of one',
  });
}

/** Reads the layout; a complaint says that it is about the flag. */
export function problemOf(flags: LayoutFlags, console: Console): Problem {
  refuseBounds(flags);
  const cluster = withLatencies(clusterUnder(flags.layout, loadCluster(flags.cluster, console)), flags.latency);
  const model = loadModel(flags.model);
  const layout = layoutFlag(flags.layout, cluster, { model });
  const { sharing = 'distributed-optimizer', recompute = 'none' } = flags;
  const { weightShards = 1, expertWeightShards = 1 } = flags;
  const setting = memorySetting(stepOf(model, layout, flags, inChunks(namedStrategies.scattered, 1)), {
    ...flags,
    sharing,
    recompute,
    weightShards,
    expertWeightShards,
    virtualStages: virtualStagesOf(flags),
  });
  const { step } = setting;
  const { routing, seed, scope } = flags;
  const workload = { cluster, shape: moeShape(step), routing, seed, model: costsOf(flags, cluster), scope };
  return { step, workload, unpriced: unpricedInStep(model), setting, fit: fitUnderFlags(setting, cluster) };
}

/** Predicted steps. */
export interface Steps {
  readonly best?: StepPrediction;
  /** Of the step that was chosen: passes beside each other hold more. */
  readonly fit: MemoryFit;
  /** What of the best step runs beside what. */
  readonly verdicts: readonly OverlapVerdict[];
  readonly baseline?: StepPrediction;
  readonly bestFixed?: StepPrediction;
}

const stepKindsOf = ({ reductions, passes }: StepShape): StepOverlap => ({
  ...(reductions === undefined ? {} : { reductions }),
  ...(passes === undefined ? {} : { passes }),
});

/** Steps with what was chosen, and with what it is compared to. */
export function stepsOf(problem: Problem, choice: Choice, flags: PlanFlags): Steps {
  const { workload, step, unpriced, setting, fit } = problem;
  if (unpriced.length > 0) return { fit, verdicts: [] };
  const { cluster, routing, seed, model } = workload;
  const workloadOf = ({ layout, strategy, overlap = step.overlap }: Candidate, kinds: StepOverlap = {}) => ({
    cluster,
    routing,
    seed,
    model,
    step: { ...step, ...kinds, layout, strategy, ...(overlap === undefined ? {} : { overlap }) },
  });
  const best = chooseStepOverlap(workloadOf(choice.best), {
    given: givenKinds(flags).step,
    roomForPasses: roomForPairs(setting, cluster),
  });
  // the same steps but for how tokens travel: reductions and passes as in the best
  const kinds = best.known ? stepKindsOf(best.step) : {};
  const predict = (candidate: Candidate | undefined) => {
    const prediction = candidate && predictStep(workloadOf(candidate, kinds));
    return prediction?.known === true ? prediction : undefined;
  };
  const differs = best.known && best.step.passes === 'beside' && step.passes !== 'beside';
  return {
    ...(best.known ? { best: best.prediction } : {}),
    fit: differs ? fitOf(withPassesInPairs(setting), cluster) : fit,
    verdicts: best.known ? best.verdicts : [],
    baseline: predict(choice.baseline),
    bestFixed: predict(choice.bestFixed),
  };
}

/** Alternatives to the layout's etp, only such as fit where the layout itself does. */
export function fittingEtps({ workload: { cluster, shape }, setting, fit }: Problem): number[] {
  const all = alternativeEtps(shape);
  if (!fit.fits) return all;
  const { layout } = setting.step;
  return all.filter(
    (etp) =>
      etp === layout.etp ||
      fitsClosed({ ...setting, step: { ...setting.step, layout: withEtp(shape, etp).layout } }, cluster),
  );
}
