/** What a framework can run of the space, each limit with where it is said. */
import {
  dispatchKinds,
  pipelineSchedules,
  rankOrders,
  type DispatchKind,
  type PipelineSchedule,
  type RankOrder,
  type RecomputeSetting,
} from '../../estimate/index.js';
import type { MoeModel } from '../../model/model.js';
import type { SharingName } from '../../memory/states.js';
import type { AxisName, Degrees } from './bounds.js';

export const frameworkNames = ['megatron', 'deepspeed', 'torchtitan', 'monta'] as const;
export type FrameworkName = (typeof frameworkNames)[number];

/** Why a framework refuses a value of an axis, given those before it. */
export interface FrameworkRule {
  readonly axis: AxisName;
  readonly holds: (degrees: Degrees, model: MoeModel) => boolean;
  readonly why: string;
  readonly expected: string;
}

export interface FrameworkLimits {
  readonly rules: readonly FrameworkRule[];
  /** Whether TP ranks hold slices of the tokens outside attention and experts. */
  readonly sequenceParallel: boolean;
  readonly sharings: readonly SharingName[];
  /** Rules under which the optimizer's states can lie in the host's memory. */
  readonly hostStates: readonly SharingName[];
  readonly rankOrders: readonly RankOrder[];
  /** Rules beside which weights can be split into shards. */
  readonly weightShards: readonly SharingName[];
  /** Whether weights or gradients that are sharded go with a pipeline: each micro-batch moves them anew. */
  readonly shardsInPipelines: boolean;
  /** False where nothing is computed again; true for what Megatron-Core can. */
  readonly recomputes: boolean | readonly RecomputeSetting[];
  readonly dispatchers: readonly DispatchKind[];
  readonly schedules: readonly PipelineSchedule[];
  /** Whether the experts' exchange can run beside the passes of another micro-batch. */
  readonly overlapsExperts: boolean;
}

const only = (axis: AxisName, why: string): FrameworkRule => ({
  axis,
  holds: (degrees) => degrees[axis] === 1,
  why,
  expected: `${axis}=1`,
});

/** Of a search that names no framework. */
export const unlimited: FrameworkLimits = {
  rules: [],
  sequenceParallel: true,
  sharings: ['distributed-optimizer', 'zero2', 'fsdp'],
  hostStates: ['distributed-optimizer', 'zero1', 'zero2', 'zero3', 'fsdp'],
  rankOrders,
  weightShards: ['distributed-optimizer'],
  shardsInPipelines: true,
  recomputes: true,
  dispatchers: dispatchKinds,
  schedules: pipelineSchedules,
  overlapsExperts: true,
};

const frameworkLimits: Readonly<Record<FrameworkName, FrameworkLimits>> = {
  // megatron/training/arguments.py: experts beside TP ask for sequence parallelism
  megatron: {
    rules: [],
    sequenceParallel: true,
    sharings: ['distributed-optimizer', 'zero2', 'fsdp'],
    // --optimizer-cpu-offload goes with the precision-aware optimizer, which is a distributed one
    hostStates: ['distributed-optimizer'],
    rankOrders,
    weightShards: ['distributed-optimizer'],
    shardsInPipelines: false,
    recomputes: true,
    dispatchers: dispatchKinds,
    schedules: ['1f1b', 'interleaved'],
    overlapsExperts: true,
  },
  deepspeed: {
    rules: [
      only('cp', 'AutoEP runs without context parallelism'),
      only('pp', 'expert parallelism beside tensor parallelism runs without a pipeline'),
      only('etp', 'AutoEP takes expert tensor parallel size 1 alone'),
      only('virtualStages', 'there is no pipeline'),
      {
        axis: 'tp',
        holds: ({ tp }, { latentAttention, keyValueHeads }) =>
          latentAttention !== undefined || keyValueHeads % tp === 0,
        why: 'AutoTP splits heads of keys and values and does not copy them',
        expected: 'a divisor of the key-value heads',
      },
    ],
    sequenceParallel: false,
    // beside tensor parallelism AutoEP takes stage 2 at most
    sharings: ['zero1', 'zero2'],
    hostStates: [],
    rankOrders: ['dp-pp'],
    weightShards: [],
    shardsInPipelines: false,
    recomputes: true,
    dispatchers: ['all_to_all'],
    schedules: ['1f1b'],
    overlapsExperts: false,
  },
  // torchtitan/config/configs.py, distributed/pipeline_parallel.py and activation_checkpoint.py at b5bcd76c
  torchtitan: {
    rules: [only('etp', 'expert tensor parallelism was removed (#3167)')],
    sequenceParallel: true,
    sharings: ['fsdp'],
    hostStates: [],
    rankOrders: ['dp-pp'],
    weightShards: [],
    shardsInPipelines: true,
    recomputes: ['none', ['layernorm', 'moe_act'], 'full'],
    dispatchers: ['all_to_all', 'deduplicated'],
    schedules: ['1f1b', 'interleaved'],
    overlapsExperts: false,
  },
  monta: {
    rules: [
      only('cp', 'the embedded runtime runs no context parallelism'),
      only('pp', 'the embedded runtime runs no pipeline'),
      only('virtualStages', 'the embedded runtime runs no pipeline'),
    ],
    sequenceParallel: true,
    sharings: ['none'],
    hostStates: [],
    rankOrders: ['dp-pp'],
    weightShards: [],
    shardsInPipelines: false,
    recomputes: false,
    dispatchers: ['all_to_all'],
    schedules: ['1f1b'],
    overlapsExperts: false,
  },
};

/** Of what is asked: what a framework can run, and where that is wanted only what there are programs of. */
export function limitsOf({ framework, programs = false }: LimitedBy): FrameworkLimits {
  const limits = framework === undefined ? unlimited : frameworkLimits[framework];
  if (!programs) return limits;
  return {
    ...limits,
    rules: [...limits.rules, only('cp', 'programs have no context parallelism')],
    schedules: limits.schedules.filter((name) => name === '1f1b' || name === 'interleaved'),
    overlapsExperts: false,
    hostStates: [],
    rankOrders: ['dp-pp'],
    weightShards: [],
  };
}

interface LimitedBy {
  readonly framework?: FrameworkName;
  readonly programs?: boolean;
}
