/**
 * Checks a DeepSpeed configuration (deepspeed/runtime/config.py, zero/config.py, module_inject/auto_ep* at edaa7221,
 * 0.19.6).
 */
import { isRecord } from '../../units/index.js';
import type { Finding, Severity } from '../finding.js';
import type { Source } from '../shell/place.js';
import type { DeepspeedConfig } from './config.js';

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

/** deepspeed/module_inject/auto_ep*, 0.19.6. */
const presets = ['mixtral', 'qwen3_moe', 'qwen3_5_moe', 'deepseek_v2', 'deepseek_v3'];

/** Whether experts and tensor parallelism name different presets. */
const otherPreset = (config: DeepspeedConfig): boolean => {
  const [experts, tensor] = ['expert_parallel', 'tensor_parallel'].map((key) => config.value(`${key}.preset_model`));
  return experts !== undefined && tensor !== undefined && experts !== tensor;
};

const deepCompile = (config: DeepspeedConfig): boolean => config.on('compile.deepcompile');

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
      const ranks = gpus / config.stages;
      return when(
        config.autoExpert && ranks % config.expert !== 0,
        `${ranks} ranks${config.stages > 1 ? ' of a stage' : ''} do not divide over autoep_size ${config.expert}`,
        `a divisor of ${ranks}`,
      );
    },
  },
  {
    id: 'deepspeed-preset',
    keys: ['preset_model'],
    check: (config) => {
      const preset = config.value('expert_parallel.preset_model') ?? config.value('tensor_parallel.preset_model');
      return when(
        typeof preset === 'string' && !presets.includes(preset),
        `preset_model ${String(preset)} is unknown`,
        `one of ${presets.join(', ')}`,
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
      const refused: readonly (readonly [boolean, string])[] = [
        [offload !== undefined, 'offloading'],
        [config.on('use_data_before_expert_parallelism'), 'use_data_before_expert_parallelism'],
        [config.stages > 1, 'a pipeline'],
        [config.sequenceRanks > 1, 'sequence parallelism'],
        [deepCompile(config), 'DeepCompile'],
        [otherPreset(config), 'another preset_model'],
      ];
      const found = refused.filter(([broken]) => broken).map(([, what]) => what);
      return when(found.length > 0, `AutoEP beside AutoTP with ${found.join(', ')}`, 'drop it');
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
        zero('zero_quantized_gradients') === true ||
        config.sequenceRanks > 1;
      return when(
        config.autoExpert && config.stage === 3 && others,
        'AutoEP at ZeRO stage 3 with MiCS, hpZ, quantized gradients or sequence parallelism',
        'drop them',
      );
    },
  },
  {
    id: 'deepspeed-summed-gradients',
    keys: ['gradient_allreduce_op'],
    check: (config) =>
      when(
        config.value('gradient_allreduce_op') === 'sum' &&
          (config.stage === 3 || config.value('zero_optimization.zenflow') !== undefined || deepCompile(config)),
        'gradient_allreduce_op sum at ZeRO stage 3, with ZenFlow or with DeepCompile',
        'mean, or none of them',
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
export function checkDeepspeed(config: DeepspeedConfig, source: Source): Finding[] {
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
