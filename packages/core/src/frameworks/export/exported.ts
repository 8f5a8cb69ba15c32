/** What is exported, and what comes out: settings with their reasons, in the framework's own fields. */
import type { Cluster } from '../../cluster/index.js';
import type { ComputePrecision } from '../../estimate/index.js';
import type { MegatronModule, SharingName, WeightShards } from '../../memory/index.js';
import type { Recompute, StepShape } from '../../schedule/index.js';

/** A step and the machine it is for. */
export interface ExportPlan extends Pick<
  StepShape,
  | 'model'
  | 'layout'
  | 'sequence'
  | 'sequences'
  | 'microBatches'
  | 'dtype'
  | 'strategy'
  | 'virtualStages'
  | 'layersOfStages'
  | 'capacityFactor'
> {
  readonly cluster: Cluster;
  /** Beside Monta's own modules those of Megatron-Core. */
  readonly recompute?: Recompute | readonly MegatronModule[];
  /** How ranks share states; `distributed-optimizer` when left out. */
  readonly sharing?: SharingName;
  /** Whether the experts' exchange runs beside the passes of another micro-batch. */
  readonly overlapExperts?: boolean;
  /** Whether communication of tensor parallelism runs beside products. */
  readonly overlapTensor?: boolean;
  /** Whether the plan's step was priced with kernels launched from CUDA graphs. */
  readonly graphs?: boolean;
  /** Over how many ranks weights are split beside tp and etp. */
  readonly weightShards?: WeightShards;
  /** Stages inside replicas; replicas inside stages when left out. */
  readonly stagesInside?: boolean;
  /** Whether the optimizer's states lie in the host's memory. */
  readonly hostStates?: boolean;
  /** Of matrix products; bf16 when left out. */
  readonly precision?: ComputePrecision;
}

export interface ExportOptions {
  /** Write the nearest that the framework can where it can't do what the plan says, and say so. */
  readonly nearest?: boolean;
}

export type ExportValue = boolean | number | string | readonly string[] | readonly (readonly string[])[];

/** One field of the framework's configuration. */
export interface ExportSetting {
  /** Name in the configuration. */
  readonly field: string;
  /** What it is set to. */
  readonly value: ExportValue;
  readonly reason: string;
}

export interface ExportVariable {
  readonly name: string;
  /** What it is set to. */
  readonly value: string;
  readonly reason: string;
}

export interface Exported {
  /** Fields of the framework's configuration. */
  readonly settings: readonly ExportSetting[];
  /** Variables of the environment. */
  readonly environment: readonly ExportVariable[];
  /** What of the plan the framework can't do, with what was written instead; and what is left to the person. */
  readonly notes: readonly string[];
}

export const exportTargets = ['megatron', 'bridge', 'deepspeed', 'torchtitan', 'torchrun', 'slurm'] as const;
export type ExportTarget = (typeof exportTargets)[number];
