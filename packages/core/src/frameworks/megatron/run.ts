/** A Megatron run as its flags, environment and machine describe it: what rules look at. */
import type { Architecture } from '../architecture.js';
import type { Located } from '../shell/place.js';
import { isUnknown } from '../shell/state.js';
import { megatronFlags } from './flags.js';
import { readStageLayout } from './read-stage-layout.js';
import type { Setting, Settings } from './settings.js';

/** What is known beside the flags; absent: not known, and rules that need it say nothing. */
export interface RunContext {
  /** Ranks of the job. */
  readonly gpus?: number;
  readonly architecture?: Architecture;
  readonly environment?: ReadonlyMap<string, Located>;
  /** Which settings these are: flags of Megatron-LM, or overrides of a recipe of Megatron-Bridge or NeMo. */
  readonly from?: 'flags' | 'overrides';
  /** Versions of the software, as `2.8.0`. */
  readonly versions?: Readonly<Partial<Record<SoftwareName, string>>>;
}

export const softwareNames = ['torch', 'te'] as const;
/** te: TransformerEngine. */
export type SoftwareName = (typeof softwareNames)[number];

/** Fields that recipes leave as the framework has them. */
const leftByRecipes: ReadonlySet<string> = new Set([
  'tensor_parallel_num_weight_shards',
  'expert_tensor_parallel_num_weight_shards',
  'hierarchical_context_parallel_sizes',
  'hybrid_context_parallel',
  'num_distributed_optimizer_instances',
  'decrease_batch_size_if_needed',
  'use_tp_pp_dp_mapping',
  'hybrid_layer_pattern',
]);

export class MegatronRun {
  /** Fields that were looked at and that the recipe decides, not the overrides. */
  #doubts = new Set<string>();

  constructor(
    readonly settings: Settings,
    readonly context: RunContext = {},
  ) {}

  /** What `look` finds, and which fields it looked at that were not given though a recipe may set them. */
  observed<T>(look: () => T): { readonly value: T; readonly doubts: readonly string[] } {
    this.#doubts = new Set();
    return { value: look(), doubts: [...this.#doubts] };
  }

  /** The same run, were these fields set to other values than the framework's: switches turned, all else not known. */
  supposing(fields: readonly string[]): MegatronRun {
    const place = { source: { file: '', text: '' }, start: 0, end: 0 };
    const supposed = fields.map((field): [string, Setting] => {
      const { kind, default: usual } = megatronFlags.findField(field) ?? { kind: 'text', default: undefined };
      const switches = kind === 'on' || kind === 'off' || kind === 'onoff';
      return [field, { value: switches ? usual !== 'true' : undefined, at: { text: field, place } }];
    });
    const settings = { ...this.settings, fields: new Map([...this.settings.fields, ...supposed]) };
    return new MegatronRun(settings, this.context);
  }

  /** Whether a field that is not given has the framework's default; else the recipe's: then there is a doubt. */
  #isDefault(field: string): boolean {
    if (this.settings.open === true) this.#doubts.add(field);
    if (this.context.from !== 'overrides' || leftByRecipes.has(field) || this.settings.nothing?.has(field) === true)
      return true;
    // A configuration that says the model says all of it.
    if (this.settings.fields.has('num_layers')) return true;
    this.#doubts.add(field);
    return false;
  }

  /** Whether the person set the field. */
  given(field: string): boolean {
    if (this.settings.fields.has(field)) return true;
    this.#isDefault(field);
    return false;
  }

  at(field: string): Located | undefined {
    return this.settings.fields.get(field)?.at;
  }

  /** The number of a field, by default the framework's own; undefined: unset, or known only to the machine. */
  number(field: string): number | undefined {
    const setting = this.settings.fields.get(field);
    if (setting !== undefined) return typeof setting.value === 'number' ? setting.value : undefined;
    if (!this.#isDefault(field)) return undefined;
    const text = megatronFlags.ofField(field).default;
    return text === undefined ? undefined : Number(text);
  }

  text(field: string): string | undefined {
    const setting = this.settings.fields.get(field);
    if (setting !== undefined) return typeof setting.value === 'string' ? setting.value : undefined;
    if (!this.#isDefault(field)) return undefined;
    return megatronFlags.ofField(field).default;
  }

  list(field: string): readonly string[] {
    const value = this.settings.fields.get(field)?.value;
    if (Array.isArray(value)) return value as readonly string[];
    if (!this.settings.fields.has(field) && !this.#isDefault(field)) return [];
    const text = megatronFlags.ofField(field).default ?? '[]';
    return text === '[]' ? [] : text.replace(/^\[|\]$/gu, '').split(',');
  }

  on(field: string): boolean {
    const setting = this.settings.fields.get(field);
    if (setting !== undefined) return setting.value === true;
    this.#isDefault(field);
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
    if (this.given('expert_tensor_parallel_size')) return this.number('expert_tensor_parallel_size');
    return this.#isDefault('expert_tensor_parallel_size') ? this.tensor : undefined;
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
      (this.layoutStages?.length ?? 0) > (this.pipeline ?? Infinity)
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

  /** Whether a version is known and lies below another. */
  olderThan(software: SoftwareName, least: string): boolean {
    const version = this.context.versions?.[software];
    return version !== undefined && compareVersions(version, least) < 0;
  }

  get quantized(): boolean {
    return this.given('fp8') || this.given('fp4');
  }

  get fullyShardedMegatron(): boolean {
    return this.on('use_megatron_fsdp');
  }

  /** Stages of the layout string, in the order in which a token passes them; undefined without one. */
  get layoutStages(): readonly string[] | undefined {
    const text = this.text('pipeline_model_parallel_layout');
    return text === undefined ? undefined : readStageLayout(text);
  }

  #factor(field: string, of: number | undefined): number | undefined {
    if (!this.given(field)) return 1;
    const shards = this.number(field);
    return shards === undefined || of === undefined ? undefined : shards / of;
  }
}

/** Below 0 where the first is the older; numbers between dots. */
function compareVersions(a: string, b: string): number {
  const [one, other] = [a, b].map((text) => text.split('.').map((part) => Number.parseInt(part, 10) || 0));
  const places = Math.max(one?.length ?? 0, other?.length ?? 0);
  for (let place = 0; place < places; place++) {
    const difference = (one?.[place] ?? 0) - (other?.[place] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

const product = (...factors: readonly (number | undefined)[]): number | undefined =>
  factors.reduce((sum, factor) => (sum === undefined || factor === undefined ? undefined : sum * factor), 1);
