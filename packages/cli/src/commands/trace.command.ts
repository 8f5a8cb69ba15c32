/** Flags and help of `monta trace`; what it does is in `trace.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { limits } from '@monta/core/units';
import { countFlag, helpText, jsonFlag, lazy, scriptVariablesFlag } from './flags.js';
import { ranFlags } from './ran-flags.js';
import type { TraceFlags } from './trace.flags.js';

export const traceCommand = buildCommand<TraceFlags, string[], MontaContext>({
  loader: lazy(async () => (await import('./trace.js')).runTrace),
  parameters: {
    flags: {
      json: jsonFlag,
      cluster: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name|file',
        brief: 'Where it ran: which ranks share a node, and the names of the tiers',
        optional: true,
      },
      ...ranFlags,
      env: scriptVariablesFlag,
      steps: {
        ...countFlag('count', 'Steps in the traces (default: those that are marked, else 1)', limits.sequences),
        optional: true,
      },
      perfetto: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file.json',
        brief: 'Write recorded and predicted step, rank by rank, for ui.perfetto.dev',
        optional: true,
      },
      html: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file.html',
        brief: 'Write both as one page, on one axis of time',
        optional: true,
      },
    },
    positional: {
      kind: 'array',
      minimum: 1,
      parameter: {
        parse: String,
        placeholder: 'trace',
        brief: 'Traces, one a rank, or folders of them',
      },
    },
  },
  docs: {
    brief: briefs.trace,
    fullDescription: helpText(
      "Reads what profilers of other programs wrote: PyTorch's (Kineto JSON, .json or .json.gz), the SQLite export " +
        'of Nsight Systems,\n' +
        'and the JSON lines of the NCCL Inspector. Prints collectives by kind, group and tier, with bytes, ' +
        'bandwidth, and the time beside\n' +
        'which nothing computed. With the traces of all ranks, waiting for the last one is told from transferring, ' +
        'whatever their clocks.\n' +
        'What a trace does not say is said. With the plan or the script of what ran, the same step is predicted and ' +
        'laid beside it,\n' +
        'part by part, and what would be faster is named.',
      [
        ['monta trace rank0.json.gz', 'one rank'],
        ['monta trace traces/ --cluster h100-2x8', 'all ranks in a folder'],
        ['monta trace traces/ --script train.sh --cluster h100-2x8', 'beside the step that is predicted'],
        ['monta trace traces/ --plan plan.json --perfetto both.json', 'both, for ui.perfetto.dev'],
        ['monta trace report.sqlite', 'nsys export --type sqlite report.nsys-rep'],
        ['monta trace nccl-inspector-*.log --json', 'records of the NCCL Inspector, as JSON'],
      ],
    ),
  },
});
