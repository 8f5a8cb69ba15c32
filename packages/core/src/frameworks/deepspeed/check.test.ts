import { describe, expect, it } from 'vitest';
import { getModel } from '../../model/index.js';
import { checkDeepspeed, deepspeedRules, looksLikeDeepspeed, type DeepspeedContext } from './check.js';

const batch = { train_micro_batch_size_per_gpu: 2 };
const zero = (more: object): object => ({ ...batch, zero_optimization: { overlap_comm: true, ...more } });
const expert = (more: object): object => ({ ...batch, expert_parallel: { enabled: true, autoep_size: 4, ...more } });
const folded = (stage: number, size = 4): object => ({
  ...expert({ autoep_size: size }),
  tensor_parallel: { autotp_size: 2 },
  zero_optimization: { stage, overlap_comm: true },
});
const sixteen: DeepspeedContext = { gpus: 16 };
const mixtral: DeepspeedContext = { model: getModel('mixtral-8x7b') };

const cases: readonly (readonly [rule: string, breaks: object, keeps: object, context?: DeepspeedContext])[] = [
  [
    'deepspeed-batch',
    { ...batch, train_batch_size: 64, gradient_accumulation_steps: 1 },
    { ...batch, train_batch_size: 32, gradient_accumulation_steps: 1 },
    sixteen,
  ],
  ['deepspeed-no-batch', { zero_optimization: {} }, { train_micro_batch_size_per_gpu: 'auto' }],
  [
    'deepspeed-two-precisions',
    { ...batch, fp16: { enabled: true }, bf16: { enabled: true } },
    { ...batch, fp16: { enabled: false }, bf16: { enabled: true } },
  ],
  [
    'deepspeed-low-precision-states',
    { ...batch, bf16: { bf16_optimizer_states: true } },
    { ...zero({ stage: 1 }), bf16: { bf16_optimizer_states: true } },
  ],
  [
    'deepspeed-expert-tensor-parallel',
    expert({ expert_tensor_parallel_size: 2 }),
    expert({ expert_tensor_parallel_size: 1 }),
  ],
  ['deepspeed-balance-coefficient', expert({ load_balance_coeff: 0.01 }), expert({ load_balance_coeff: null })],
  ['deepspeed-experts', expert({ autoep_size: 3 }), expert({}), mixtral],
  ['deepspeed-world', expert({ autoep_size: 12 }), expert({ autoep_size: 16 }), sixteen],
  [
    'deepspeed-world',
    { ...batch, tensor_parallel: { autotp_size: 3 } },
    { ...batch, tensor_parallel: { autotp_size: 8 } },
    sixteen,
  ],
  ['deepspeed-folding', folded(3), folded(2)],
  ['deepspeed-folding', folded(1, 1), folded(1)],
  [
    'deepspeed-experts-at-stage-3',
    { ...expert({}), ...zero({ stage: 3, mics_shard_size: 8 }) },
    { ...expert({}), ...zero({ stage: 3 }) },
  ],
  [
    'deepspeed-summed-gradients',
    { ...zero({ stage: 3 }), gradient_allreduce_op: 'sum' },
    { ...zero({ stage: 2 }), gradient_allreduce_op: 'sum' },
  ],
  ['deepspeed-overlap', { ...batch, zero_optimization: { stage: 2 } }, { ...batch, zero_optimization: { stage: 3 } }],
];

const broken = (config: object, context?: DeepspeedContext): string[] =>
  checkDeepspeed(config, { file: 'ds.json', text: JSON.stringify(config, null, 2) }, context).map(({ rule }) => rule);

describe('checkDeepspeed', () => {
  it.each(cases.map(([rule, breaks, keeps, context]) => ({ rule, breaks, keeps, context })))(
    '$rule is found where it is broken, and only there',
    ({ rule, breaks, keeps, context }) => {
      expect(broken(breaks, context)).toContain(rule);
      expect(broken(keeps, context)).not.toContain(rule);
    },
  );

  it('has a case for every rule', () => {
    expect(new Set(cases.map(([rule]) => rule))).toEqual(new Set(deepspeedRules.map(({ id }) => id)));
  });

  it('points at the key, and knows its own files', () => {
    const text =
      '{\n  "train_micro_batch_size_per_gpu": 2,\n  "expert_parallel": {"enabled": true, ' +
      '"expert_tensor_parallel_size": 2}\n}';
    const [finding] = checkDeepspeed(JSON.parse(text), { file: 'ds.json', text });
    expect(finding?.at?.place.start).toBe(text.indexOf('"expert_tensor_parallel_size"'));
    expect(looksLikeDeepspeed(JSON.parse(text))).toBe(true);
    expect(looksLikeDeepspeed({ model_type: 'mixtral' })).toBe(false);
  });
});
