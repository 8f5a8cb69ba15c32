/** What a search is about: what is trained where, on how much at a time, and what a person has fixed. */
import type { Cluster } from '../../cluster/cluster.js';
import type { Layout } from '../../layout/layout.js';
import type { ComputePrecision, RunSetting, Stack } from '../../estimate/index.js';
import type { MoeModel } from '../../model/model.js';
import type { Bounds } from './bounds.js';
import type { FrameworkName } from './frameworks.js';

export interface PlanProblem {
  readonly model: MoeModel;
  readonly cluster: Cluster;
  /** Tokens of a sequence. */
  readonly sequence: number;
  /** Sequences of a step over all replicas. */
  readonly globalBatch: number;
  readonly bounds: Bounds;
  /** What a person fixes beside the degrees; searched when left out. */
  readonly fixed: Partial<Pick<RunSetting, 'sharing' | 'recompute' | 'dispatcher' | 'schedule'>>;
  /** Of matrix products. */
  readonly precision: ComputePrecision;
  /** Of weights, gradients and the optimizer's states. */
  readonly states: RunSetting['states'];
  readonly stack: Stack;
  /** Rows of the fullest rank's experts over the mean; 1 is balanced. */
  readonly imbalance: number;
  /** What has to run the plan; anything that Monta can price when left out. */
  readonly framework?: FrameworkName;
}

/** A way to split model and batch over the devices. */
export interface SpacePoint {
  readonly layout: Layout;
  /** Chunks of the model that a stage holds (interleaved pipeline); 1 is plain. */
  readonly virtualStages: number;
  /** Sequences of a micro-batch of one replica. */
  readonly microBatch: number;
  /** Micro-batches of a step of one replica. */
  readonly microBatches: number;
}
