/** Flags and help of `monta doctor`; what it does is in `doctor.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { parseSeconds } from '@monta/core/units';
import { helpText, jsonFlag, lazy, amountFlag, scriptVariablesFlag } from './flags.js';
import { ranFlags } from './ran-flags.js';
import type { DoctorFlags } from './doctor.flags.js';

export const doctorCommand = buildCommand<DoctorFlags, string[], MontaContext>({
  loader: lazy(async () => (await import('./doctor.js')).runDoctor),
  parameters: {
    flags: {
      cluster: { kind: 'parsed', parse: String, placeholder: 'name|file', brief: 'Where it ran' },
      ...ranFlags,
      stepTime: {
        kind: 'parsed',
        parse: parseSeconds,
        placeholder: 'time',
        brief: 'What a step takes, like 12.4s: where the gap to the prediction may lie',
        optional: true,
      },
      tokensPerSecond: amountFlag('tokens', 'Measured tokens a second and GPU, in place of the time of a step'),
      tflops: amountFlag('TFLOP/s', "Measured model TFLOP/s a GPU, in Megatron-LM's convention"),
      env: scriptVariablesFlag,
      json: jsonFlag,
    },
    positional: {
      kind: 'array',
      parameter: {
        parse: String,
        placeholder: 'log',
        brief:
          "Output of the run: PyTorch's out-of-memory message, steps, nccl-tests, NCCL_DEBUG=INFO, the wiring of " +
          'a node',
      },
    },
  },
  docs: {
    brief: briefs.doctor,
    fullDescription: helpText(
      "Out of memory: reads PyTorch's message and the flags of the run, names the tensor that did not fit, the " +
        'stage\nand the cause (too large, pieces, another process, buffers beside PyTorch, skewed experts), and what ' +
        "changes\ncost least. A slow all_to_all: reads nccl-tests and NCCL's log, prints for every tier what to " +
        'expect and what\nwas reached, and the likely causes, worst first. A slow step: takes its time, tokens/s or ' +
        'TFLOP/s, or a log\nthat prints them, and says what could explain the gap to the prediction, largest first.',
      [
        ['monta doctor oom.log --script train.sh --cluster h100-8x8', 'memory was full'],
        ['monta doctor --script train.sh --cluster h100-8x8 --tokens-per-second 4200', 'a step is slow'],
        ['monta doctor train.log --script train.sh --cluster h100-8x8', 'the same, by its log'],
        ['monta doctor alltoall.log --cluster h100-2x8', 'an all_to_all is slow'],
        [
          'monta doctor alltoall.log nccl-debug.log topo.txt --cluster h100-2x8',
          "with NCCL's log and nvidia-smi topo -m",
        ],
      ],
    ),
  },
});
