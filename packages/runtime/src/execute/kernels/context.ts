/** What the kernels of a training step share. */
import { moeShape, sliceStart, stepTokens, type MoeModel, type StepShape } from '@monta/core';
import type { Gemm } from '../../device/gemm.js';
import { headShare, ropeTable, type HeadShare, type RopeTable } from '../../transformer/index.js';
import type { AdamWSettings, VocabularyShare } from '../../transformer/index.js';
import type { ParameterStore } from '../parameter-store.js';
import { RoutingBook, RoutingShape } from '../routing.js';

/** What differs from step to step; the owner of the executor sets it before a program runs. */
export interface StepInputs {
  /** Targets that count, over all replicas and micro-batches: the loss is their mean. */
  targets: number;
  /** Counts from 1. */
  number: number;
  optimizer: (AdamWSettings & { readonly maxNorm?: number }) | undefined;
}

export class TrainingContext {
  readonly step: StepShape;
  readonly model: MoeModel;
  readonly gemm: Gemm;
  readonly parameters: ParameterStore;
  readonly routing: RoutingShape;
  readonly book = new RoutingBook();
  readonly heads: HeadShare;
  readonly rope: RopeTable;
  readonly vocabulary: VocabularyShare;
  /** T. */
  readonly tokens: number;
  readonly pooledTokens: number;
  /** Micro-batches over which the loss of the running program is averaged. */
  microBatches: number;
  /** Token id whose embedding takes no gradient. */
  readonly paddingId: number | undefined;
  readonly inputs: StepInputs = { targets: 0, number: 1, optimizer: undefined };
  /** Ranks of the job. */
  readonly world: number;

  constructor(step: StepShape, gemm: Gemm, parameters: ParameterStore, paddingId?: number) {
    const { model, layout } = step;
    this.step = step;
    this.model = model;
    this.gemm = gemm;
    this.parameters = parameters;
    this.paddingId = paddingId;
    this.routing = new RoutingShape(moeShape(step), step.strategy, parameters.rank);
    const tp = parameters.rank % layout.tp;
    this.heads = headShare(model.attentionHeads, model.keyValueHeads, layout.tp, tp);
    this.rope = ropeTable(step.sequence, model.headDim, model.ropeTheta);
    const first = sliceStart(model.vocabSize, tp, layout.tp);
    this.vocabulary = { first, count: sliceStart(model.vocabSize, tp + 1, layout.tp) - first };
    this.tokens = stepTokens(step);
    this.microBatches = step.microBatches;
    this.pooledTokens = model.moeLayers.filter(Boolean).length * this.tokens * layout.dp * layout.cp;
    this.world = layout.tp * layout.cp * layout.dp * layout.pp;
  }
}
