/**
 * Checks a DeepSpeed configuration (deepspeed/runtime/config.py, zero/config.py, module_inject/auto_ep* at edaa7221,
 * 0.19.6).
 */
import type { MoeModel } from '../../model/index.js';
import { isRecord } from '../../units/index.js';
import type { Finding, Severity } from '../finding.js';
import type { Source } from '../shell/place.js';

export interface DeepspeedContext {
  /** Ranks of the job; absent: rules that need them say nothing. */
  readonly gpus?: number;
  readonly model?: MoeModel;
}

/** A configuration, looked at by keys with dots. */
class DeepspeedConfig {
  constructor(
    readonly root: unknown,
    readonly context: DeepspeedContext,
  ) {}

  value(key: string): unknown {
    return key.split('.').reduce((inside: unknown, name) => (isRecord(inside) ? inside[name] : undefined), this.root);
  }

  /** undefined also for "auto", which the trainer fills in. */
  number(key: string): number | undefined {
    const value = this.value(key);
    return typeof value === 'number' ? value : undefined;
  }

  on(key: string): boolean {
    return this.value(key) === true;
  }

  get stage(): number {
    return this.number('zero_optimization.stage') ?? 0;
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

  /** Data parallel size; undefined where ranks are not known or do not divide. */
  get data(): number | undefined {
    const { gpus } = this.context;
    const parts = Math.max(1, this.autoTensor) * (this.number('sequence_parallel_size') ?? 1);
    return gpus === undefined || gpus % parts !== 0 ? undefined : gpus / parts;
  }
}

interface Broken {
  readonly message: string;
  readonly mend: string;
  readonly consequence?: string;
}

interface Rule {
  readonly id: string;
  readonly severity?: Severity;
  /** Keys that take part, the one to change first. */
  readonly keys: readonly string[];
  readonly check: (config: DeepspeedConfig) => Broken | undefined;
}

const when = (condition: boolean, message: string, mend: string, consequence?: string): Broken | undefined =>
  condition ? { message, mend, ...(consequence === undefined ? {} : { consequence }) } : undefined;

export const deepspeedRules: readonly Rule[] = [
  {
    id: 'deepspeed-batch',
    keys: ['train_batch_size', 'train_micro_batch_size_per_gpu', 'gradient_accumulation_steps'],
    check: (config) => {
      const [batch, micro, steps] = [
        'train_batch_size',
        'train_micro_batch_size_per_gpu',
        'gradient_accumulation_steps',
      ].map((key) => config.number(key));
      const { data } = config;
      if (data === undefined || batch === undefined || micro === undefined || steps === undefined) return undefined;
      return when(
        batch !== micro * steps * data,
        `train_batch_size ${batch} is not ${micro} a rank x ${steps} steps x ${data} replicas`,
        `train_batch_size ${micro * steps * data}`,
      );
    },
  },
  {
    id: 'deepspeed-no-batch',
    keys: ['train_batch_size', 'train_micro_batch_size_per_gpu'],
    check: (config) =>
      when(
        config.value('train_batch_size') === undefined && config.value('train_micro_batch_size_per_gpu') === undefined,
        'neither train_batch_size nor train_micro_batch_size_per_gpu is given',
        'give one of the two',
      ),
  },
  {
    id: 'deepspeed-two-precisions',
    keys: ['fp16', 'bf16'],
    check: (config) =>
      when(config.on('fp16.enabled') && config.on('bf16.enabled'), 'fp16 and bf16 are both on', 'keep one'),
  },
  {
    id: 'deepspeed-low-precision-states',
    keys: ['bf16', 'zero_optimization'],
    check: (config) =>
      when(
        (config.on('bf16.bf16_master_weights_and_grads') || config.on('bf16.bf16_optimizer_states')) &&
          config.stage === 0,
        'master weights or states in bfloat16 without ZeRO',
        'zero_optimization.stage 1, 2 or 3',
      ),
  },
  {
    id: 'deepspeed-expert-tensor-parallel',
    keys: ['expert_tensor_parallel_size'],
    check: (config) => {
      const size = config.number('expert_parallel.expert_tensor_parallel_size') ?? 1;
      return when(
        config.autoExpert && size !== 1,
        `expert tensor parallel size ${size}`,
        'expert_tensor_parallel_size 1: nothing else is taken',
      );
    },
  },
  {
    id: 'deepspeed-balance-coefficient',
    keys: ['load_balance_coeff'],
    check: (config) =>
      when(
        config.autoExpert && (config.value('expert_parallel.load_balance_coeff') ?? null) !== null,
        'expert_parallel.load_balance_coeff is given',
        "leave it out: the model's own loss balances",
      ),
  },
  {
    id: 'deepspeed-experts',
    keys: ['autoep_size'],
    check: (config) => {
      const experts = config.context.model?.experts;
      return experts === undefined
        ? undefined
        : when(
            config.autoExpert && experts % config.expert !== 0,
            `${experts} experts do not divide over autoep_size ${config.expert}`,
            `a divisor of ${experts}`,
          );
    },
  },
  {
    id: 'deepspeed-world',
    keys: ['autoep_size', 'autotp_size'],
    check: (config) => {
      const { gpus } = config.context;
      if (gpus === undefined) return undefined;
      if (config.autoTensor > 1 && gpus % config.autoTensor !== 0)
        return when(true, `${gpus} ranks do not divide over autotp_size ${config.autoTensor}`, `a divisor of ${gpus}`);
      return when(
        config.autoExpert && gpus % config.expert !== 0,
        `${gpus} ranks do not divide over autoep_size ${config.expert}`,
        `a divisor of ${gpus}`,
      );
    },
  },
  {
    id: 'deepspeed-folding',
    keys: ['expert_parallel', 'tensor_parallel', 'zero_optimization'],
    check: (config) => {
      if (!config.autoExpert || config.autoTensor <= 1) return undefined;
      if (config.stage > 2) return when(true, `AutoEP beside AutoTP at ZeRO stage ${config.stage}`, 'stage 2 at most');
      if (config.expert === 1)
        return when(true, 'AutoEP beside AutoTP with autoep_size 1', 'autoep_size above 1, or drop expert_parallel');
      const offload =
        config.value('zero_optimization.offload_optimizer') ?? config.value('zero_optimization.offload_param');
      return when(
        offload !== undefined || config.on('use_data_before_expert_parallelism'),
        'AutoEP beside AutoTP with offloading or use_data_before_expert_parallelism',
        'drop it',
      );
    },
  },
  {
    id: 'deepspeed-experts-at-stage-3',
    keys: ['zero_optimization'],
    check: (config) => {
      const zero = (key: string): unknown => config.value(`zero_optimization.${key}`);
      const others =
        Number(zero('zero_hpz_partition_size') ?? 1) > 1 ||
        Number(zero('mics_shard_size') ?? -1) > 0 ||
        zero('zero_quantized_gradients') === true;
      return when(
        config.autoExpert && config.stage === 3 && others,
        'AutoEP at ZeRO stage 3 with MiCS, hpZ or quantized gradients',
        'drop them',
      );
    },
  },
  {
    id: 'deepspeed-summed-gradients',
    keys: ['gradient_allreduce_op'],
    check: (config) =>
      when(
        config.value('gradient_allreduce_op') === 'sum' && config.stage === 3,
        'gradient_allreduce_op sum at ZeRO stage 3',
        'mean, or another stage',
      ),
  },
  {
    id: 'deepspeed-overlap',
    severity: 'slow',
    keys: ['overlap_comm', 'zero_optimization'],
    check: (config) =>
      when(
        (config.stage === 1 || config.stage === 2) && config.value('zero_optimization.overlap_comm') === undefined,
        `overlap_comm is not given: at ZeRO stage ${config.stage} it is off`,
        'zero_optimization.overlap_comm true',
        'gradients are reduced after the backward pass, not beside it',
      ),
  },
];

const ruleSource = 'DeepSpeed edaa7221 (0.19.6)';

/** Whether a document is a configuration of DeepSpeed. */
export const looksLikeDeepspeed = (root: unknown): boolean =>
  isRecord(root) &&
  [
    'train_batch_size',
    'train_micro_batch_size_per_gpu',
    'zero_optimization',
    'expert_parallel',
    'zero_allow_untested_optimizer',
  ].some((key) => key in root);

/** What is wrong with a configuration, errors first; `source` is its text, to point into. */
export function checkDeepspeed(root: unknown, source: Source, context: DeepspeedContext = {}): Finding[] {
  const config = new DeepspeedConfig(root, context);
  const findings = deepspeedRules.flatMap(({ id, severity = 'error', keys, check }): Finding[] => {
    const found = check(config);
    if (found === undefined) return [];
    const key = keys.find((one) => source.text.includes(`"${one}"`));
    const start = key === undefined ? -1 : source.text.indexOf(`"${key}"`);
    const { message, mend, consequence = 'DeepSpeed stops at start' } = found;
    const at = key === undefined ? undefined : { text: key, place: { source, start, end: start + key.length + 2 } };
    return [
      {
        severity,
        rule: id,
        flags: keys,
        message,
        consequence,
        mend,
        source: ruleSource,
        ...(at === undefined ? {} : { at }),
      },
    ];
  });
  return findings.sort((a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'));
}
