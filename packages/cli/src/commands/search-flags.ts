/** What a search of `monta plan` is bounded by, as flags. */
import {
  type Allowed,
  type AxisName,
  type Bounds,
  type ComputePrecision,
  computePrecisions,
  type FrameworkName,
  frameworkNames,
  limits,
  parseAllowed,
  type PipelineSchedule,
  pipelineSchedules,
  type Stack,
  stacks,
} from '@monta/core';
import { countFlag } from './flags.js';

export interface SearchFlags {
  readonly globalBatch?: number;
  readonly framework?: FrameworkName;
  readonly tp?: Allowed;
  readonly cp?: Allowed;
  readonly pp?: Allowed;
  readonly dp?: Allowed;
  readonly ep?: Allowed;
  readonly etp?: Allowed;
  readonly virtualStages?: Allowed;
  readonly microBatch?: Allowed;
  readonly schedule?: PipelineSchedule;
  readonly compute?: ComputePrecision;
  readonly stack?: Stack;
  readonly output?: string;
  readonly judge?: number;
  readonly exact: boolean;
}

const bound = (brief: string) =>
  ({ kind: 'parsed', parse: parseAllowed, placeholder: '4|1..8|2,4', brief, optional: true }) as const;

/** The flags, to be spread into a command's. */
export const searchFlags = {
  globalBatch: {
    ...countFlag(
      'count',
      'Searched: sequences of a step over all replicas (default: the devices, times what makes it 256 or more)',
      limits.sequences,
    ),
    optional: true,
  },
  framework: {
    kind: 'enum',
    values: frameworkNames,
    brief: 'Searched: keep to what it can run (default: whatever Monta can price)',
    optional: true,
  },
  tp: bound('Searched: tensor parallel sizes'),
  cp: bound('Searched: context parallel sizes'),
  pp: bound('Searched: pipeline stages'),
  dp: bound('Searched: replicas'),
  ep: bound('Searched: expert parallel sizes'),
  etp: bound('Searched: expert tensor parallel sizes'),
  virtualStages: bound('Virtual stages that each stage of the pipeline holds (interleaved schedule); 1 with a layout'),
  microBatch: bound('Searched: sequences of a micro-batch of one replica'),
  schedule: { kind: 'enum', values: pipelineSchedules, brief: "Searched: the pipeline's schedule", optional: true },
  compute: {
    kind: 'enum',
    values: computePrecisions,
    brief: 'Searched: type that matrix products run in (default: bf16)',
    optional: true,
  },
  stack: {
    kind: 'enum',
    values: stacks,
    brief: 'Searched: what launches kernels, from Python alone (eager) to CUDA graphs (default: fused)',
    optional: true,
  },
  output: {
    kind: 'parsed',
    parse: String,
    placeholder: 'plan.json',
    brief: 'Searched: write the plan',
    optional: true,
  },
  judge: {
    ...countFlag('count', 'Searched: simulate the steps of so many of the best plans, one rank of every kind', 64),
    optional: true,
  },
  exact: {
    kind: 'boolean',
    brief: 'Searched: simulate judged steps in one, not pass by pass (of 20 plans, where --judge says no number)',
    default: false,
  },
} as const;

const axes = [
  'tp',
  'cp',
  'pp',
  'dp',
  'ep',
  'etp',
  'virtualStages',
  'microBatch',
] as const satisfies readonly AxisName[];

/** The degrees that are fixed or bounded. */
export const boundsOf = (flags: SearchFlags): Bounds =>
  Object.fromEntries(axes.flatMap((axis) => (flags[axis] === undefined ? [] : [[axis, flags[axis]]])));
