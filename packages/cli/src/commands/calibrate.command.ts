/**
 * Flags and help of `monta calibrate`; what it does is in `calibrate.ts` and `calibrate-probe.ts`, loaded when it runs.
 */
import { buildCommand } from '@stricli/core';
import type { MeasuredOp } from '@monta/core';
import { didYouMean, InputError, limits } from '@monta/core/units';
import { measuredOps } from '@monta/core/cost';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { countFlag, helpText, hostFlags, jsonFlag, lazy } from './flags.js';
import type { CalibrateFlags } from './calibrate.flags.js';

/** `all_to_all`. */
function parseMeasuredOp(text: string): MeasuredOp {
  const op = measuredOps.find((one) => one === text);
  if (op !== undefined) return op;
  throw new InputError(`"${text}" is not a collective`, {
    expected: `one of ${measuredOps.join(', ')}`,
    hint: didYouMean(text, measuredOps),
  });
}

/** `100`, `1/100` or `auto`: how many times slower than the cluster an emulated network runs. */
function parseTimeScale(text: string): number | 'auto' {
  if (text === 'auto') return text;
  const value = Number(text.replace(/^1\//u, ''));
  if (text.trim() !== '' && value >= limits.leastFactor && value <= limits.timeScale) return value;
  throw new InputError(`"${text}" is not a time scale`, {
    expected: `auto, or a factor like 1000 or 1/1000: ${limits.leastFactor} to ${limits.timeScale}`,
  });
}

const text = (placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse: String, placeholder, brief, optional: true }) as const;

/** How files are read; shared with `monta validate`. */
export const readingFlags = {
  system: text('name', 'Name of the cluster or fabric that was measured, to keep clusters of the same GPU apart'),
  systemByFile: {
    kind: 'boolean',
    brief: 'Each file is of a cluster of its own, named like the file',
    default: false,
    withNegated: false,
  },
  gpu: text('name', 'The device, for logs that do not say'),
  ranks: { ...countFlag('count', 'Ranks, for logs that do not say', limits.ranks), optional: true },
  nodes: { ...countFlag('count', 'Nodes, for logs that do not say', limits.ranks), optional: true },
  acceptWrong: {
    kind: 'boolean',
    brief: 'Take tables whose results were wrong (#wrong, FAILED), too',
    default: false,
    withNegated: false,
  },
  op: {
    kind: 'parsed',
    parse: parseMeasuredOp,
    placeholder: 'name',
    brief: 'The collective, for logs that do not say',
    optional: true,
  },
} as const;

export const calibrateCommand = buildCommand<CalibrateFlags, string[], MontaContext>({
  loader: lazy(async () => (await import('./calibrate.js')).runCalibrate),
  parameters: {
    flags: {
      output: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file',
        brief: 'Where the calibration goes',
        default: 'calibration.json',
      },
      merge: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file',
        brief: 'A calibration to add to; may be given several times',
        variadic: true,
        optional: true,
      },
      plot: text('out.svg', 'Draw the fit; several sets of ranks give several files'),
      ...readingFlags,
      cluster: text('name|file', 'The cluster: for traces (who shares a node) and for --probe (which links there are)'),
      probe: { kind: 'boolean', brief: 'Measure the backend of this machine', default: false, withNegated: false },
      emulate: {
        kind: 'parsed',
        parse: parseTimeScale,
        placeholder: 'factor|auto',
        brief: 'With --probe: on the emulated network of --cluster, so many times slower than it',
        optional: true,
      },
      ...hostFlags,
      json: jsonFlag,
    },
    aliases: { o: 'output' },
    positional: {
      kind: 'array',
      parameter: {
        parse: String,
        placeholder: 'file',
        brief: 'Output of nccl-tests, CSV, or traces',
      },
    },
  },
  docs: {
    brief: briefs.calibrate,
    fullDescription: helpText(
      'Reads nccl-tests output (any version, text, CSV or JSON), CSV with columns op, ranks, nodes, gpu, ' +
        'size_bytes, time_us,\n' +
        "measured traces of monta, traces of PyTorch's profiler of all ranks of a job, and records of the NCCL " +
        'Inspector; fits\n' +
        'latency and a monotone time curve per collective and set of ranks, and writes a calibration\n' +
        'that plan, simulate, bench, train and validate take. Sizes are total buffers, as nccl-tests counts. ' +
        'Measurements that\n' +
        'cannot be true together are refused, naming the rows. With --probe it measures the backend itself.',
      [
        ['monta calibrate all_gather.log alltoall.log -o cluster.json --plot fit.svg', 'from logs of one cluster'],
        ['monta calibrate a3mega.log roce.log --system-by-file', 'from logs of two clusters'],
        ['monta calibrate new.log --merge cluster.json -o cluster.json', 'more of the same cluster'],
        [
          'monta calibrate --probe --cluster laptop-2x4 --emulate auto -o emulated.json',
          'the emulated network of a cluster',
        ],
        ['monta calibrate --probe -o here.json', 'the memory backend of this machine'],
        ['monta calibrate --probe --backend mpi --hosts a:8,b:8 --bind 10.0.0.1 -o hosts.json', 'two hosts over MPI'],
      ],
    ),
  },
});
