/** What a search of `monta plan` is bounded by, as flags. */
import type {
  Allowed,
  AxisName,
  Bounds,
  ComputePrecision,
  DispatchKind,
  FrameworkName,
  PipelineSchedule,
  RankOrder,
  Stack,
} from '@monta/core';
import { InputError, limits } from '@monta/core/units';
import { computePrecisions, dispatchKinds, pipelineSchedules, rankOrders, stacks } from '@monta/core/estimate';
import { frameworkNames, parseAllowed } from '@monta/core/plan/space';
import { countFlag } from './flags.js';

export interface SearchFlags {
  readonly devices?: number;
  readonly globalBatch?: number;
  readonly framework?: FrameworkName;
  readonly tp?: Allowed;
  readonly cp?: Allowed;
  readonly pp?: Allowed;
  readonly dp?: Allowed;
  readonly ep?: Allowed;
  readonly etp?: Allowed;
  readonly virtualStages?: Allowed;
  readonly firstStageLayers?: Allowed;
  readonly lastStageLayers?: Allowed;
  readonly microBatch?: Allowed;
  readonly schedule?: readonly PipelineSchedule[];
  readonly dispatcher?: DispatchKind;
  readonly rankOrder?: RankOrder;
  readonly hostStates?: boolean;
  readonly compute?: readonly ComputePrecision[];
  readonly stack?: Stack;
  readonly output?: string;
  readonly judge?: number;
  readonly exact: boolean;
}

const bound = (brief: string) =>
  ({ kind: 'parsed', parse: parseAllowed, placeholder: '4|1..8|2,4', brief, optional: true }) as const;

const ends = (brief: string) =>
  ({
    kind: 'parsed',
    parse: (text: string) => parseAllowed(text, 0),
    placeholder: '4|0..4|2,4',
    brief,
    optional: true,
  }) as const;

/** One of some names, or several after commas. */
const among = <T extends string>(values: readonly T[], brief: string) =>
  ({
    kind: 'parsed',
    parse: (text: string): readonly T[] => text.split(',').map((name) => oneOf(values, name)),
    placeholder: values.join('|'),
    brief,
    optional: true,
  }) as const;

function oneOf<T extends string>(values: readonly T[], name: string): T {
  const found = values.find((value) => value === name);
  if (found === undefined)
    throw new InputError(`"${name}" is none of them`, { expected: `some of ${values.join(', ')}, after commas` });
  return found;
}

/** The flags, to be spread into a command's. */
export const searchFlags = {
  devices: {
    ...countFlag('count', 'Searched: leave the other devices of the cluster idle (default: none are)', limits.ranks),
    optional: true,
  },
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
  firstStageLayers: ends('Searched: layers of the first virtual stage, which holds the embedding'),
  lastStageLayers: ends('Searched: layers of the last virtual stage, which holds output and multi-token prediction'),
  microBatch: bound('Searched: sequences of a micro-batch of one replica'),
  schedule: among(pipelineSchedules, "Searched: the pipeline's schedules"),
  dispatcher: {
    kind: 'enum',
    values: dispatchKinds,
    brief: "Searched: how experts' rows travel",
    optional: true,
  },
  rankOrder: {
    kind: 'enum',
    values: rankOrders,
    brief: 'Searched: replicas inside stages (dp-pp), or stages inside replicas (pp-dp)',
    optional: true,
  },
  hostStates: {
    kind: 'boolean',
    brief: "Searched: the optimizer's states in the host's memory, or not",
    optional: true,
  },
  compute: among(computePrecisions, 'Searched: types that matrix products may run in (default: bf16)'),
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
  'firstStageLayers',
  'lastStageLayers',
  'microBatch',
] as const satisfies readonly AxisName[];

/** The degrees that are fixed or bounded. */
export const boundsOf = (flags: SearchFlags): Bounds =>
  Object.fromEntries(axes.flatMap((axis) => (flags[axis] === undefined ? [] : [[axis, flags[axis]]])));
