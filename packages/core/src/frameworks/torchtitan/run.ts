/** A run of torchtitan as its configuration and its flags with dots describe it. */
import { lastName, type Assignment } from '../assigned/assignment.js';
import { argumentSection } from '../assigned/read-python.js';
import type { Located } from '../shell/place.js';
import { resolveLayout, type Layout } from '../../layout/index.js';
import type { MoeModel } from '../../model/model.js';
import { InputError } from '../../units/errors.js';

export interface TorchtitanContext {
  /** Ranks of the job; absent: rules that need them say nothing. */
  readonly gpus?: number;
  readonly model?: MoeModel;
}

/**
 * Keys of `parallelism`, with what they are when left out: of b5bcd76c (0.3.0, configurations in Python), and those
 * that 0.2 (in TOML) has beside them.
 */
export const parallelismDefaults = {
  data_parallel_replicate_degree: 1,
  data_parallel_shard_degree: -1,
  fsdp_reshard_after_forward: 'default',
  enable_fsdp_symm_mem: false,
  tensor_parallel_degree: 1,
  enable_sequence_parallel: true,
  spmd_backend: 'spmd_types',
  disable_loss_parallel: false,
  enable_async_tensor_parallel: false,
  pipeline_parallel_degree: 1,
  module_fqns_per_model_part: null,
  pipeline_parallel_first_stage_less_layers: 1,
  pipeline_parallel_last_stage_less_layers: 1,
  pipeline_parallel_layers_per_stage: null,
  pipeline_parallel_schedule: '1F1B',
  pipeline_parallel_schedule_csv: '',
  pipeline_parallel_microbatch_size: 1,
  num_pp_microbatches: 1,
  pipeline_parallel_expert_parallel_overlap: true,
  context_parallel_degree: 1,
  context_parallel_load_balancer: 'headtail',
  context_parallel_ptrr_mask_key: null,
  context_parallel_rotate_method: 'allgather',
  expert_parallel_degree: 1,
  expert_parallel_comm_backend: 'standard',
} as const;

export const degreeKeys = [
  'data_parallel_replicate_degree',
  'data_parallel_shard_degree',
  'context_parallel_degree',
  'tensor_parallel_degree',
  'pipeline_parallel_degree',
] as const;

/** Keys of `training` that say the batch; since 0.3.0 it is counted in tokens. */
const trainingKeys: readonly string[] = [
  'local_batch_size',
  'global_batch_size',
  'seq_len',
  'num_tokens_per_microbatch_per_dp_rank',
  'num_tokens_per_train_step',
  'max_context_length',
];

/** Section of an argument by name: `parallelism=ParallelismConfig(tensor_parallel_degree=2)` names none. */
function sectionOf(name: string): string | undefined {
  if (name in parallelismDefaults) return 'parallelism';
  return trainingKeys.includes(name) ? 'training' : undefined;
}

/** What such a run is as a plan. */
export interface TorchtitanPlan {
  readonly layout: Layout;
  /** Of a micro-batch. */
  readonly sequences: number | undefined;
  readonly microBatches: number | undefined;
  readonly sequence: number | undefined;
  /** As `standard` or `deepep`. */
  readonly dispatcher: string;
}

export class TorchtitanRun {
  readonly #byKey = new Map<string, Assignment>();

  constructor(
    readonly assignments: readonly Assignment[],
    readonly context: TorchtitanContext = {},
  ) {
    for (const assignment of assignments) {
      const { key } = assignment;
      const section = key.startsWith(`${argumentSection}.`) ? sectionOf(lastName(key)) : undefined;
      const plain = key.replace(/^job_config\.|^config\./u, '');
      this.#byKey.set(section === undefined ? plain : `${section}.${lastName(key)}`, assignment);
    }
  }

  get keys(): readonly string[] {
    return [...this.#byKey.keys()];
  }

  value(key: string): unknown {
    return this.#byKey.get(key)?.value;
  }

  given(key: string): boolean {
    return this.#byKey.has(key);
  }

  at(key: string): Located | undefined {
    return this.#byKey.get(key)?.at;
  }

  /** undefined: not given, or known only to the machine. */
  number(key: string): number | undefined {
    const value = this.value(key);
    return typeof value === 'number' ? value : undefined;
  }

  on(key: string): boolean {
    return this.value(key) === true;
  }

  text(key: string): string | undefined {
    const value = this.value(key);
    return typeof value === 'string' ? value : undefined;
  }

  /** A degree, by default the framework's own; undefined: known only to the machine. */
  degree(name: (typeof degreeKeys)[number] | 'expert_parallel_degree'): number | undefined {
    const key = `parallelism.${name}`;
    return this.given(key) ? this.number(key) : parallelismDefaults[name];
  }

  /** Ranks of all degrees but that of the shards. */
  get besideShards(): number | undefined {
    return degreeKeys
      .filter((name) => name !== 'data_parallel_shard_degree')
      .reduce<number | undefined>((product, name) => {
        const degree = this.degree(name);
        return product === undefined || degree === undefined ? undefined : product * degree;
      }, 1);
  }

  /** Ranks over which parameters are sharded: -1 is all that is left. */
  get shards(): number | undefined {
    const [given, beside] = [this.degree('data_parallel_shard_degree'), this.besideShards];
    if (given !== -1) return given;
    const { gpus } = this.context;
    return gpus === undefined || beside === undefined || gpus % beside !== 0 ? undefined : gpus / beside;
  }

  /** Data parallel replicas. */
  get data(): number | undefined {
    const [replicas, shards] = [this.degree('data_parallel_replicate_degree'), this.shards];
    return replicas === undefined || shards === undefined ? undefined : replicas * shards;
  }

  get dispatcher(): string {
    return (
      this.text('parallelism.expert_parallel_comm_backend') ??
      this.text(`${argumentSection}.moe_comm_backend`) ??
      parallelismDefaults.expert_parallel_comm_backend
    );
  }

  get schedule(): string {
    return this.text('parallelism.pipeline_parallel_schedule') ?? parallelismDefaults.pipeline_parallel_schedule;
  }

  /** `none`, `selective` or `full`; in Python the class of the policy says it. */
  get recompute(): string {
    const mode = this.text('activation_checkpoint.mode');
    if (mode !== undefined) return mode;
    const policy = this.#byKey.get(`${argumentSection}.activation_checkpoint`);
    if (policy === undefined) return 'selective';
    const { source, end } = policy.at.place;
    const [written = ''] = source.text.slice(end).split('\n', 1);
    return written.includes('FullAC') ? 'full' : written.includes('None') ? 'none' : 'selective';
  }

  /** Undefined where degrees or ranks are not known, or do not make a layout: the checker says why. */
  get planned(): TorchtitanPlan | undefined {
    const [tp, cp, pp] = (['tensor', 'context', 'pipeline'] as const).map((name) =>
      this.degree(`${name}_parallel_degree`),
    );
    const [ep, data] = [this.degree('expert_parallel_degree'), this.data];
    if (tp === undefined || cp === undefined || pp === undefined || ep === undefined || data === undefined)
      return undefined;
    try {
      const layout = resolveLayout({ tp, cp, pp, ep, etp: 1, sequenceParallel: tp > 1 }, tp * cp * pp * data);
      return { layout, ...this.#batch(pp, data), dispatcher: this.dispatcher };
    } catch (error) {
      if (error instanceof InputError) return undefined;
      throw error;
    }
  }

  #batch(pp: number, data: number): Pick<TorchtitanPlan, 'sequences' | 'microBatches' | 'sequence'> {
    const tokens = this.#tokens(pp, data);
    const sequence = this.number('training.seq_len') ?? this.number('training.max_context_length');
    if (tokens !== undefined) return { ...tokens, sequence };
    const local = this.number('training.local_batch_size');
    const size = this.number('parallelism.pipeline_parallel_microbatch_size') ?? 1;
    const sequences = pp > 1 ? size : local;
    // torchtitan's default: no accumulation
    const global = this.number('training.global_batch_size') ?? (local === undefined ? undefined : local * data);
    const microBatches = global === undefined || sequences === undefined ? undefined : global / (sequences * data);
    return { sequences, microBatches: whole(microBatches), sequence };
  }

  /** The batch in tokens, as 0.3.0 counts it: its context length is that of a whole sequence. */
  #tokens(pp: number, data: number): Pick<TorchtitanPlan, 'sequences' | 'microBatches'> | undefined {
    const each = this.number('training.num_tokens_per_microbatch_per_dp_rank');
    const length = this.number('training.max_context_length');
    if (each === undefined || length === undefined) return undefined;
    const inPipeline = pp > 1 ? (this.number('parallelism.num_pp_microbatches') ?? 1) : 1;
    const step = this.number('training.num_tokens_per_train_step') ?? -1;
    return {
      sequences: whole(each / length),
      microBatches: step === -1 ? inPipeline : whole(step / (each * data)),
    };
  }
}

const whole = (count: number | undefined): number | undefined =>
  count !== undefined && Number.isInteger(count) && count > 0 ? count : undefined;

/** Whether assignments are of torchtitan: keys of its parallelism. */
export const looksLikeTorchtitan = (assignments: readonly Assignment[]): boolean =>
  assignments.some(
    ({ key }) =>
      /(?:^|\.)parallelism\.\w+$/u.test(key) ||
      (key.startsWith(`${argumentSection}.`) && key.endsWith('_parallel_degree')),
  );
