/** Flags and help of `monta export`; what it does is in `export.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import { exportTargets } from '@monta/core/frameworks';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import type { ExportFlags } from './export.flags.js';

const name = (brief: string) =>
  ({ kind: 'parsed', parse: String, placeholder: 'name|file', brief, optional: true }) as const;

export const exportCommand = buildCommand<ExportFlags, [plan: string], MontaContext>({
  loader: lazy(async () => (await import('./export.js')).runExport),
  parameters: {
    flags: {
      json: jsonFlag,
      to: { kind: 'enum', values: exportTargets, brief: 'The framework, or what starts Megatron-LM' },
      model: name('The model, where the plan names it by a file'),
      cluster: name('The cluster, where the plan names it by a file'),
      nearest: {
        kind: 'boolean',
        brief: 'Where the framework has no such dispatcher, write the nearest that it has',
        default: false,
        withNegated: false,
      },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        { parse: String, placeholder: 'plan.json', brief: 'What monta plan --json printed, or a plan written by hand' },
      ],
    },
  },
  docs: {
    brief: briefs.export,
    fullDescription: helpText(
      'Writes the layout, batch, dispatcher and model of a plan as the framework says it, each line with its ' +
        'reason, and what has to be in\n' +
        'the environment. What is written is checked by the rules of monta lint first. What the framework cannot ' +
        'do is refused with the\n' +
        'reason, or named with the nearest that it can. A plan by hand is JSON with model, cluster, layout, ' +
        'sequence, sequences,\n' +
        'microBatches, and if wanted dispatch, recompute, virtualStages and layersOfStages.',
      [
        ['monta plan --model mixtral-8x7b --cluster h100-2x8 --layout dp=16,ep=8 --json > plan.json', 'makes a plan'],
        ['monta export plan.json --to torchrun > train.sh', 'a script for Megatron-LM'],
        ['monta export plan.json --to slurm > job.sh', 'a Slurm job'],
        ['monta export plan.json --to bridge > overrides.yaml', 'for Megatron-Bridge'],
        ['monta export plan.json --to deepspeed > ds_config.json', 'for DeepSpeed'],
      ],
    ),
  },
});
