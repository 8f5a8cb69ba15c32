/**
 * A DeepSpeed configuration with AutoEP and AutoTP, as JSON. JSON holds no comments: the reasons are given beside it.
 */
import { halvesName, plainPair } from '../../schedule/index.js';
import type { MoeModel } from '../../model/index.js';
import { InputError } from '../../units/errors.js';
import type { Exported, ExportOptions, ExportPlan, ExportSetting } from './exported.js';

/** Families whose experts AutoEP finds (deepspeed/module_inject/auto_ep*, 0.19.8). */
const presets: Partial<Record<MoeModel['family'], string>> = {
  mixtral: 'mixtral',
  qwen3_moe: 'qwen3_moe',
  deepseek_v2: 'deepseek_v2',
  deepseek_v3: 'deepseek_v3',
};

const refuse = (path: string, message: string, expected: string): InputError =>
  new InputError(`DeepSpeed can't do this: ${message}`, { path, expected });

const stages = { none: 0, 'distributed-optimizer': 1, zero1: 1, zero2: 2, zero3: 3, fsdp: 3 } as const;

const sharedAt = ['nothing', 'optimizer states', 'gradients and optimizer states', 'all states'] as const;

/** ZeRO's stage. Throws `InputError` for one that AutoEP refuses beside AutoTP. */
function stageOf({ sharing = 'distributed-optimizer', layout, model }: ExportPlan): 0 | 1 | 2 | 3 {
  const stage = stages[sharing];
  if (stage === 3 && layout.tp > 1 && model.experts > 0)
    throw refuse('sharing', `${sharing}: AutoEP beside AutoTP takes ZeRO stage 2 at most`, 'zero1 or zero2');
  return stage;
}

const of = (field: string, value: ExportSetting['value'], reason: string): ExportSetting => ({ field, value, reason });

/** Throws `InputError` for layouts, models and precisions that AutoEP refuses. */
function checkPlan({ model, layout, precision = 'bf16' }: ExportPlan): void {
  const { tp, pp, cp, ep, etp } = layout;
  if (pp > 1)
    throw refuse(
      'layout.pp',
      `${pp} pipeline stages: expert parallelism beside tensor parallelism runs without a pipeline`,
      'pp=1',
    );
  if (cp > 1)
    throw refuse('layout.cp', `context parallel size ${cp}: AutoEP runs without sequence parallelism`, 'cp=1');
  if (model.experts > 0 && etp > 1)
    throw refuse('layout.etp', `expert tensor parallel size ${etp}: only 1 is taken`, 'etp=1, with ep up to tp·dp');
  if (model.experts > 0 && ep > 1 && presets[model.family] === undefined)
    throw refuse(
      'model',
      `AutoEP has no preset for ${model.family}`,
      `one of ${Object.keys(presets).join(', ')}, or name patterns written by hand`,
    );
  if (model.latentAttention === undefined && tp > 1 && model.keyValueHeads % tp !== 0)
    throw refuse(
      'layout.tp',
      `${model.keyValueHeads} heads of keys and values do not divide over ${tp}`,
      'a divisor of them',
    );
  if (precision !== 'bf16') throw refuse('precision', `products in ${precision}`, 'bf16');
}

/** Throws `InputError` for a dispatcher that is not AutoEP's, unless the nearest will do. */
function checkDispatcher({ layout, strategy }: ExportPlan, nearest: boolean): void {
  const name = halvesName(strategy);
  const plain = layout.tp === 1 ? plainPair(strategy) : name === 'sliced' || name === 'scattered';
  if (plain || nearest) return;
  throw new InputError(`DeepSpeed has no dispatcher like ${name}`, {
    path: 'strategy',
    expected: 'sliced or scattered',
    hint: "--nearest writes AutoEP's own",
  });
}

const batchSettings = ({ sequences, microBatches, layout: { dp } }: ExportPlan): ExportSetting[] => [
  of(
    'train_batch_size',
    sequences * microBatches * dp,
    `${sequences} x ${microBatches} micro-batches x ${dp} replicas`,
  ),
  of('train_micro_batch_size_per_gpu', sequences, 'sequences of one micro-batch'),
  of('gradient_accumulation_steps', microBatches, 'micro-batches of a step'),
];

const zeroSettings = (plan: ExportPlan): ExportSetting[] => [
  of(
    'zero_optimization.stage',
    stageOf(plan),
    `${sharedAt[stageOf(plan)]} over the replicas; beside tensor parallelism AutoEP takes stage 2 at most`,
  ),
  of(
    'zero_optimization.overlap_comm',
    true,
    'gradients are reduced beside the backward pass; the default only at stage 3',
  ),
];

const expertSettings = ({ model, layout: { ep } }: ExportPlan): ExportSetting[] =>
  model.experts > 0 && ep > 1
    ? [
        of('expert_parallel.enabled', true, 'AutoEP'),
        of('expert_parallel.autoep_size', ep, `${model.experts} experts, ${model.experts / ep} a rank`),
        of('expert_parallel.expert_tensor_parallel_size', 1, 'the only size that is taken'),
        of('expert_parallel.preset_model', presets[model.family] ?? '', 'where the experts are in the model'),
      ]
    : [];

function notesOf({ strategy, overlapExperts, recompute = 'none' }: ExportPlan): string[] {
  const { forward, backward } = strategy.chunks;
  return [
    ...(forward > 1 || backward > 1
      ? [`chunks: DeepSpeed does not cut a layer's exchange (the plan: ${forward} forward, ${backward} backward)`]
      : []),
    ...(overlapExperts === true
      ? ["the experts' exchange does not run beside another micro-batch, as the plan has it: DeepSpeed has no key"]
      : []),
    ...(recompute === 'none'
      ? []
      : ['recomputation is asked for in the model: gradient_checkpointing_enable() of Transformers']),
    "sequence length, data and optimizer are the training script's",
  ];
}

/** Keys with dots for what lies inside. Throws `InputError` for layouts that AutoEP refuses. */
export function deepspeedSettings(plan: ExportPlan, { nearest = false }: ExportOptions): Exported {
  checkPlan(plan);
  checkDispatcher(plan, nearest);
  const { tp } = plan.layout;
  return {
    settings: [
      ...batchSettings(plan),
      of('bf16.enabled', true, 'weights and activations in bfloat16'),
      ...zeroSettings(plan),
      ...expertSettings(plan),
      ...(tp > 1 ? [of('tensor_parallel.autotp_size', tp, `${plan.model.attentionHeads} heads over ${tp}`)] : []),
    ],
    environment: [],
    notes: notesOf(plan),
  };
}

/** The JSON of settings whose keys have dots. */
export function writeDeepspeed({ settings }: Exported): string {
  const root: Record<string, unknown> = {};
  for (const { field, value } of settings) {
    const [last = '', ...path] = field.split('.').reverse();
    let inside = root;
    for (const name of path.reverse()) inside = (inside[name] ??= {}) as Record<string, unknown>;
    inside[last] = value;
  }
  return `${JSON.stringify(root, null, 2)}\n`;
}
