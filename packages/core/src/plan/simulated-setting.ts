/**
 * A setting of a search as the program of its step, simulated: what the estimate is judged by. Programs have tensor,
 * expert and pipeline parallelism; what they lack is said instead of guessed.
 */
import { isDual, memorySetting, type RunSetting } from '../estimate/index.js';
import { costModel, type CostInputs } from '../cost/index.js';
import { placedOn } from '../layout/mesh.js';
import { sharingRules } from '../memory/index.js';
import { countedElements } from '../memory/states.js';
import { inChunks, namedStrategies, unsupportedStrategy } from '../schedule/dispatchers/strategies.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import { dispatchOf } from './document/write-plan.js';
import { simulateRun, type RunSimulation } from './simulate-run.js';

/** A setting that cannot be simulated, and why. */
export interface NotSimulated {
  readonly known: false;
  readonly why: string;
}

/** What of a setting the program of a step does not do. */
function lacking({ layout, schedule, sharing, overlap, precision }: RunSetting): string | undefined {
  if (layout.cp > 1) return 'programs have no context parallelism';
  if (schedule === 'zero-bubble' || isDual(schedule)) return `programs have no ${schedule}`;
  if (sharingRules[sharing].weights) return 'programs gather no weights';
  if (sharingRules[sharing].gradients) return 'programs split no gradients';
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
  return refused === undefined ? { ...step, layout, strategy } : { known: false, why: refused };
}

/** Share of the update that a rank does where those that hold the same parameters share the optimizer. */
function ownUpdate({ sharing, layout, model }: RunSetting): number {
  if (!sharingRules[sharing].optimizer) return 1;
  let [own, all] = [0, 0];
  for (let layer = 0; layer < model.layers; layer++) {
    const { dense, expert } = countedElements(model, layout, layer);
    all += dense + expert;
    own += dense / (layout.dp * layout.cp) + expert / layout.edp;
  }
  return own / all;
}

/**
 * A step of a setting, simulated by what kernels and collectives take (`costModel`), without a framework's host: pass
 * by pass where it is large, in one with `exact`. Gradients are reduced whole, also where a distributed optimizer would
 * scatter them.
 */
export function simulateSetting(setting: RunSetting, { exact = false } = {}): RunSimulation | NotSimulated {
  const step = stepOfSetting(setting);
  if ('known' in step) return step;
  const computeType: CostInputs['computeType'] = setting.precision === 'fp8' ? 'fp8' : 'bf16';
  const run = simulateRun({
    cluster: setting.cluster,
    step,
    routing: { kind: 'uniform' },
    seed: 1,
    model: costModel(setting.cluster.device, { inputs: { computeType } }),
    ...(exact ? { depth: 'whole' } : {}),
  });
  if (!run.known) return { known: false, why: `no price for ${run.missing.join(', ')}` };
  const seconds = run.seconds - run.updateSeconds * (1 - ownUpdate(setting));
  return { ...run, seconds, tokensPerSecond: (run.tokensPerSecond * run.seconds) / seconds };
}
