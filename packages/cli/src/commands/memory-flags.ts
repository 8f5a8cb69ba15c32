/** What the memory of a device depends on beside model and layout, as flags. */
import type {
  Cluster,
  ExchangeLibrary,
  MegatronModule,
  MemoryFit,
  MemorySetting,
  MoeModel,
  PrecisionName,
  Recompute,
  RecomputeModule,
  SharingName,
  StepShape,
} from '@monta/core';
import { InputError, limits } from '@monta/core/units';
import { recomputeModules } from '@monta/core/schedule';
import {
  checkImbalance,
  checkWeightShards,
  exchangeLibraries,
  fitOf,
  megatronModules,
  precisions,
  sharingRules,
} from '@monta/core/memory';
import { countFlag } from './flags.js';

/** What is computed again, modules of Megatron-Core among it that Monta always computes again. */
export type RecomputeFlag = 'none' | 'selective' | 'full' | readonly MegatronModule[];

export interface MemoryFlags {
  readonly sharing: SharingName;
  readonly precision?: PrecisionName;
  readonly recompute: RecomputeFlag;
  readonly imbalance: number;
  readonly virtualStages: number;
  readonly exchange: ExchangeLibrary;
  readonly weightShards: number;
  readonly expertWeightShards: number;
  readonly pagedStash?: number;
}

export const sharingNames = Object.keys(sharingRules) as SharingName[];
const precisionNames = Object.keys(precisions) as PrecisionName[];

/** `none`, `selective`, `full`, or modules with commas between them. */
export function parseRecompute(text: string): RecomputeFlag {
  if (text === 'none' || text === 'selective' || text === 'full') return text;
  const modules = text.split(',').map((one) => one.trim());
  const known = modules.filter((one): one is MegatronModule => (megatronModules as readonly string[]).includes(one));
  if (known.length < modules.length)
    throw new InputError(`"${text}" is no recomputation`, {
      expected: `none, selective, full, or some of ${megatronModules.join(', ')}`,
    });
  return known;
}

/** A factor of at least 1 on what balanced routing has: `what` it is, and `meaning`. */
const factorParser =
  (what: string, meaning: string) =>
  (text: string): number => {
    const value = Number(text);
    if (!(value >= 1 && value <= limits.experts))
      throw new InputError(`"${text}" is no ${what}`, {
        expected: `a number from 1 to ${limits.experts}: ${meaning}`,
      });
    return value;
  };

/** The flags, to be spread into a command's. */
export const memoryFlags = {
  sharing: {
    kind: 'enum',
    values: sharingNames,
    brief: 'How ranks share parameters, gradients and optimizer states',
    default: 'distributed-optimizer',
  },
  precision: {
    kind: 'enum',
    values: precisionNames,
    brief: 'Bytes of weights, gradients and states (default: mixed with bf16, full with f32)',
    optional: true,
  },
  recompute: {
    kind: 'parsed',
    parse: parseRecompute,
    placeholder: 'none|selective|full|modules',
    brief: `What the backward computes again: ${megatronModules.join(', ')}`,
    default: 'none',
  },
  imbalance: {
    kind: 'parsed',
    parse: factorParser('imbalance', 'rows of the fullest rank over the mean'),
    placeholder: 'factor',
    brief: "Rows of the fullest rank's experts over the mean, for the memory that they need",
    default: '1',
  },
  virtualStages: {
    ...countFlag('count', 'Virtual stages that each stage of the pipeline holds (interleaved schedule)', limits.layers),
    default: '1',
  },
  exchange: {
    kind: 'enum',
    values: exchangeLibraries,
    brief: "What exchanges experts' rows, for the buffers that it keeps",
    default: 'nccl',
  },
  weightShards: {
    ...countFlag(
      'count',
      'Ranks that each dense weight is split over beside tp (weight shards of Megatron, GTP)',
      limits.ranks,
    ),
    default: '1',
  },
  expertWeightShards: {
    ...countFlag('count', "The same of experts' weights, beside etp", limits.ranks),
    default: '1',
  },
  pagedStash: {
    kind: 'parsed',
    parse: factorParser('paged stash', 'its pool over what balanced routing keeps'),
    placeholder: 'factor',
    brief:
      "Pool of Megatron's paged stash over what balanced routing keeps, as 1.1; --imbalance is the rank's capacity",
    optional: true,
  },
} as const;

const isMonta = (module: MegatronModule): module is RecomputeModule =>
  (recomputeModules as readonly string[]).includes(module);

/** Recomputation as programs know it; `moe_act` is said beside. */
export const recomputeOf = (flag: RecomputeFlag): Recompute => (typeof flag === 'string' ? flag : flag.filter(isMonta));

/** Complains about the flag that is wrong. */
function checkShards(
  { weightShards: dense, expertWeightShards: expert, sharing }: MemoryFlags,
  { layout, model }: StepShape,
): void {
  if (expert > 1 && model.experts === 0)
    throw new InputError(`${model.name} has no experts`, { file: '--expert-weight-shards', expected: '1' });
  const asked = { '--weight-shards': { dense, expert: 1 }, '--expert-weight-shards': { dense: 1, expert } };
  for (const [file, shards] of Object.entries(asked)) {
    try {
      checkWeightShards(shards, layout, sharing);
    } catch (error) {
      throw error instanceof InputError ? error.about(file) : error;
    }
  }
}

const withoutExperts = ({ name }: MoeModel, file: string): InputError =>
  new InputError(`${name} has no experts`, { file, expected: 'not this flag' });

/** Complains about `--imbalance` where the model's routing cannot have it. */
export function checkImbalanceOf({ imbalance }: Pick<MemoryFlags, 'imbalance'>, model: MoeModel): void {
  if (model.experts === 0 && imbalance !== 1) throw withoutExperts(model, '--imbalance');
  try {
    checkImbalance(imbalance, model);
  } catch (error) {
    throw error instanceof InputError ? error.about('--imbalance') : error;
  }
}

/** Throws `InputError` for flags about experts where the model has none: they would change nothing. */
function refuseOfExperts({ model, capacityFactor }: StepShape, { exchange, pagedStash }: MemoryFlags): void {
  if (model.experts > 0) return;
  const given = [
    ['--capacity-factor', capacityFactor !== undefined],
    ['--exchange', exchange !== 'nccl'],
    ['--paged-stash', pagedStash !== undefined],
  ] as const;
  for (const [file, isGiven] of given) if (isGiven) throw withoutExperts(model, file);
}

const flagsOfPipeline: Readonly<Record<string, string>> = {
  vp: '--virtual-stages',
  pp: '--virtual-stages',
  microBatches: '--micro-batches',
};

/** The fit of a setting; a complaint about virtual stages that its pipeline cannot have is about the flag. */
export function fitUnderFlags(setting: MemorySetting, cluster: Cluster): MemoryFit {
  try {
    return fitOf(setting, cluster);
  } catch (error) {
    const file = error instanceof InputError ? flagsOfPipeline[error.path ?? ''] : undefined;
    throw error instanceof InputError && file !== undefined ? error.about(file) : error;
  }
}

/** The memory of a step on GPUs, as Megatron-Core holds it. */
export function memorySetting(step: StepShape, flags: MemoryFlags): MemorySetting {
  const { sharing, recompute, imbalance, virtualStages, exchange } = flags;
  const weightShards = { dense: flags.weightShards, expert: flags.expertWeightShards };
  checkShards(flags, step);
  checkImbalanceOf(flags, step.model);
  refuseOfExperts(step, flags);
  if (step.passes === 'beside' && step.layout.pp > 1)
    throw new InputError(`a forward beside another micro-batch's backward with pp=${step.layout.pp}`, {
      file: '--overlap-passes',
      expected: 'pp=1: a pipeline orders its passes itself',
    });
  return {
    step: { ...step, recompute: recomputeOf(recompute), virtualStages },
    convention: 'megatron',
    sharing,
    precision: flags.precision ?? (step.dtype === 'f32' ? 'full' : 'mixed'),
    imbalance,
    exchange,
    weightShards,
    ...(flags.pagedStash === undefined ? {} : { pagedStash: flags.pagedStash }),
    activationAgain: typeof recompute !== 'string' && recompute.includes('moe_act'),
  };
}
