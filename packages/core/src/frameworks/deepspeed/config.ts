/** A DeepSpeed configuration, and what is known beside it. */
import type { MoeModel } from '../../model/index.js';
import { isRecord } from '../../units/index.js';

export interface DeepspeedContext {
  /** Ranks of the job; absent: rules that need them say nothing. */
  readonly gpus?: number;
  readonly model?: MoeModel;
  /** What the launch line says where the configuration has "auto" or nothing, by the configuration's keys. */
  readonly launch?: DeepspeedLaunchValues;
}

export interface DeepspeedLaunchValues {
  readonly train_micro_batch_size_per_gpu?: number;
  readonly gradient_accumulation_steps?: number;
  /** Tokens of a sequence. */
  readonly sequence?: number;
  /** Whether layers are computed again in the backward. */
  readonly recompute?: boolean;
}

/** A configuration, looked at by keys with dots. */
export class DeepspeedConfig {
  constructor(
    readonly root: unknown,
    readonly context: DeepspeedContext,
  ) {}

  value(key: string): unknown {
    return key.split('.').reduce((inside: unknown, name) => (isRecord(inside) ? inside[name] : undefined), this.root);
  }

  /** undefined also for "auto" that no flag of the launch fills in. */
  number(key: string): number | undefined {
    const value = this.value(key);
    if (typeof value === 'number') return value;
    const { train_micro_batch_size_per_gpu: micro, gradient_accumulation_steps: steps } = this.context.launch ?? {};
    if (value !== undefined && value !== 'auto') return undefined;
    return { train_micro_batch_size_per_gpu: micro, gradient_accumulation_steps: steps }[key];
  }

  on(key: string): boolean {
    return this.value(key) === true;
  }

  get stage(): number {
    return this.number('zero_optimization.stage') ?? 0;
  }

  /** Whether gradients are reduced beside the backward: by default at stage 3 alone. */
  get overlapsReduction(): boolean {
    const given = this.value('zero_optimization.overlap_comm');
    return typeof given === 'boolean' ? given : this.stage === 3;
  }

  get autoTensor(): number {
    return this.number('tensor_parallel.autotp_size') ?? 0;
  }

  get autoExpert(): boolean {
    return this.on('expert_parallel.enabled');
  }

  get expert(): number {
    return this.number('expert_parallel.autoep_size') ?? 1;
  }

  /** Ulysses: ranks that share a sequence. */
  get sequenceRanks(): number {
    return this.number('sequence_parallel_size') ?? 1;
  }

  /** Stages of a pipeline, where the configuration says them. */
  get stages(): number {
    return this.number('pipeline.stages') ?? 1;
  }

  /** Data parallel size; undefined where ranks are not known or do not divide. */
  get data(): number | undefined {
    const { gpus } = this.context;
    const parts = Math.max(1, this.autoTensor) * this.sequenceRanks * this.stages;
    return gpus === undefined || gpus % parts !== 0 ? undefined : gpus / parts;
  }
}
