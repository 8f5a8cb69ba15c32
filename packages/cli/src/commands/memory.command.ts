/** Flags and help of `monta memory`; what it does is in `memory.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import { stepFlags, subjectFlags } from './layer-inputs.js';
import { memoryFlags } from './memory-flags.js';
import type { MemoryCommandFlags } from './memory.flags.js';

export const memoryCommand = buildCommand<MemoryCommandFlags, [], MontaContext>({
  loader: lazy(async () => (await import('./memory.js')).runMemory),
  parameters: {
    flags: {
      ...subjectFlags,
      ...stepFlags,
      dtype: { kind: 'enum', values: ['bf16', 'f32'], brief: 'Type of activations', default: 'bf16' },
      ...memoryFlags,
      svg: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file.svg',
        brief: 'Draw the memory of the fullest stage over its passes',
        optional: true,
      },
      json: jsonFlag,
    },
  },
  docs: {
    brief: briefs.memory,
    fullDescription: helpText(
      'Compiles the passes of every pipeline stage and follows what lives when, as Megatron-Core keeps it; states ' +
        'follow the rule\n' +
        'by which ranks share them. Prints the fullest stage: what takes how much, the operation at the peak, the ' +
        'room that is\n' +
        'left, and what other choices would need and cost. Nothing is measured. Exit code 0, whether it fits or not.',
      [
        ['monta memory --model qwen3-30b-a3b --cluster h100-2x8 --layout dp=16,ep=16', 'a step of others'],
        [
          'monta memory --model deepseek-v3 --cluster h100-32x8 --layout dp=64,ep=64,pp=4 --virtual-stages 4 ' +
            '--micro-batches 32',
          'with a pipeline',
        ],
        ['monta memory --model 2x70b --cluster a800-2x8 --layout tp=8,dp=2,ep=2 --svg memory.svg', 'drawn'],
      ],
    ),
  },
});
