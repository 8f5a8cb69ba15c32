/** Flags and help of `monta verify`; what it does is in `verify.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import { limits } from '@monta/core/units';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { payloadFlags } from '../config/payload-config.js';
import { countFlag, deviceFlag, dtypeFlag, helpText, jsonFlag, lazy } from './flags.js';
import type { VerifyFlags } from './verify.flags.js';

export const verifyCommand = buildCommand<VerifyFlags, [folder: string], MontaContext>({
  loader: lazy(async () => (await import('./verify.js')).runVerify),
  parameters: {
    flags: {
      layout: {
        kind: 'parsed',
        parse: String,
        placeholder: 'tp=2,ep=2,dp=2',
        brief: 'Parallel degrees; sp for sequence parallelism',
        default: 'tp=1',
      },
      dispatcher: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name',
        brief: 'One dispatcher, as scattered or sliced+duplicated (default: all that the layout allows)',
        optional: true,
      },
      chunks: {
        kind: 'parsed',
        parse: String,
        placeholder: 'forward/backward',
        brief: 'Chunk counts, as 3 or 3/2 (default: 1)',
        optional: true,
      },
      backend: {
        kind: 'enum',
        values: ['local', 'mpi', 'nccl'],
        brief:
          'Ranks as threads of this process, as processes over Open MPI, or as processes on CUDA devices over NCCL',
        default: 'local',
      },
      ranksPerNode: {
        ...countFlag('n', 'Nodes of n ranks, which this machine stands for (default: one node of all)', limits.ranks),
        optional: true,
      },
      device: deviceFlag,
      dtype: dtypeFlag,
      ...payloadFlags,
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        { parse: String, placeholder: 'folder', brief: 'A Hugging Face checkpoint with expected.safetensors' },
      ],
    },
  },
  docs: {
    brief: briefs.verify,
    fullDescription: helpText(
      'Loads a checkpoint with its expected logits, losses, router logits, gradients and AdamW trajectory ' +
        '(docs/verify.md says how they\n' +
        'are made), computes everything again over the ranks of a layout, and prints the largest error of each ' +
        'quantity beside its\n' +
        'tolerance. Exit code 1 when one is past it.',
      [
        ['monta verify fixtures/hf/tiny-mixtral', 'one rank, every dispatcher'],
        ['monta verify fixtures/hf/tiny-olmoe --layout tp=2,ep=2,dp=2,sp', 'eight ranks, sequence parallelism'],
        [
          'monta verify fixtures/hf/tiny-qwen3-moe --layout tp=4,dp=2,ep=2 --dispatcher scattered --chunks 3/2',
          'one strategy',
        ],
        [
          'monta verify fixtures/hf/tiny-mixtral --layout tp=2,dp=2,ep=2 --ranks-per-node 2',
          'on two nodes: dispatchers with a hop between nodes and one inside',
        ],
        ['monta verify fixtures/hf/tiny-mixtral --layout tp=2,dp=2,ep=2 --backend mpi', 'four processes over Open MPI'],
        ['monta verify fixtures/hf/tiny-mixtral --device cuda --dtype bf16', "on this machine's first GPU"],
      ],
    ),
  },
});
