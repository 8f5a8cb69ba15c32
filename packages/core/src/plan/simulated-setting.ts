/**
 * A setting of a search as the program of its step, simulated: what the estimate is judged by. Programs have tensor,
 * expert and pipeline parallelism; what they lack is said instead of guessed.
 */
import { isDual, memorySetting, type RunSetting } from '../estimate/index.js';
import { costModel, type CostModel, type UnknownEstimate } from '../cost/index.js';
import { placedOn } from '../layout/mesh.js';
import { precisions, sharingRules } from '../memory/index.js';
import { stateSharing } from '../memory/states.js';
import { inChunks, namedStrategies, unsupportedStrategy } from '../schedule/dispatchers/strategies.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import { dispatchOf } from './dispatch-of.js';
import type { PlanOverlap, PlanOverlaps } from './plan-overlap.js';
import { simulateRun, type RunSimulation } from './simulate-run.js';

/** A setting that cannot be simulated, and why. */
export interface NotSimulated {
  readonly known: false;
  readonly why: string;
}

/** What of a setting the program of a step does not do. */
function lacking({
  layout,
  schedule,
  overlap,
  precision,
  rankOrder,
  hostStates,
  weightShards,
}: RunSetting): string | undefined {
  if (layout.cp > 1) return 'programs have no context parallelism';
  if (schedule === 'zero-bubble' || isDual(schedule)) return `programs have no ${schedule}`;
  if (rankOrder === 'pp-dp') return 'programs have stages outside replicas';
  if (weightShards !== undefined) return 'programs of a search have no weight shards';
  if (hostStates === true) return 'programs keep states on the device';
  if (overlap.ep) return "programs exchange experts' rows beside no other micro-batch";
  if (precision !== 'bf16' && precision !== 'fp8') return `kernels have no prices in ${precision}`;
  return undefined;
}

/** The step of a setting; or why there is no program of it. */
export function stepOfSetting(setting: RunSetting): StepShape | NotSimulated {
  const why = lacking(setting);
  if (why !== undefined) return { known: false, why };
  const strategy = inChunks(namedStrategies[dispatchOf[setting.dispatcher]], 1);
  const { step } = memorySetting(setting);
  const layout = placedOn(step.layout, setting.cluster);
  const refused = setting.model.moeLayers.includes(true)
    ? unsupportedStrategy(strategy, moeShape({ ...step, layout }))
    : undefined;
  if (refused !== undefined) return { known: false, why: refused };
  const shared = stateSharing(sharingRules[setting.sharing], precisions[setting.states]);
  return { ...step, layout, strategy, stateSharing: shared };
}

/**
 * A step of a setting, simulated by what kernels and collectives take (`costModel`), without a framework's host: pass
 * by pass where it is large, in one with `exact`.
 */
export function simulateSetting(setting: RunSetting, { exact = false } = {}): RunSimulation | NotSimulated {
  const step = stepOfSetting(setting);
  if ('known' in step) return step;
  const run = simulateRun({
    cluster: setting.cluster,
    step,
    routing: { kind: 'uniform' },
    seed: 1,
    model: pricesOf(setting),
    ...(exact ? { depth: 'whole' } : {}),
  });
  return run.known ? run : unknownPrice(run);
}

const pricesOf = ({ cluster, precision }: RunSetting): CostModel =>
  costModel(cluster.device, { inputs: { computeType: precision === 'fp8' ? 'fp8' : 'bf16' } });

const unknownPrice = ({ missing }: UnknownEstimate): NotSimulated => ({
  known: false,
  why: `no price for ${missing.join(', ')}`,
});

/** The same with its chunks, and with what runs beside what, as is fastest (`PlanOverlaps`). */
export function simulateOverlapped(setting: RunSetting, overlaps: PlanOverlaps): PlanOverlap | NotSimulated {
  const step = stepOfSetting(setting);
  if ('known' in step) return step;
  const chosen = overlaps.choose(step, pricesOf(setting), memorySetting(setting));
  return 'step' in chosen ? chosen : unknownPrice(chosen);
}
