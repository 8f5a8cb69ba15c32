/** The memory setting that a Megatron run amounts to. */
import { checkModelLayout } from '../../layout/index.js';
import type { ExchangeLibrary, MemorySetting, PrecisionName, SharingName } from '../../memory/index.js';
import type { MoeModel } from '../../model/model.js';
import { recomputeModules, type Recompute, type RecomputeModule } from '../../schedule/recompute.js';
import { inChunks, namedStrategies } from '../../schedule/dispatchers/strategies.js';
import { InputError } from '../../units/errors.js';
import { limits } from '../../units/limits.js';
import { plannedBy } from './planned-run.js';
import { countSign } from './read-stage-layout.js';
import type { MegatronRun } from './run.js';

const shardings: Readonly<Record<string, SharingName>> = {
  no_shard: 'none',
  optim: 'zero1',
  optim_grads: 'zero2',
  optim_grads_params: 'zero3',
};

function sharingOf(run: MegatronRun): SharingName {
  if (run.on('use_torch_fsdp2')) return 'fsdp';
  if (run.fullyShardedMegatron) return shardings[run.text('data_parallel_sharding_strategy') ?? ''] ?? 'zero3';
  return run.on('use_distributed_optimizer') ? 'distributed-optimizer' : 'none';
}

function precisionOf(run: MegatronRun): PrecisionName {
  if (!run.on('bf16') && !run.on('fp16')) return 'full';
  const half = ['exp_avg_dtype', 'exp_avg_sq_dtype'].every((field) => /^(bf|fp)16$/u.test(run.text(field) ?? ''));
  return half ? 'bf16-moments' : 'mixed';
}

function exchangeOf(run: MegatronRun): ExchangeLibrary {
  const backend = run.text('moe_flex_dispatcher_backend');
  return run.text('moe_token_dispatcher_type') === 'flex' && (backend === 'deepep' || backend === 'hybridep')
    ? backend
    : 'nccl';
}

interface Again {
  readonly recompute: Recompute;
  readonly activation: boolean;
  /** Modules that Monta does not take apart. */
  readonly unknown: readonly string[];
}

const isKnown = (module: string): module is RecomputeModule => (recomputeModules as readonly string[]).includes(module);

function recomputeOf(run: MegatronRun): Again {
  const granularity = run.text('recompute_granularity');
  if (granularity === 'full') return { recompute: 'full', activation: false, unknown: [] };
  if (granularity !== 'selective' && !run.on('recompute_activations'))
    return { recompute: 'none', activation: false, unknown: [] };
  // Megatron's own default of `--recompute-modules`.
  const modules = run.given('recompute_modules') ? run.list('recompute_modules') : ['core_attn'];
  return {
    recompute: modules.filter(isKnown),
    activation: modules.includes('moe_act'),
    unknown: modules.filter((one) => !isKnown(one) && one !== 'moe_act'),
  };
}

function virtualStagesOf(run: MegatronRun, layers: number): number {
  const stagesOfLayout = run.layoutStages?.length;
  if (stagesOfLayout !== undefined && run.pipeline !== undefined) return Math.max(1, stagesOfLayout / run.pipeline);
  const stages = run.number('num_virtual_stages_per_pipeline_rank');
  const each = run.number('num_layers_per_virtual_pipeline_stage');
  if (each !== undefined && run.pipeline !== undefined) return Math.max(1, Math.round(layers / run.pipeline / each));
  return stages ?? 1;
}

/** Layers of each stage where a layout string says them; undefined where it is not of these layers and ranks. */
function layersOfStagesOf(run: MegatronRun, layers: number): readonly number[] | undefined {
  const stages = run.layoutStages;
  if (stages === undefined || stages.length % (run.pipeline ?? 1) !== 0) return undefined;
  return countSign(stages, 't') === layers ? stages.map((stage) => countSign([stage], 't')) : undefined;
}

export interface RunMemory {
  readonly setting: MemorySetting;
  /** What of the flags the figures do not follow, in words. */
  readonly leftOut: readonly string[];
}

function checkTokens(sequences: number, sequence: number): void {
  const tokens = sequences * sequence;
  if (!(sequences >= 1 && sequence >= 1 && tokens <= limits.tokens))
    throw new InputError(`--micro-batch-size ${sequences} of --seq-length ${sequence} are ${tokens} tokens`, {
      expected: `1 to ${limits.tokens} tokens of a micro-batch`,
    });
}

/** Rows over the mean where every expert's input is padded to its capacity; undefined where none is. */
function paddedTo(
  run: MegatronRun,
  { experts, topK }: MoeModel,
  capacityFactor: number | undefined,
): number | undefined {
  if (capacityFactor === undefined || experts === 0 || !run.on('moe_pad_expert_input_to_capacity')) return undefined;
  return Math.max(1, Math.min(capacityFactor, experts / topK));
}

/**
 * Undefined where degrees, ranks, batch or sequence are not known. Throws `InputError` for a model that the degrees do
 * not divide, and for more tokens than any run has.
 */
export function memoryOfRun(run: MegatronRun, model: MoeModel, imbalance = 1): RunMemory | undefined {
  const planned = plannedBy(run);
  if (planned?.sequence === undefined || planned.sequences === undefined) return undefined;
  const { layout, sequence, sequences, dispatcher } = planned;
  checkTokens(sequences, sequence);
  checkModelLayout(model, layout);
  const { recompute, activation, unknown } = recomputeOf(run);
  const [precision, capacityFactor] = [precisionOf(run), run.number('moe_expert_capacity_factor')];
  const layersOfStages = layersOfStagesOf(run, model.layers);
  const strategy = inChunks(namedStrategies[dispatcher === 'allgather' ? 'gathered' : 'scattered'], 1);
  return {
    setting: {
      step: {
        model,
        layout,
        sequence,
        sequences,
        microBatches: planned.microBatches ?? layout.pp,
        dtype: precision === 'full' ? 'f32' : 'bf16',
        strategy,
        recompute,
        virtualStages: virtualStagesOf(run, model.layers),
        ...(layersOfStages === undefined ? {} : { layersOfStages }),
        ...(capacityFactor === undefined ? {} : { capacityFactor }),
      },
      convention: 'megatron',
      sharing: sharingOf(run),
      precision,
      imbalance: paddedTo(run, model, capacityFactor) ?? imbalance,
      exchange: exchangeOf(run),
      weightShards: { dense: run.weightShards ?? 1, expert: run.expertWeightShards ?? 1 },
      activationAgain: activation,
      ...(run.on('optimizer_cpu_offload') ? { hostStates: true } : {}),
    },
    leftOut: [
      ...unknown.map((module) => `recompute of ${module}`),
      ...(run.quantized ? ['copies of weights and activations in fp8 or fp4'] : []),
      ...(run.on('optimizer_cpu_offload') && run.number('optimizer_offload_fraction') !== 1
        ? ['optimizer states that stay on the device']
        : []),
      ...(run.number('cpu_offloading_num_layers') ? ['activations in host memory'] : []),
      ...(run.on('moe_paged_stash') ? ['pages of the stash for activations'] : []),
      ...(run.given('pipeline_model_parallel_layout') && layersOfStages === undefined
        ? ['the layers of uneven stages']
        : []),
    ],
  };
}
