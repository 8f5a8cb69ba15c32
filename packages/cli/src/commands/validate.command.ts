/** Flags and help of `monta validate`; what it does is in `validate.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { readingFlags } from './calibrate.command.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import type { ValidateFlags } from './validate.flags.js';

export const validateCommand = buildCommand<ValidateFlags, string[], MontaContext>({
  loader: lazy(async () => (await import('./validate.js')).runValidate),
  parameters: {
    flags: {
      calibration: {
        kind: 'parsed',
        parse: String,
        optional: true,
        placeholder: 'file',
        brief: 'What predicts collectives; tables of training runs need none',
      },
      ...readingFlags,
      json: jsonFlag,
    },
    positional: {
      kind: 'array',
      parameter: {
        parse: String,
        placeholder: 'file',
        brief: 'Measured collectives: output of nccl-tests, CSV, or measured traces; or a CSV table of training runs',
      },
    },
  },
  docs: {
    brief: briefs.validate,
    fullDescription: helpText(
      'Prints measured against predicted times with errors, by kind of prediction and by series, and beside them ' +
        'the naive\n' +
        'predictor (straight lines in log-log between points, bus bandwidth carried over elsewhere). Errors are ' +
        'relative to the\n' +
        'measured time. The calibration should not have seen what is compared.\n\n' +
        'A table of training runs (columns model, gpu, gpus, precision, seq_len, gbs, mbs, tp, pp, vp, cp, ep, etp\n' +
        'and step_time_s or tokens_per_s_per_gpu) is compared with the estimate of a step; rows that say too little\n' +
        'are named with the reason.',
      [
        ['monta validate new.csv --calibration cluster.json', 'how good are the predictions'],
        [
          'monta validate alltoall.log --calibration cluster.json --json',
          'for scripts: medianAbsoluteError, p90AbsoluteError',
        ],
        ['monta validate runs.csv --json', 'steps of published runs: rows, unpriced, errors, spearman, pairs'],
      ],
    ),
  },
});
