/** What is exported of a searched plan. */
import { evenLayers, isDual, microBatchesOf, type RunSetting } from '../../estimate/index.js';
import { dispatchOf } from '../../plan/index.js';
import { inChunks, namedStrategies } from '../../schedule/index.js';
import { InputError } from '../../units/index.js';
import type { ExportPlan } from './exported.js';

/** Throws `InputError` for a schedule that no framework is written for. */
export function exportOfSetting(setting: RunSetting): ExportPlan {
  const { schedule, microBatch, dispatcher, overlap, ...rest } = setting;
  const { cluster, model, layout, sequence, virtualStages, recompute, sharing, precision } = rest;
  if (schedule === 'zero-bubble' || isDual(schedule))
    throw new InputError(`${schedule} is not written for any framework`, {
      path: 'schedule',
      expected: 'a plan of 1f1b or interleaved, as a search for Megatron-Core gives',
    });
  // Stages as they were priced, whatever a framework would make of the layers by itself.
  const layersOfStages =
    setting.layersOfStages ?? evenLayers(model.layers, layout.pp * virtualStages, model.multiTokenLayers);
  return {
    cluster,
    model,
    layout,
    strategy: inChunks(namedStrategies[dispatchOf[dispatcher]], 1),
    sequence,
    sequences: microBatch,
    microBatches: microBatchesOf(setting),
    dtype: 'bf16',
    virtualStages,
    ...(layout.pp === 1 ? {} : { layersOfStages }),
    recompute,
    sharing,
    precision,
    overlapExperts: overlap.ep,
    overlapTensor: overlap.tp,
    graphs: setting.stack !== 'eager',
    ...(setting.rankOrder === 'pp-dp' ? { stagesInside: true } : {}),
    ...(setting.weightShards === undefined ? {} : { weightShards: setting.weightShards }),
    ...(setting.hostStates === true ? { hostStates: true } : {}),
  };
}
