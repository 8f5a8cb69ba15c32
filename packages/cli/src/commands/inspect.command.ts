/** Flags and help of `monta inspect`; what it does is in `inspect.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import type { InspectFlags } from './inspect.flags.js';

export const inspectCommand = buildCommand<InspectFlags, [folder: string], MontaContext>({
  loader: lazy(async () => (await import('./inspect.js')).runInspect),
  parameters: {
    flags: {
      json: jsonFlag,
      tensors: { kind: 'boolean', brief: 'List every tensor with its shape', default: false, withNegated: false },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          placeholder: 'folder',
          brief: 'A Hugging Face model folder, a training state, or a folder of states',
        },
      ],
    },
  },
  docs: {
    brief: briefs.inspect,
    fullDescription: helpText(
      'Shows model, parameters by part, element types, states, step, layout and sizes of a checkpoint, and whether ' +
        'every file is\n' +
        'there, whole, and as its digest says (all files are read). Exit code 1 when a checkpoint is not complete.',
      [
        ['monta inspect runs/2026-11-24-a/checkpoints', 'all states of a run'],
        ['monta inspect runs/2026-11-24-a/checkpoints/step-000300', 'one of them'],
        ['monta inspect ./Qwen3-30B-A3B --tensors', 'a model folder with its tensors'],
        ['monta inspect model --json', 'for scripts'],
      ],
    ),
  },
});
