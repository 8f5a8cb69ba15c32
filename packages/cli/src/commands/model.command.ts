/** Flags and help of `monta model`; what it does is in `model.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy, sequenceFlag } from './flags.js';
import type { ModelFlags } from './model.flags.js';

export const modelCommand = buildCommand<ModelFlags, [name?: string], MontaContext>({
  loader: lazy(async () => (await import('./model.js')).runModel),
  parameters: {
    flags: {
      json: jsonFlag,
      sequence: sequenceFlag(
        'Sequence length for the FLOPs (default: 4,096, or what the model allows if that is less)',
      ),
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          placeholder: 'name|config.json',
          brief: 'A known model, a Hugging Face config.json, or a shape in YAML',
          optional: true,
        },
      ],
    },
  },
  docs: {
    brief: briefs.model,
    fullDescription: helpText(
      'Shows what is trained: the shape, parameters by part (all, and those one token uses), and FLOPs per token ' +
        'forward and\n' +
        'in training. A multiply-add counts two; attention is causal (half the sequence on average); no recomputation.',
      [
        ['monta model', 'all known models'],
        ['monta model mixtral-8x7b', 'shape, parameters, FLOPs'],
        ['monta model deepseek-v3 --sequence 8192', 'FLOPs at another length'],
        ['monta model ./Qwen3-30B-A3B/config.json', 'a model downloaded from Hugging Face'],
        ['monta model 2x70b --json', 'for scripts'],
      ],
    ),
  },
});
