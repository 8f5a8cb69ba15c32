/** Flags and help of `monta convert`; what it does is in `convert.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import { parseBytes } from '@monta/core/units';
import { parseLayout } from '@monta/core/layout';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import type { ConvertFlags } from './convert.flags.js';

export const convertCommand = buildCommand<ConvertFlags, [input: string, output: string], MontaContext>({
  loader: lazy(async () => (await import('./convert.js')).runConvert),
  parameters: {
    flags: {
      json: jsonFlag,
      to: {
        kind: 'enum',
        values: ['hf', 'state'],
        brief: 'Form of the output (default: the one that the input is not, or that the other flags ask for)',
        optional: true,
      },
      dtype: {
        kind: 'enum',
        values: ['f32', 'bf16', 'f16'],
        brief: 'Element type of a Hugging Face folder (default: the input folder’s, f32 from a training state)',
        optional: true,
      },
      shardSize: {
        kind: 'parsed',
        parse: parseBytes,
        placeholder: '5 GB',
        brief: 'Largest weights file of a Hugging Face folder (default: 5 GB)',
        optional: true,
      },
      like: {
        kind: 'parsed',
        parse: String,
        placeholder: 'folder',
        brief: 'A Hugging Face folder of the same model whose config.json and tokenizer the output gets',
        optional: true,
      },
      layout: {
        kind: 'parsed',
        parse: (text: string) => parseLayout(text),
        placeholder: 'tp=2,dp=2,ep=2',
        brief: 'Sharding of a training state (default: the input state’s, one rank from a Hugging Face folder)',
        optional: true,
      },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          placeholder: 'input',
          brief: 'A Hugging Face model folder, a training state, or a folder of states (its last)',
        },
        { parse: String, placeholder: 'output', brief: 'A new folder' },
      ],
    },
  },
  docs: {
    brief: briefs.convert,
    fullDescription: helpText(
      'Reads a checkpoint a few rows at a time and writes it in another form. The input is verified first (names, ' +
        'shapes, digests\n' +
        'where it has them); the output appears only when it is complete. A Hugging Face folder has no optimizer ' +
        'moments and no data\n' +
        'position: a state made from one starts at step 0. A folder that came from Hugging Face keeps its config ' +
        'and tokenizer.',
      [
        ['monta convert runs/2026-11-24-a/checkpoints model --dtype bf16', 'what a run has learned, for transformers'],
        [
          'monta convert runs/2026-11-24-a/checkpoints like-mixtral --like Mixtral-8x7B-v0.1',
          'with its tokenizer and token ids',
        ],
        ['monta convert Mixtral-8x7B-v0.1 state --layout tp=2,dp=4,ep=4', 'a model to train on, sharded'],
        [
          'monta convert runs/2026-11-24-a/checkpoints/step-000300 wide --layout dp=8,ep=8',
          'another layout, nothing lost',
        ],
        ['monta convert model small --dtype f16 --shard-size 2GB', 'another type and file size'],
      ],
    ),
  },
});
