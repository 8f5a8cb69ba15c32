/** From a search to the file of its plan, and from the file back to the setting of a run. */
import type { Cluster, Device } from '../../cluster/cluster.js';
import { deviceCount } from '../../cluster/ports.js';
import {
  canOrder,
  estimateStep,
  hostOf,
  microBatchesOf,
  runSetting,
  type PipelineSchedule,
  type RunSetting,
} from '../../estimate/index.js';
import {
  checkModelLayout,
  checkSequence,
  formatLayout,
  occupiedBy,
  parseLayout,
  type Layout,
} from '../../layout/index.js';
import { checkImbalance, checkWeightShards } from '../../memory/index.js';
import type { MoeModel } from '../../model/model.js';
import type { Candidate, SearchResult } from '../search/search.js';
import { InputError } from '../../units/errors.js';
import type { PlanProblem } from '../space/problem.js';
import { runsAs } from '../space/schedules.js';
import { dispatchOf } from '../dispatch-of.js';
import { planVersion, type PlanDocument } from './plan-document.js';

type Chosen = Omit<PlanDocument['runnersUp'][number], 'expected'>;

function chosenOf(setting: RunSetting): Chosen {
  const { layout, virtualStages, layersOfStages, microBatch, schedule, dispatcher, sharing, recompute, overlap } =
    setting;
  const { rankOrder, hostStates, weightShards } = setting;
  return {
    layout: formatLayout(layout, setting.cluster),
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

/** What a schedule asks of a pipeline. */
const scheduleNeeds: Readonly<Record<PipelineSchedule, string>> = {
  '1f1b': 'one stage a device',
  interleaved: 'more stages than one a device, and a multiple of pp micro-batches',
  'zero-bubble': 'pp above 1, one stage a device',
  dualpipe: 'an even pp, one stage a device, and an even number of micro-batches, twice the stages at least',
  'dualpipe-v': 'two stages a device, and twice as many micro-batches as pp at least',
};

/** Throws `InputError` where the numbers of a plan, each by itself a count, do not go together. */
function checkChosen(
  { globalBatch, sequence }: PlanDocument,
  chosen: Chosen,
  { model, layout, device }: { readonly model: MoeModel; readonly layout: Layout; readonly device: Device },
): void {
  const { virtualStages, layersOfStages, sequences, microBatches, schedule, sharing } = chosen;
  const { rankOrder = 'dp-pp', hostStates, weightShards } = chosen;
  checkModelLayout(model, layout);
  checkSequence(sequence, layout);
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
  if (!runsAs(schedule, layout.pp, { virtualStages, microBatches }))
    throw new InputError(
      `${schedule} does not go with pp=${layout.pp}, virtualStages=${virtualStages}, microBatches=${microBatches}`,
      { path: 'schedule', expected: scheduleNeeds[schedule] },
    );
  if (!canOrder(layout, rankOrder))
    throw new InputError(`stages inside replicas do not go with ${formatLayout(layout)}`, {
      path: 'rankOrder',
      expected: 'pp and dp above 1, and as many ranks with the same experts as replicas',
    });
  if (hostStates === true && hostOf(device) === undefined)
    throw new InputError(`no port of ${device.name} to a host is known`, {
      path: 'hostStates',
      expected: 'states on the device',
    });
  if (weightShards !== undefined) checkWeightShards(weightShards, layout, sharing);
}

/**
 * The setting of a plan, or of one of its runners-up. Throws `InputError` where the layout does not fill the cluster or
 * divide the model, and where the plan says what no search does: stages, micro-batches, a schedule, an order of ranks,
 * states on hosts or weight shards that do not go with the layout or the device.
 */
export function settingOfPlan(plan: PlanDocument, model: MoeModel, whole: Cluster, chosen: Chosen = plan): RunSetting {
  const cluster = occupiedBy(chosen.layout, whole);
  const { sequence, globalBatch, states, stack, imbalance } = plan;
  checkImbalance(imbalance, model);
  const { virtualStages, layersOfStages, sequences, schedule, dispatcher, sharing, recompute, overlap } = chosen;
  const layout = parseLayout(chosen.layout, deviceCount(cluster));
  checkChosen(plan, chosen, { model, layout, device: cluster.device });
  const { rankOrder, hostStates, weightShards } = chosen;
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
