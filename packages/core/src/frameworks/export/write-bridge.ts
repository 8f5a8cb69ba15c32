/** Overrides of a recipe of Megatron-Bridge, as YAML: the same fields as Megatron-Core's, in its sections. */
import type { ComputePrecision } from '../../estimate/index.js';
import { otherNames } from '../bridge/fields.js';
import { bridgeSections, sectionOfField } from '../bridge/sections.js';
import type { Exported, ExportPlan, ExportSetting, ExportValue } from './exported.js';
import { refuseWhatStops } from './write-megatron.js';

/** Bridge takes the sequence's length in the model too. */
const everywhere: readonly string[] = ['seq_length'];

/** What Megatron-Bridge says by one name. */
const left: readonly string[] = ['bf16', 'fp8', 'fp8_recipe', 'fp4', 'fp4_recipe'];

const precisions: Readonly<Record<ComputePrecision, readonly [name: string, reason: string]>> = {
  bf16: ['bf16_mixed', 'products in bfloat16'],
  fp8: ['bf16_with_fp8_current_scaling_mixed', 'products in fp8, scaled as they come'],
  mxfp8: ['bf16_with_mxfp8_mixed', 'products in fp8, a scale for every 32 elements'],
  nvfp4: ['bf16_with_nvfp4_mixed', 'products in fp4, a scale for every 16 elements'],
};

const scalar = (value: ExportValue): string =>
  Array.isArray(value)
    ? `[${(value as readonly string[]).join(', ')}]`
    : typeof value === 'string'
      ? JSON.stringify(value)
      : String(value);

/** Where the configuration has another name than the flag. */
const bridgeNames: Readonly<Record<string, string>> = Object.fromEntries(
  ['virtual_pipeline_model_parallel_size', 'num_moe_experts', 'fp8_param'].map((name) => [otherNames[name], name]),
);

const line = ({ field, value, reason }: ExportSetting): string =>
  `  ${bridgeNames[field] ?? field}: ${scalar(value)}  # ${reason.replaceAll(/\s+/gu, ' ')}`;

/**
 * Text of a file for the recipe's overrides; `whole` has the model's shape beside them, for the check. Throws
 * `InputError` where Megatron-Core would stop.
 */
export function writeBridge(plan: ExportPlan, exported: Exported, whole: Exported): string {
  refuseWhatStops(plan, whole);
  const settings = exported.settings.filter(({ field }) => !left.includes(field));
  const of = (name: string): ExportSetting[] =>
    settings.filter(({ field }) => sectionOfField(field) === name || (name === 'model' && everywhere.includes(field)));
  const block = (name: string): string[] => {
    const inside = of(name);
    return inside.length === 0 ? [] : [`${name}:`, ...inside.map(line)];
  };
  const [precision, products] = precisions[plan.precision ?? 'bf16'];
  const variables = exported.environment.map(({ name, value, reason }) => `  ${name}: "${value}"  # ${reason}`);
  return `${[
    `# ${plan.model.name} on ${plan.cluster.name}: overrides of a recipe of Megatron-Bridge, written by monta ` +
      `export. The recipe gives the model's shape, data and optimizer.`,
    ...exported.notes.map((note) => `# NOTE ${note}`),
    ...bridgeSections.flatMap(block),
    ...(variables.length === 0 ? [] : ['env_vars:', ...variables]),
    `mixed_precision: "${precision}"  # ${products}, main gradients and states in float32`,
  ].join('\n')}\n`;
}
