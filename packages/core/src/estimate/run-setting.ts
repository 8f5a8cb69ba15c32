/** What one training run is, as far as the time of its step depends on it. */
import type { Cluster } from '../cluster/cluster.js';
import type { Layout } from '../layout/layout.js';
import type { MegatronModule, PrecisionName, SharingName, WeightShards } from '../memory/index.js';
import type { MoeModel } from '../model/model.js';
import type { RankOrder } from './rank-order.js';

/** Types that matrix products run in. mxfp8 and nvfp4: scaled by blocks, on Blackwell. */
export const computePrecisions = ['bf16', 'fp8', 'mxfp8', 'nvfp4'] as const;
export type ComputePrecision = (typeof computePrecisions)[number];

/**
 * dualpipe: forward and backward of two micro-batches run beside one another, so the exchange of experts hides.
 * dualpipe-v: the same with one copy of the weights, a device holding two stages, those as far from either end.
 */
export const pipelineSchedules = ['1f1b', 'interleaved', 'zero-bubble', 'dualpipe', 'dualpipe-v'] as const;
export type PipelineSchedule = (typeof pipelineSchedules)[number];

/** Whether forward and backward of two micro-batches run beside one another. */
export const isDual = (schedule: PipelineSchedule): boolean => schedule === 'dualpipe' || schedule === 'dualpipe-v';

/**
 * How rows reach their experts. all_to_all: every row of every token (NCCL). deduplicated: a token crosses once to each
 * domain of links (DeepEP, HybridEP). gathered: all tokens to all ranks.
 */
export const dispatchKinds = ['all_to_all', 'deduplicated', 'gathered'] as const;
export type DispatchKind = (typeof dispatchKinds)[number];

/** Communication that runs beside computation. */
export interface Overlap {
  /** Whether tensor parallelism's runs beside products. */
  readonly tp: boolean;
  /** Whether experts' exchanges run beside another micro-batch. */
  readonly ep: boolean;
  /** Whether gradients and weights travel beside the passes. */
  readonly dp: boolean;
  /** Whether stages' transfers run beside the passes. */
  readonly pp: boolean;
}

/**
 * The software that launches kernels. eager: every kernel from Python (NeMo to 25.09). graphs: attention, router and
 * dense parts in CUDA graphs (NeMo 25.11 to 26.04). fused: on Blackwell the experts' products with activation and
 * quantisation in them, and the whole step in one graph (NeMo 26.06 on); elsewhere as graphs. compiled: one program a
 * step (JAX).
 */
export const stacks = ['eager', 'graphs', 'fused', 'compiled'] as const;
export type Stack = (typeof stacks)[number];

/**
 * engine: Transformer Engine or its like, with fused norms and activations and the newest attention. native: PyTorch's
 * own, FlashAttention-2 and an operation a kernel; compiled: the same with `torch.compile`.
 */
const kernelKinds = ['engine', 'native', 'compiled'] as const;
export type KernelKind = (typeof kernelKinds)[number];

/** Modules that run again in the backward, by Megatron-Core's names; selective: attention's core. */
export type RecomputeSetting = 'none' | 'selective' | 'full' | readonly MegatronModule[];

export interface RunSetting {
  /** What is trained. */
  readonly model: MoeModel;
  /** What it is trained on. */
  readonly cluster: Cluster;
  readonly layout: Layout;
  /** Interleaved stages of a rank; 1 for none. */
  readonly virtualStages: number;
  /** Layers of each virtual stage, in the order in which a token passes them; balanced with the ends when left out. */
  readonly layersOfStages?: readonly number[] | undefined;
  /** How stages and replicas follow one another on the devices; replicas inside stages when left out. */
  readonly rankOrder?: RankOrder | undefined;
  /** Whether the optimizer's states lie in the host's memory and are updated there; no when left out. */
  readonly hostStates?: boolean | undefined;
  /** Beside a rule that keeps weights whole; none when left out. */
  readonly weightShards?: WeightShards | undefined;
  /** Tokens of a sequence. */
  readonly sequence: number;
  /** Sequences of one micro-batch of one replica. */
  readonly microBatch: number;
  /** Sequences of a step over all replicas. */
  readonly globalBatch: number;
  /** Of matrix products. */
  readonly precision: ComputePrecision;
  /** Of weights, gradients and the optimizer's states. */
  readonly states: PrecisionName;
  /** What runs again in the backward. */
  readonly recompute: RecomputeSetting;
  readonly sharing: SharingName;
  readonly schedule: PipelineSchedule;
  /** How rows reach their experts. */
  readonly dispatcher: DispatchKind;
  /** What communication runs beside computation. */
  readonly overlap: Overlap;
  readonly stack: Stack;
  /** Whose kernels run. */
  readonly kernels: KernelKind;
  /** Rows of the fullest rank's experts over the mean, 1 balanced; natural: as routing comes early in training. */
  readonly imbalance: number | 'natural';
  /** Experts' rows are padded or cut to a capacity, so that the host knows their number without waiting. */
  readonly capacity: boolean;
  /** Weights that do not learn (LoRA): no gradients of them, none to reduce, no optimizer. */
  readonly frozen: boolean;
}

type Given = 'model' | 'cluster' | 'layout' | 'sequence' | 'microBatch' | 'globalBatch';

/** What a current Megatron-Core run does, where nothing else is said. */
export function runSetting(given: Pick<RunSetting, Given> & Partial<RunSetting>): RunSetting {
  const virtualStages = given.virtualStages ?? 1;
  return {
    virtualStages,
    precision: 'bf16',
    states: 'mixed',
    recompute: 'none',
    sharing: 'distributed-optimizer',
    schedule: virtualStages > 1 ? 'interleaved' : '1f1b',
    dispatcher: 'deduplicated',
    overlap: { tp: true, ep: false, dp: true, pp: true },
    stack: 'fused',
    kernels: 'engine',
    imbalance: 1,
    capacity: false,
    frozen: false,
    ...given,
  };
}

/** Micro-batches that each replica runs in a step; not whole where the batch does not divide. */
export const microBatchesOf = ({
  globalBatch,
  microBatch,
  layout,
}: Pick<RunSetting, 'globalBatch' | 'microBatch' | 'layout'>): number => globalBatch / (microBatch * layout.dp);
