/** What a DeepSpeed run is for the price of its step. */
import type { Cluster } from '../../cluster/cluster.js';
import { runSetting, type RunSetting } from '../../estimate/index.js';
import { checkModelLayout, resolveLayout, type Layout } from '../../layout/index.js';
import type { SharingName } from '../../memory/index.js';
import type { MoeModel } from '../../model/model.js';
import { InputError } from '../../units/errors.js';
import type { DeepspeedConfig } from './config.js';

const sharings: readonly SharingName[] = ['none', 'zero1', 'zero2', 'zero3'];

export interface DeepspeedPlan {
  readonly layout: Layout;
  /** Of a micro-batch. */
  readonly sequences: number | undefined;
  readonly microBatches: number | undefined;
}

/** Layout and batch; undefined where ranks are not known or do not make a layout: the checker says why. */
export function plannedByDeepspeed(config: DeepspeedConfig): DeepspeedPlan | undefined {
  const { data } = config;
  if (data === undefined) return undefined;
  const [batch, micro, steps] = [
    config.number('train_batch_size'),
    config.number('train_micro_batch_size_per_gpu'),
    config.number('gradient_accumulation_steps'),
  ];
  // One of the three follows from the others; accumulation is 1 where nothing says it.
  const sequences = micro ?? (batch === undefined ? undefined : batch / (data * (steps ?? 1)));
  const microBatches = steps ?? (batch === undefined || micro === undefined ? 1 : batch / (data * micro));
  const tp = Math.max(1, config.autoTensor);
  try {
    return {
      layout: resolveLayout(
        { tp, cp: config.sequenceRanks, pp: config.stages, ep: config.autoExpert ? config.expert : 1, etp: 1 },
        tp * config.sequenceRanks * config.stages * data,
      ),
      sequences,
      microBatches,
    };
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/**
 * Undefined where ranks, batch or sequence are not known. Throws `InputError` for a model that the degrees do not
 * divide.
 */
export function settingOfDeepspeed(config: DeepspeedConfig, model: MoeModel, cluster: Cluster): RunSetting | undefined {
  const planned = plannedByDeepspeed(config);
  const { sequence, recompute = false } = config.context.launch ?? {};
  const { layout, sequences, microBatches } = planned ?? {};
  if (layout === undefined || sequences === undefined || microBatches === undefined || sequence === undefined)
    return undefined;
  if (![sequences, microBatches].every((count) => Number.isInteger(count) && count > 0)) return undefined;
  checkModelLayout(model, layout);
  const full = !config.on('bf16.enabled') && !config.on('fp16.enabled');
  return runSetting({
    model,
    cluster,
    layout,
    sequence,
    microBatch: sequences,
    globalBatch: sequences * microBatches * layout.dp,
    states: full ? 'full' : 'half',
    recompute: recompute ? 'full' : 'none',
    sharing: sharings[config.stage] ?? 'none',
    dispatcher: 'all_to_all',
    overlap: { tp: false, ep: false, dp: config.overlapsReduction, pp: false },
    stack: 'eager',
  });
}
