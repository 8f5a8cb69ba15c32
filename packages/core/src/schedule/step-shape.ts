/** The shape of a whole training step: model, layout and workload, and the shapes of its parts. */
import type { Layout } from '../layout/layout.js';
import type { MoeModel } from '../model/model.js';
import type { Strategy } from './dispatchers/strategies.js';
import type { LayerNumerics, MoeShape } from './moe-shape.js';
import type { Overlap } from './overlap.js';
import type { Payload } from './payload.js';
import type { Recompute } from './recompute.js';
import type { DType } from './schedule.js';
import type { StateSharing } from './state-sharing.js';
import type { StageShape } from './stages.js';

export interface StepShape extends Pick<StageShape, 'virtualStages' | 'layersOfStages'> {
  readonly model: MoeModel;
  readonly layout: Layout;
  /** Tokens of one sequence. */
  readonly sequence: number;
  /** Sequences of one micro-batch of one replica; T = sequences * sequence / cp. */
  readonly sequences: number;
  readonly microBatches: number;
  readonly dtype: DType;
  readonly capacityFactor?: number;
  /** As what rows travel to their experts in the forward pass; in `dtype` when left out. */
  readonly payload?: Payload;
  readonly strategy: Strategy;
  /**
   * By how much the update moves each expert's selection bias, up where the step gave it fewer picks than the mean of
   * its layer and down where more; absent: the bias stays.
   */
  readonly selectionBiasRate?: number;
  /** Least bytes of gradients that are reduced together; `usualReductionBytes` when left out. */
  readonly reductionBytes?: number;
  /**
   * Whether gradients are reduced beside the last backward, as its layers complete them, or behind all of it; beside
   * when left out.
   */
  readonly reductions?: 'beside' | 'behind';
  /**
   * Whether a micro-batch's forward is issued in turns with the backward of the one so many before it that are in
   * flight, so that either computes while the other communicates, or behind all of it; behind when left out. Beside
   * holds what both layers at work need: as the backward gives the activations of a layer back, the forward makes those
   * of one.
   */
  readonly passes?: 'beside' | 'behind';
  /**
   * Micro-batches whose forward is issued before the first backward; 1 when left out. Gradients are summed in the same
   * order.
   */
  readonly inFlight?: number;
  /** What of a MoE layer runs beside what; all that can when left out. */
  readonly overlap?: Overlap;
  /** What the forward pass does not keep and the backward computes again; nothing when left out. */
  readonly recompute?: Recompute;
  /** How ranks that hold the same parameters share them and their states; not at all when left out. */
  readonly stateSharing?: StateSharing;
}

/** What of a step runs beside what. */
export type StepOverlap = Pick<StepShape, 'overlap' | 'reductions' | 'passes'>;

/** Tokens of a micro-batch that one TP group holds: under context parallelism its share of every sequence. */
export const stepTokens = ({
  sequences,
  sequence,
  layout,
}: Pick<StepShape, 'sequences' | 'sequence' | 'layout'>): number => (sequences * sequence) / layout.cp;

/**
 * Tokens over all replicas times layers with experts: what the auxiliary loss pools in one micro-batch; 0 without one.
 */
export const pooledTokens = (step: Pick<StepShape, 'model' | 'layout' | 'sequences' | 'sequence'>): number =>
  step.model.auxLoss === 'none'
    ? 0
    : step.model.moeLayers.filter(Boolean).length * stepTokens(step) * step.layout.dp * step.layout.cp;

/** How experts are scored and chosen, where it is not softmax and the largest. */
function selectionOf(model: MoeModel): Pick<LayerNumerics, 'selection'> {
  const { scoring, routedScaling, expertGroups, selectionBias } = model;
  if (scoring === 'softmax' && routedScaling === 1 && expertGroups === undefined && !selectionBias) return {};
  return {
    selection: {
      scoring,
      scaling: routedScaling,
      ...(expertGroups === undefined ? {} : { groups: expertGroups }),
    },
  };
}

/** The MoE layer of a step. */
export function moeShape(step: StepShape): MoeShape {
  const { model, layout, dtype, capacityFactor, payload, overlap } = step;
  return {
    tokens: stepTokens(step),
    hiddenSize: model.hiddenSize,
    expertFfn: model.expertFfn,
    experts: model.experts,
    topK: model.topK,
    layout,
    dtype,
    numerics: {
      normEpsilon: model.rmsNormEps,
      renormalise: model.normTopK,
      auxLossCoefficient: model.auxLossCoefficient / step.microBatches,
      pooledTokens: pooledTokens(step),
      ...selectionOf(model),
      ...(model.clampedSwiglu === undefined ? {} : { clampedSwiglu: model.clampedSwiglu }),
    },
    ...(capacityFactor === undefined ? {} : { capacityFactor }),
    ...(payload === undefined ? {} : { payload }),
    ...(overlap === undefined ? {} : { overlap }),
    ...(model.expertBias ? { biases: true } : {}),
    ...(model.selectionBias ? { selectionBias: true, countsPicks: step.selectionBiasRate !== undefined } : {}),
    ...(model.sharedExpertFfn === 0 ? {} : { shared: { ffn: model.sharedExpertFfn, gated: model.sharedExpertGate } }),
  };
}

/** Query and key/value heads that one TP rank computes; fewer key/value heads than ranks are replicated. */
export function headsPerRank(model: MoeModel, tp: number): { query: number; keyValue: number } {
  return { query: model.attentionHeads / tp, keyValue: Math.max(1, model.keyValueHeads / tp) };
}
