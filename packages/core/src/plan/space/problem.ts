/** What a search is about: what is trained where, on how much at a time, and what a person has fixed. */
import { deviceCount, type Cluster } from '../../cluster/index.js';
import type { Layout } from '../../layout/layout.js';
import type { ComputePrecision, PipelineSchedule, RunSetting, Stack } from '../../estimate/index.js';
import { checkImbalance } from '../../memory/index.js';
import type { MoeModel } from '../../model/model.js';
import { usualSequence } from '../../model/usual-sequence.js';
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
  readonly fixed: Partial<
    Pick<RunSetting, 'sharing' | 'recompute' | 'dispatcher' | 'rankOrder' | 'hostStates' | 'weightShards'>
  > & {
    /** One, or those to choose from. */
    readonly schedule?: PipelineSchedule | readonly PipelineSchedule[];
  };
  /** Of matrix products. */
  readonly precision: ComputePrecision;
  /** Those to choose from; `precision` alone when left out. */
  readonly precisions?: readonly ComputePrecision[];
  /** Of weights, gradients and the optimizer's states. */
  readonly states: RunSetting['states'];
  readonly stack: Stack;
  /** Rows of the fullest rank's experts over the mean; 1 is balanced. */
  readonly imbalance: number;
  /** What has to run the plan; anything that Monta can price when left out. */
  readonly framework?: FrameworkName;
  /** Whether only plans are wanted whose step can be simulated; all when left out. */
  readonly programs?: boolean;
}

/** What a person asks; what is left out has a default. */
export interface PlanQuestion extends Pick<PlanProblem, 'model' | 'cluster'> {
  /** Tokens of a sequence; left out: 4,096, or what the model allows if that is less. */
  readonly sequence?: number | undefined;
  /** Sequences of a step over all replicas; left out: the devices, times what makes it 256 or more. */
  readonly globalBatch?: number | undefined;
  readonly bounds?: Bounds | undefined;
  readonly fixed?: { readonly [K in keyof PlanProblem['fixed']]: PlanProblem['fixed'][K] | undefined } | undefined;
  /** One, or those to choose from; left out: bf16. */
  readonly precision?: ComputePrecision | readonly ComputePrecision[] | undefined;
  /** Left out: mixed. */
  readonly states?: RunSetting['states'] | undefined;
  /** Left out: fused. */
  readonly stack?: Stack | undefined;
  /** Left out: 1. */
  readonly imbalance?: number | undefined;
  readonly framework?: FrameworkName | undefined;
}

const leastBatch = 256;

/** The problem that a question poses, with the defaults that every way of asking shares. Throws `InputError`. */
export function planProblem({ model, cluster, ...given }: PlanQuestion): PlanProblem {
  const devices = deviceCount(cluster);
  checkImbalance(given.imbalance ?? 1, model);
  const { sharing, recompute, dispatcher, schedule, rankOrder, hostStates, weightShards } = given.fixed ?? {};
  const { framework, precision = 'bf16' } = given;
  const precisions = typeof precision === 'string' ? [precision] : precision;
  return {
    model,
    cluster,
    sequence: given.sequence ?? usualSequence(model),
    globalBatch: given.globalBatch ?? devices * Math.ceil(leastBatch / devices),
    bounds: given.bounds ?? {},
    fixed: {
      ...(sharing === undefined ? {} : { sharing }),
      ...(recompute === undefined ? {} : { recompute }),
      ...(dispatcher === undefined ? {} : { dispatcher }),
      ...(schedule === undefined ? {} : { schedule }),
      ...(rankOrder === undefined ? {} : { rankOrder }),
      ...(hostStates === undefined ? {} : { hostStates }),
      ...(weightShards === undefined ? {} : { weightShards }),
    },
    precision: precisions[0] ?? 'bf16',
    ...(precisions.length > 1 ? { precisions } : {}),
    states: given.states ?? 'mixed',
    stack: given.stack ?? 'fused',
    imbalance: given.imbalance ?? 1,
    ...(framework === undefined ? {} : { framework }),
  };
}

/** A way to split model and batch over the devices. */
export interface SpacePoint {
  readonly layout: Layout;
  /** Chunks of the model that a stage holds (interleaved pipeline); 1 is plain. */
  readonly virtualStages: number;
  /** Layers of each virtual stage; as the estimate balances them when left out. */
  readonly layersOfStages?: readonly number[];
  /** Sequences of a micro-batch of one replica. */
  readonly microBatch: number;
  /** Micro-batches of a step of one replica. */
  readonly microBatches: number;
}
