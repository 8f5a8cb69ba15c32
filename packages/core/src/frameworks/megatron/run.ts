/** A Megatron run as its flags, environment and machine describe it: what rules look at. */
import type { Architecture } from '../architecture.js';
import type { Located } from '../shell/place.js';
import { isUnknown } from '../shell/state.js';
import { megatronFlags } from './flags.js';
import type { Settings } from './settings.js';

/** What is known beside the flags; absent: not known, and rules that need it say nothing. */
export interface RunContext {
  /** Ranks of the job. */
  readonly gpus?: number;
  readonly architecture?: Architecture;
  readonly environment?: ReadonlyMap<string, Located>;
}

export class MegatronRun {
  constructor(
    readonly settings: Settings,
    readonly context: RunContext = {},
  ) {}

  /** Whether the person set the field. */
  given(field: string): boolean {
    return this.settings.fields.has(field);
  }

  at(field: string): Located | undefined {
    return this.settings.fields.get(field)?.at;
  }

  /** The number of a field, by default the framework's own; undefined: unset, or known only to the machine. */
  number(field: string): number | undefined {
    const setting = this.settings.fields.get(field);
    if (setting !== undefined) return typeof setting.value === 'number' ? setting.value : undefined;
    const text = megatronFlags.ofField(field).default;
    return text === undefined ? undefined : Number(text);
  }

  text(field: string): string | undefined {
    const setting = this.settings.fields.get(field);
    if (setting !== undefined) return typeof setting.value === 'string' ? setting.value : undefined;
    return megatronFlags.ofField(field).default;
  }

  list(field: string): readonly string[] {
    const value = this.settings.fields.get(field)?.value;
    if (Array.isArray(value)) return value as readonly string[];
    const text = megatronFlags.ofField(field).default ?? '[]';
    return text === '[]' ? [] : text.replace(/^\[|\]$/gu, '').split(',');
  }

  on(field: string): boolean {
    const setting = this.settings.fields.get(field);
    if (setting !== undefined) return setting.value === true;
    return megatronFlags.ofField(field).default === 'true';
  }

  /** A variable of the environment; undefined where it is not set or not known. */
  variable(name: string): string | undefined {
    const text = this.context.environment?.get(name)?.text;
    return text === undefined || isUnknown(text) ? undefined : text;
  }

  get tensor(): number | undefined {
    return this.number('tensor_model_parallel_size');
  }

  get pipeline(): number | undefined {
    return this.number('pipeline_model_parallel_size');
  }

  get contextParallel(): number | undefined {
    return this.number('context_parallel_size');
  }

  get expert(): number | undefined {
    return this.number('expert_model_parallel_size');
  }

  /** Unset, it is the tensor parallel size. */
  get expertTensor(): number | undefined {
    return this.given('expert_tensor_parallel_size') ? this.number('expert_tensor_parallel_size') : this.tensor;
  }

  /** GTP: weight shards a tensor parallel rank; 1 where the flag is not given. */
  get weightShards(): number | undefined {
    return this.#factor('tensor_parallel_num_weight_shards', this.tensor);
  }

  get expertWeightShards(): number | undefined {
    return this.#factor('expert_tensor_parallel_num_weight_shards', this.expertTensor);
  }

  /** Ranks of one data parallel replica: T P C G. */
  get modelRanks(): number | undefined {
    return product(this.tensor, this.pipeline, this.contextParallel, this.weightShards);
  }

  get expertModelRanks(): number | undefined {
    return product(this.expertTensor, this.expert, this.pipeline, this.expertWeightShards);
  }

  /** Data parallel size; undefined where ranks do not divide. */
  get data(): number | undefined {
    const { gpus } = this.context;
    const ranks = this.modelRanks;
    return gpus === undefined || ranks === undefined || gpus % ranks !== 0 ? undefined : gpus / ranks;
  }

  get mixtureOfExperts(): boolean {
    return (this.number('num_experts') ?? 0) > 0;
  }

  get interleaved(): boolean {
    return (
      this.given('num_layers_per_virtual_pipeline_stage') ||
      (this.number('num_virtual_stages_per_pipeline_rank') ?? 1) > 1 ||
      this.#layoutStages > (this.pipeline ?? Infinity)
    );
  }

  /** Micro-batches of a step; undefined where they can't be told or do not come out even. */
  get microBatches(): number | undefined {
    const [global, micro] = [this.number('global_batch_size'), this.number('micro_batch_size')];
    const data = this.data;
    if (global === undefined || micro === undefined || data === undefined) return undefined;
    const steps = global / (micro * data * (this.weightShards ?? 1));
    return Number.isInteger(steps) ? steps : undefined;
  }

  get quantized(): boolean {
    return this.given('fp8') || this.given('fp4');
  }

  get fullyShardedMegatron(): boolean {
    return this.on('use_megatron_fsdp');
  }

  get #layoutStages(): number {
    return this.text('pipeline_model_parallel_layout')?.split('|').length ?? 0;
  }

  #factor(field: string, of: number | undefined): number | undefined {
    if (!this.given(field)) return 1;
    const shards = this.number(field);
    return shards === undefined || of === undefined ? undefined : shards / of;
  }
}

const product = (...factors: readonly (number | undefined)[]): number | undefined =>
  factors.reduce((sum, factor) => (sum === undefined || factor === undefined ? undefined : sum * factor), 1);
