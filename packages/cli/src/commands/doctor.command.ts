/** Flags and help of `monta doctor`; what it does is in `doctor.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { helpText, jsonFlag, lazy, scriptVariablesFlag } from './flags.js';

export interface DoctorFlags {
  readonly json: boolean;
  readonly cluster: string;
  readonly script?: readonly string[];
  readonly model?: string;
  readonly env?: readonly string[];
}

export const doctorCommand = buildCommand<DoctorFlags, string[], MontaContext>({
  loader: lazy(async () => (await import('./doctor.js')).runDoctor),
  parameters: {
    flags: {
      cluster: { kind: 'parsed', parse: String, placeholder: 'name|file', brief: 'Where it ran' },
      script: {
        kind: 'parsed',
        parse: String,
        placeholder: 'train.sh',
        brief: 'Launch script or flags of the run (Megatron-LM); again for files that it sources',
        optional: true,
        variadic: true,
      },
      model: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name|config.json',
        brief: 'What was trained (default: what the flags describe)',
        optional: true,
      },
      env: scriptVariablesFlag,
      json: jsonFlag,
    },
    positional: {
      kind: 'array',
      minimum: 1,
      parameter: {
        parse: String,
        placeholder: 'log',
        brief: "Output of the run: PyTorch's out-of-memory message, nccl-tests, NCCL_DEBUG=INFO",
      },
    },
  },
  docs: {
    brief: 'What went wrong: full memory, or an all_to_all that is slow',
    fullDescription: helpText(
      "Out of memory: reads PyTorch's message and the flags of the run, names the tensor that did not fit, the " +
        'stage\nand the cause (too large, pieces, another process, buffers beside PyTorch, skewed experts), and what ' +
        "changes\ncost least. A slow all_to_all: reads nccl-tests and NCCL's log, prints for every tier what to " +
        'expect and what\nwas reached, and the likely causes, worst first.',
      [
        ['monta doctor oom.log --script train.sh --cluster h100-8x8', 'memory was full'],
        ['monta doctor alltoall.log --cluster h100-2x8', 'an all_to_all is slow'],
        ['monta doctor alltoall.log nccl-debug.log --cluster h100-2x8', "with NCCL's own log beside it"],
      ],
    ),
  },
});
