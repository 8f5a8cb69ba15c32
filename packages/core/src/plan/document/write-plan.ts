/** From a search to the file of its plan, and from the file back to the setting of a run. */
import type { Cluster } from '../../cluster/cluster.js';
import { deviceCount } from '../../cluster/ports.js';
import { estimateStep, microBatchesOf, runSetting, type DispatchKind, type RunSetting } from '../../estimate/index.js';
import { checkModelLayout, formatLayout, parseLayout, type Layout } from '../../layout/index.js';
import { checkWeightShards } from '../../memory/index.js';
import type { MoeModel } from '../../model/model.js';
import type { Candidate, SearchResult } from '../search/search.js';
import { InputError } from '../../units/errors.js';
import type { PlanProblem } from '../space/problem.js';
import { planVersion, type PlanDocument } from './plan-document.js';

/** Halves that move rows as a kind says. */
export const dispatchOf = {
  all_to_all: 'scattered',
  deduplicated: 'deduplicated',
  gathered: 'gathered',
} as const satisfies Readonly<Record<DispatchKind, string>>;

type Chosen = Omit<PlanDocument['runnersUp'][number], 'expected'>;

function chosenOf(setting: RunSetting): Chosen {
  const { layout, virtualStages, layersOfStages, microBatch, schedule, dispatcher, sharing, recompute, overlap } =
    setting;
  const { rankOrder, hostStates, weightShards } = setting;
  return {
    layout: formatLayout(layout),
    virtualStages,
    ...(layersOfStages === undefined ? {} : { layersOfStages: [...layersOfStages] }),
    sequences: microBatch,
    microBatches: microBatchesOf(setting),
    schedule,
    dispatcher,
    dispatch: dispatchOf[dispatcher],
    ...(rankOrder === undefined ? {} : { rankOrder }),
    ...(hostStates === undefined ? {} : { hostStates }),
    ...(weightShards === undefined ? {} : { weightShards }),
    sharing,
    recompute: typeof recompute === 'string' ? recompute : [...recompute],
    overlap,
  };
}

function expectedOf({ setting, seconds, memoryBytes }: Candidate): PlanDocument['runnersUp'][number]['expected'] {
  const { mfu } = estimateStep(setting);
  const tokens = setting.globalBatch * setting.sequence;
  return { seconds, tokensPerSecondPerGpu: tokens / seconds / deviceCount(setting.cluster), mfu, memoryBytes };
}

/** Names under which the person gave them. */
export interface PlanNames {
  readonly model: string;
  readonly cluster: string;
}

/** The file of a search's plan. */
export function planDocument(
  problem: PlanProblem,
  best: Candidate,
  result: SearchResult,
  names: PlanNames,
): PlanDocument {
  const { seconds: _, ...parts } = estimateStep(best.setting).parts;
  const { boundSeconds, basis } = estimateStep(best.setting);
  const { represented, prunedByMemory, prunedByTime, priced } = result.counts;
  return {
    kind: 'monta.plan',
    version: planVersion,
    ...names,
    framework: problem.framework ?? null,
    sequence: problem.sequence,
    globalBatch: problem.globalBatch,
    dtype: 'bf16',
    precision: best.setting.precision,
    states: problem.states,
    stack: problem.stack,
    imbalance: problem.imbalance,
    ...chosenOf(best.setting),
    expected: { ...expectedOf(best), boundSeconds, basis, parts },
    runnersUp: result.others.map((other) => ({
      ...chosenOf(other.setting),
      ...(other.setting.precision === best.setting.precision ? {} : { precision: other.setting.precision }),
      expected: expectedOf(other),
    })),
    search: { represented, prunedByMemory, prunedByTime, priced, complete: result.complete },
    sources: [...problem.cluster.sources],
  };
}

/** Throws `InputError` where the numbers of a plan, each by itself a count, do not go together. */
function checkChosen({ globalBatch }: PlanDocument, chosen: Chosen, model: MoeModel, layout: Layout): void {
  const { virtualStages, layersOfStages, sequences, microBatches } = chosen;
  checkModelLayout(model, layout);
  const stages = layout.pp * virtualStages;
  if (stages > model.layers + model.multiTokenLayers)
    throw new InputError(`${stages} virtual stages are more than the ${model.layers} layers of ${model.name}`, {
      path: 'virtualStages',
      expected: `at most ${model.layers} over all stages`,
    });
  const held = layersOfStages?.reduce((sum, layers) => sum + layers, 0);
  if (layersOfStages !== undefined && (layersOfStages.length !== stages || held !== model.layers))
    throw new InputError(`${layersOfStages.length} stages hold ${held} layers`, {
      path: 'layersOfStages',
      expected: `${stages} numbers that add up to the ${model.layers} layers of ${model.name}`,
    });
  if (sequences * layout.dp * microBatches !== globalBatch)
    throw new InputError(
      `${microBatches} micro-batches of ${sequences} sequences on ${layout.dp} replicas are no batch of ${globalBatch}`,
      { path: 'microBatches', expected: `${globalBatch} / (${sequences} x ${layout.dp})` },
    );
}

/**
 * The setting of a plan, or of one of its runners-up. Throws `InputError` where the layout does not fill the cluster or
 * divide the model, and where stages or micro-batches are not those of the layout.
 */
export function settingOfPlan(
  plan: PlanDocument,
  model: MoeModel,
  cluster: Cluster,
  chosen: Chosen = plan,
): RunSetting {
  const { sequence, globalBatch, states, stack, imbalance } = plan;
  const { virtualStages, layersOfStages, sequences, schedule, dispatcher, sharing, recompute, overlap } = chosen;
  const layout = parseLayout(chosen.layout, deviceCount(cluster));
  checkChosen(plan, chosen, model, layout);
  const { rankOrder, hostStates, weightShards } = chosen;
  if (weightShards !== undefined) checkWeightShards(weightShards, layout, sharing);
  return runSetting({
    model,
    cluster,
    layout,
    ...(layersOfStages === undefined ? {} : { layersOfStages }),
    ...(rankOrder === undefined ? {} : { rankOrder }),
    ...(hostStates === undefined ? {} : { hostStates }),
    ...(weightShards === undefined ? {} : { weightShards }),
    virtualStages,
    sequence,
    microBatch: sequences,
    globalBatch,
    precision: chosen.precision ?? plan.precision,
    states,
    stack,
    imbalance,
    schedule,
    dispatcher,
    sharing,
    recompute,
    overlap,
  });
}
