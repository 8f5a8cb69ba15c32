/** Flags and help of `monta bench`; what it does is in `bench-dispatch.ts`, loaded when it runs. */
import { buildCommand, buildRouteMap } from '@stricli/core';
import { InputError, limits, parseBytes } from '@monta/core/units';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import {
  calibrationFlag,
  countFlag,
  helpText,
  hostFlags,
  jsonFlag,
  lazy,
  seedFlag,
  sequenceFlag,
  sequencesFlag,
} from './flags.js';
import { overlapFlags } from '../config/overlap-config.js';
import { payloadFlags } from '../config/payload-config.js';
import { routingFlag } from './routing-flag.js';
import type { BenchDispatchFlags, BenchLayerFlags, BenchCollectivesFlags } from './bench.flags.js';

/** `auto`, `off`, or by what factor all times are stretched. */
export function parseEmulate(text: string): 'auto' | 'off' | number {
  if (text === 'auto' || text === 'off') return text;
  const factor = Number(text);
  if (text.trim() !== '' && factor >= limits.leastFactor && factor <= limits.timeScale) return factor;
  throw new InputError(`"${text}" is no way to emulate`, {
    expected:
      'auto, off (memory speed), or the factor by which all times are stretched, like 20: ' +
      `${limits.leastFactor} to ${limits.timeScale}`,
  });
}

/** `1,2,4`. */
export function parseChunks(text: string): number[] {
  const counts = text.split(',').map((part) => (/^[1-9]\d{0,2}$/u.test(part.trim()) ? Number(part) : NaN));
  if (counts.some(Number.isNaN)) {
    throw new InputError(`"${text}" are no chunk counts`, { expected: 'whole numbers from 1 to 999, like 1,2,4,8' });
  }
  return [...new Set(counts)].sort((a, b) => a - b);
}

const size = (brief: string, max: number) => ({ ...countFlag('count', brief, max), optional: true }) as const;

const dispatchCommand = buildCommand<BenchDispatchFlags, [], MontaContext>({
  loader: lazy(async () => (await import('./bench-dispatch.js')).runBenchDispatch),
  parameters: {
    flags: {
      cluster: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name|file',
        brief: 'The cluster whose network is emulated; over NCCL the cards of this host are taken',
        optional: true,
      },
      backend: {
        kind: 'enum',
        values: ['local', 'nccl'],
        brief: 'Threads over an emulated network, or processes with a card each (default: local)',
        optional: true,
      },
      ranksPerNode: hostFlags.ranksPerNode,
      layout: { kind: 'parsed', parse: String, placeholder: 'tp=8,dp=2,ep=2', brief: 'Parallel degrees' },
      model: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name|config.json',
        brief: 'Whose MoE layer; or give the shape with the four flags after it',
        optional: true,
      },
      tokens: size('Tokens of a replica, instead of --model', limits.tokens),
      hidden: size('Hidden size, instead of --model', limits.width),
      experts: size('Experts, instead of --model', limits.experts),
      topk: size('Experts of a token, instead of --model', limits.experts),
      sequence: sequenceFlag('Tokens of a sequence of the model (default: 4,096, or what it allows)'),
      sequences: sequencesFlag,
      routing: routingFlag('How tokens spread over experts; drawn token by token'),
      ...payloadFlags,
      ...overlapFlags,
      chunks: { kind: 'parsed', parse: parseChunks, placeholder: '1,2,4,8', brief: 'Chunk counts', default: '1,2,4,8' },
      only: {
        kind: 'parsed',
        parse: (text: string) => text.split(','),
        placeholder: 'sliced,scattered',
        brief: 'Strategies to measure besides duplicated (default: all pairs of halves)',
        optional: true,
      },
      emulate: {
        kind: 'parsed',
        parse: parseEmulate,
        placeholder: 'auto|off|factor',
        brief: 'Emulate the network, times stretched by a factor; off: bytes at memory speed',
        default: 'auto',
      },
      rounds: { ...countFlag('count', 'Times that every case is measured, in turns', limits.rounds), default: '3' },
      seconds: {
        ...countFlag('seconds', 'Emulated time that all rounds may take together; longer is less noisy', limits.rounds),
        default: '120',
      },
      seed: seedFlag('Of the routing'),
      calibration: calibrationFlag,
      json: jsonFlag,
    },
  },
  docs: {
    brief: 'Measure every way to dispatch on real ranks, beside prediction and line-rate bound',
    fullDescription: helpText(
      'Runs dispatch and combine of one MoE layer, forward and backward, in every strategy and chunk count, on ' +
        'real ranks: threads of\n' +
        'this machine, each with a memory of its own, whose bytes pass an emulated network in real time. Volume ' +
        'and bandwidths are cut\n' +
        'by the same factor and all times stretched by another, so that every ratio is that of the full size and ' +
        'this machine can carry\n' +
        'the bytes. Every result is checked against its closed form. Predictions come from the simulator and from ' +
        'probes of this\n' +
        'machine, never from the measured cases. Over NCCL the cards of this host run the layer at full size in ' +
        'bf16, after a\n' +
        'calibration of their links.',
      [
        [
          'monta bench dispatch --model 2x70b --cluster a800-2x8-1nic --layout tp=8,dp=2,ep=2 --sequence 8192',
          'the case of the paper',
        ],
        ['monta bench dispatch --model mixtral-8x7b --cluster laptop-2x4 --layout tp=4,dp=2,ep=2', 'a small cluster'],
        [
          'monta bench dispatch --tokens 4096 --hidden 4096 --experts 16 --topk 2 --cluster a800-1x8 --layout ' +
            'tp=4,dp=2,ep=2',
          'a shape',
        ],
        ['monta bench dispatch --model 2x70b --cluster a800-2x8 --layout tp=8,dp=2,ep=2 --json', 'for scripts'],
        [
          'monta bench dispatch --model 2x70b --backend nccl --ranks-per-node 2 --layout tp=2,dp=2,ep=2',
          'the cards of this host, as two nodes',
        ],
      ],
    ),
  },
});

const layerCommand = buildCommand<BenchLayerFlags, [], MontaContext>({
  loader: lazy(async () => (await import('./bench-layer.js')).runBenchLayer),
  parameters: {
    flags: {
      device: { kind: 'enum', values: ['cuda'], brief: 'What computes: a GPU of this host' },
      only: {
        kind: 'parsed',
        parse: String,
        variadic: ',',
        placeholder: 'M,Q,D,X',
        brief: 'Which of the four shapes (default: all)',
        optional: true,
      },
      model: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name|config.json',
        brief: "A model's layer, all experts on one GPU, instead of the four shapes",
        optional: true,
      },
      tokens: { ...countFlag('count', 'Tokens of the layer', limits.tokens), default: '8192' },
      peers: {
        kind: 'boolean',
        brief: 'Also PyTorch and transformers, as far as python3 has them, on the same GPU in turns',
        default: false,
      },
      json: jsonFlag,
    },
  },
  docs: {
    brief: 'Time one layer of experts on a GPU, forward and backward, beside others',
    fullDescription: helpText(
      'Runs router to combined output and back in bf16, again and again for half a second a run, five runs of each ' +
        'in turns, and prints\n' +
        'medians. M is the layer of Mixtral 8x7B, Q of Qwen3-30B-A3B, D 32 experts of DeepSeek-V3, X of a 2x70B ' +
        'model over TP = 8.',
      [
        ['monta bench layer --device cuda --peers', 'the four shapes, beside PyTorch'],
        ['monta bench layer --device cuda --model olmoe-1b-7b --json', 'a model, for scripts'],
      ],
    ),
  },
});

const bytesFlag = (brief: string, value: string) =>
  ({ kind: 'parsed', parse: parseBytes, placeholder: '1 KiB', brief, default: value }) as const;

const collectivesCommand = buildCommand<BenchCollectivesFlags, [], MontaContext>({
  loader: lazy(async () => (await import('./bench-collectives.js')).runBenchCollectives),
  parameters: {
    flags: {
      layout: { kind: 'parsed', parse: String, placeholder: 'tp=2,dp=2,ep=2', brief: 'Parallel degrees' },
      backend: {
        kind: 'enum',
        values: ['local', 'mpi', 'nccl'],
        brief: 'Threads at memory speed, processes over Open MPI, or processes with a card each',
        default: 'local',
      },
      ranksPerNode: hostFlags.ranksPerNode,
      least: bytesFlag('Smallest buffer, as nccl-tests counts it', '1 KiB'),
      most: bytesFlag('Largest buffer', '16 MiB'),
      factor: { ...countFlag('n', 'Each size is n times the one before', limits.rounds, 2), default: '4' },
      rounds: { ...countFlag('count', 'Times that each is measured; the median counts', limits.rounds), default: '11' },
      seconds: { ...countFlag('seconds', 'No new table is begun after so many', limits.rounds), default: '300' },
      json: jsonFlag,
    },
  },
  docs: {
    brief: "Time every collective over every group of a layout, as nccl-tests' tables",
    fullDescription: helpText(
      'Runs all_to_all, all_gather, reduce_scatter, all_reduce and broadcast over every kind of group that a layout ' +
        'has, on the lane of\n' +
        'its collectives, all groups of a kind at once, as the ranks of a layout do. Every result is checked first. ' +
        'Times are from the\n' +
        "last rank's start to the last rank's end. The output is that of nccl-tests: monta calibrate reads it.",
      [
        ['monta bench collectives --layout tp=2,dp=2,ep=2', 'threads of this machine'],
        [
          "monta bench collectives --backend nccl --ranks-per-node 2 --layout tp=2,dp=2,ep=2 --most '256 MiB' >log",
          'the cards of this host, as two nodes',
        ],
        ['monta calibrate log --output calibration.json', 'curves of what was measured'],
      ],
    ),
  },
});

export const benchCommand = buildRouteMap({
  routes: { dispatch: dispatchCommand, collectives: collectivesCommand, layer: layerCommand },
  docs: {
    brief: briefs.bench,
    fullDescription: helpText('Measures on the running backend; the network is emulated unless told otherwise.', [
      [
        'monta bench dispatch --model 2x70b --cluster a800-2x8 --layout tp=8,dp=2,ep=2',
        'every strategy and chunk count',
      ],
      ['monta bench collectives --backend nccl --layout tp=2,dp=2,ep=2', 'every collective over every group'],
      ['monta bench layer --device cuda --peers', 'a layer of experts on a GPU'],
    ]),
  },
});
