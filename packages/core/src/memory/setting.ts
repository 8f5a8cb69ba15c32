/** What the memory of a device depends on beside the step itself, and the templates that follow. */
import { attentionForward } from '../schedule/attention-layer.js';
import { compile, type CompiledProgram } from '../schedule/compile.js';
import { mlpForward } from '../schedule/mlp-layer.js';
import { moeForward } from '../schedule/moe-forward.js';
import type { Program } from '../schedule/schedule.js';
import { stagePasses } from '../schedule/step.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import { templateElements } from '../schedule/template-elements.js';
import type { Layout } from '../layout/layout.js';
import type { MoeModel } from '../model/model.js';
import type { ExchangeLibrary } from './exchange-buffers.js';
import { asConvention, recomputeUnder, type Convention, type ConventionChanges } from './convention.js';
import { pagedRows, withPagedStash } from './paged-stash.js';
import {
  countedLayer,
  noShards,
  precisions,
  shardsOn,
  sharingRules,
  stateSharing,
  type PrecisionName,
  type SharingName,
  type WeightShards,
} from './states.js';
import { expectedRows, routedRowsOf, type RankRouting, type TimelineOptions } from './timeline.js';

export interface MemorySetting extends ConventionChanges {
  readonly step: StepShape;
  readonly convention: Convention;
  readonly sharing: SharingName;
  readonly precision: PrecisionName;
  /** Rows of the fullest rank's experts over the mean; 1 is balanced. */
  readonly imbalance: number;
  /** What one rank's routing was, in place of what is expected; absent where it is not known. */
  readonly routed?: RankRouting;
  /** What exchanges experts' rows, for its buffers; nccl when left out. */
  readonly exchange?: ExchangeLibrary;
  /** Over how many of the ranks that hold the same weights each is split beside what `sharing` says; none left out. */
  readonly weightShards?: WeightShards;
  /** Whether the optimizer's states lie in the host's memory; on the device when left out. */
  readonly hostStates?: boolean;
  /**
   * Factor of the paged stash's pool over what balanced routing keeps; `imbalance` is then the rank's capacity. No
   * stash when left out.
   */
  readonly pagedStash?: number;
}

/** How memory comes and goes under a setting. */
export function timelineOptions({ step, convention, imbalance, routed, pagedStash }: MemorySetting): TimelineOptions {
  const rowsOf = routed === undefined ? expectedRows(imbalance) : routedRowsOf(step.layout, routed);
  return {
    rowsOf: pagedStash === undefined ? rowsOf : pagedRows(rowsOf, pagedStash),
    freed: convention === 'monta' ? 'node' : 'use',
  };
}

/** Passes up to which a pipeline reaches what it ever holds: the warm-up, and a round behind it. */
export function fewMicroBatches({
  pp,
  virtualStages,
  microBatches,
  inFlight = 1,
}: Pick<Layout, 'pp'> & Pick<StepShape, 'microBatches' | 'inFlight'> & { readonly virtualStages: number }): number {
  const enough = (virtualStages > 1 ? 3 * pp : pp + 2) + inFlight - 1;
  return Math.min(microBatches, enough);
}

/**
 * The step with the recomputation that the convention makes of it, with what is shared, and no more micro-batches than
 * memory depends on.
 */
export function memoryStep({ step, convention, routed, ...setting }: MemorySetting): StepShape {
  const recompute = recomputeUnder(convention, step.recompute ?? 'none');
  const { layout, microBatches, inFlight, virtualStages = 1 } = step;
  const shards = shardsOn(setting.weightShards ?? noShards, layout);
  const shared = stateSharing(sharingRules[setting.sharing], precisions[setting.precision], shards);
  const known = { ...step, recompute, stateSharing: shared };
  // Each micro-batch has a routing of its own.
  if (routed !== undefined) return known;
  return { ...known, microBatches: fewMicroBatches({ pp: layout.pp, virtualStages, microBatches, inFlight }) };
}

/**
 * Passes of one stage as the convention holds them. Throws `InputError` for stages or micro-batches that do not divide.
 */
export function stageProgram(setting: MemorySetting, stage: number): Program {
  const step = memoryStep(setting);
  const program = asConvention(stagePasses(step, stage), setting.convention, step, setting);
  return setting.pagedStash === undefined ? program : withPagedStash(program);
}

export const compileStage = (setting: MemorySetting, stage: number): CompiledProgram =>
  compile(stageProgram(setting, stage));

const alone = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, etp: 1, edp: 1, sequenceParallel: false } as const;
const known = new WeakMap<MoeModel, ReadonlySet<number>>();

/**
 * Layers that the program does not compute whole, found by their weights: those of the templates differ from the
 * model's count. Their states follow the count; what their activations lack is said beside.
 */
export function partialLayers(step: StepShape): ReadonlySet<number> {
  const { model } = step;
  const found = known.get(model);
  if (found !== undefined) return found;
  const single = { ...step, layout: alone };
  const attention = attentionForward(single);
  const elementsOf = (moe: boolean): number => {
    const block = moe
      ? moeForward(moeShape(single), { ...step.strategy, dispatch: 'sliced', combine: 'scattered' })
      : mlpForward(single);
    const { dense, expert } = templateElements([attention, block]);
    return dense + expert;
  };
  const has = { moe: model.moeLayers.includes(true), mlp: model.moeLayers.includes(false) };
  const elements = { moe: has.moe ? elementsOf(true) : 0, mlp: has.mlp ? elementsOf(false) : 0 };
  const partial = new Set<number>();
  model.moeLayers.forEach((moe, layer) => {
    // Selection biases are named by the template and are no parameters: no gradient trains them.
    const biases = moe && model.selectionBias ? model.experts : 0;
    if (countedLayer(model, layer) + biases !== elements[moe ? 'moe' : 'mlp']) partial.add(layer);
  });
  known.set(model, partial);
  return partial;
}
