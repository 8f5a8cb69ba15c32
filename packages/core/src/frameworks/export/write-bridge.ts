/**
 * Overrides of a recipe of Megatron-Bridge, as YAML: the same fields as Megatron-Core's under model, train, ddp and
 * dataset.
 */
import type { Exported, ExportPlan, ExportSetting, ExportValue } from './exported.js';
import { refuseWhatStops } from './write-megatron.js';

/** Sections of fields that are not the model's (megatron/bridge/training/config.py). */
const sections: Readonly<Record<string, string>> = {
  micro_batch_size: 'train',
  global_batch_size: 'train',
  seq_length: 'dataset',
  use_distributed_optimizer: 'ddp',
  overlap_grad_reduce: 'ddp',
  overlap_param_gather: 'ddp',
};

/** Bridge takes the sequence's length in the model too. */
const everywhere: readonly string[] = ['seq_length'];

/** What Megatron-Bridge says otherwise. */
const left: readonly string[] = ['bf16'];

const scalar = (value: ExportValue): string =>
  Array.isArray(value)
    ? `[${(value as readonly string[]).join(', ')}]`
    : typeof value === 'string'
      ? JSON.stringify(value)
      : String(value);

const line = ({ field, value, reason }: ExportSetting): string =>
  `  ${field}: ${scalar(value)}  # ${reason.replaceAll(/\s+/gu, ' ')}`;

/**
 * Text of a file for the recipe's overrides; `whole` has the model's shape beside them, for the check. Throws
 * `InputError` where Megatron-Core would stop.
 */
export function writeBridge(plan: ExportPlan, exported: Exported, whole: Exported): string {
  refuseWhatStops(plan, whole);
  const settings = exported.settings.filter(({ field }) => !left.includes(field));
  const of = (name: string): ExportSetting[] =>
    settings.filter(
      ({ field }) => (sections[field] ?? 'model') === name || (name === 'model' && everywhere.includes(field)),
    );
  const block = (name: string): string[] => {
    const inside = of(name);
    return inside.length === 0 ? [] : [`${name}:`, ...inside.map(line)];
  };
  const variables = exported.environment.map(({ name, value, reason }) => `  ${name}: "${value}"  # ${reason}`);
  return `${[
    `# ${plan.model.name} on ${plan.cluster.name}: overrides of a recipe of Megatron-Bridge, written by monta ` +
      `export. The recipe gives the model's shape, data and optimizer.`,
    ...exported.notes.map((note) => `# NOTE ${note}`),
    ...['model', 'train', 'dataset', 'ddp'].flatMap(block),
    ...(variables.length === 0 ? [] : ['env_vars:', ...variables]),
    'mixed_precision: "bf16_mixed"  # weights and activations in bfloat16, main gradients and states in float32',
  ].join('\n')}\n`;
}
