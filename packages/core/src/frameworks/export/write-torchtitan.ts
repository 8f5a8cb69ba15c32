/** A configuration of torchtitan, as the TOML that 0.2 reads; since #2386 its keys are fields of a Python function. */
import { deviceCount } from '../../cluster/index.js';
import { halvesName, plainPair } from '../../schedule/index.js';
import { InputError } from '../../units/errors.js';
import { evenLayers, type ComputePrecision } from '../../estimate/index.js';
import { architectureOf } from '../architecture.js';
import { spreadLayers } from '../torchtitan/stages.js';
import type { Exported, ExportOptions, ExportPlan, ExportSetting } from './exported.js';

const refuse = (path: string, message: string, expected: string): InputError =>
  new InputError(`torchtitan can't do this: ${message}`, { path, expected });

function dispatcherOf({ strategy, cluster, layout }: ExportPlan, { nearest = false }: ExportOptions): string {
  const name = halvesName(strategy);
  if (name === 'deduplicated') return architectureOf(cluster.device.name) === 'blackwell' ? 'hybridep' : 'deepep';
  const plain = layout.tp === 1 ? plainPair(strategy) : name === 'scattered' || name === 'sliced';
  if (!plain && !nearest)
    throw new InputError(`torchtitan has no dispatcher like ${name}`, {
      path: 'strategy',
      expected: 'scattered, sliced or deduplicated',
      hint: '--nearest writes alltoall',
    });
  return 'alltoall';
}

const of = (field: string, value: ExportSetting['value'], reason: string): ExportSetting => ({ field, value, reason });

/** Names of the quantising converters of 0.2. */
function convertersOf(precision: ComputePrecision): readonly string[] {
  if (precision === 'nvfp4') throw refuse('precision', 'products in nvfp4', 'bf16, fp8 or mxfp8');
  const kind = precision === 'fp8' ? 'float8' : 'mx';
  return [`quantize.linear.${kind}`, `quantize.grouped_mm.${kind}`];
}

/** Modules of each stage, by the names that torchtitan gives them. */
function modulesOf(counts: readonly number[]): string[][] {
  let layer = 0;
  return counts.map((count, stage) => [
    ...(stage === 0 ? ['tok_embeddings'] : []),
    ...Array.from({ length: count }, () => `layers.${layer++}`),
    ...(stage === counts.length - 1 ? ['norm', 'output'] : []),
  ]);
}

/** Schedule and stages. Without keys it takes one stage a rank, interleaved two; the ends count as a layer each. */
function pipelineSettings(plan: ExportPlan): readonly ExportSetting[] {
  const { layout, model, sequences, virtualStages = 1, layersOfStages } = plan;
  if (layout.pp === 1) return [];
  const stages = layout.pp * virtualStages;
  const own = virtualStages <= 2 ? spreadLayers(model.layers, stages, { first: 1, last: 1 }) : undefined;
  const counts = layersOfStages ?? own ?? evenLayers(model.layers, stages);
  const usual = own !== undefined && counts.every((count, stage) => count === own[stage]);
  return [
    of('parallelism.pipeline_parallel_microbatch_size', sequences, 'sequences of one micro-batch'),
    of(
      'parallelism.pipeline_parallel_schedule',
      virtualStages > 1 ? 'Interleaved1F1B' : '1F1B',
      virtualStages > 1 ? `${virtualStages} stages a rank: a smaller bubble` : 'one stage a rank',
    ),
    ...(usual
      ? []
      : [of('parallelism.module_fqns_per_model_part', modulesOf(counts), `${counts.join(', ')} layers a stage`)]),
  ];
}

/** What of the plan is written as something else, or not at all. */
function notesOf({
  model,
  sharing = 'distributed-optimizer',
  overlapExperts = false,
  recompute,
}: ExportPlan): string[] {
  const parts = typeof recompute === 'object' || recompute === 'selective';
  return [
    ...(sharing === 'fsdp' || sharing === 'zero3'
      ? []
      : [`torchtitan shards weights, gradients and moments (fully_shard): the plan has ${sharing}`]),
    ...(overlapExperts
      ? [
          "the experts' exchange beside another micro-batch is not written: the nearest is compile.ep_overlap of " +
            'the graph trainer, which cuts the batch or the sequence',
        ]
      : []),
    ...(parts ? ['selective recomputes what its policy does not save, which are not the modules of the plan'] : []),
    ...(model.multiTokenLayers > 0 ? ['multi-token prediction is a matter of the flavor: 0.2 has none'] : []),
  ];
}

function degreeSettings(plan: ExportPlan, options: ExportOptions): ExportSetting[] {
  const { model, layout, sequence, cluster } = plan;
  const { tp, pp, cp, dp, ep } = layout;
  return [
    of('parallelism.data_parallel_replicate_degree', 1, 'parameters are sharded over all replicas'),
    of(
      'parallelism.data_parallel_shard_degree',
      dp,
      `${dp} replicas; the product of all degrees is ${deviceCount(cluster)}`,
    ),
    of('parallelism.context_parallel_degree', cp, cp === 1 ? 'sequences stay whole' : `${sequence} tokens over ${cp}`),
    of('parallelism.tensor_parallel_degree', tp, `${model.attentionHeads} heads over ${tp}`),
    of(
      'parallelism.pipeline_parallel_degree',
      pp,
      pp === 1 ? 'no pipeline' : `${model.layers} layers over ${pp} stages`,
    ),
    ...pipelineSettings(plan),
    ...(model.experts > 0
      ? [
          of('parallelism.expert_parallel_degree', ep, `${model.experts} experts, ${model.experts / ep} a rank`),
          of('parallelism.expert_parallel_comm_backend', dispatcherOf(plan, options), 'how tokens travel to experts'),
        ]
      : []),
  ];
}

function trainingSettings(plan: ExportPlan): ExportSetting[] {
  const { layout, sequence, sequences, microBatches, recompute = 'none', precision = 'bf16' } = plan;
  const { pp, dp } = layout;
  return [
    of('training.seq_len', sequence, 'tokens of a sequence'),
    of(
      'training.local_batch_size',
      pp > 1 ? sequences * microBatches : sequences,
      pp > 1
        ? 'sequences of a replica in a step, cut into micro-batches by the pipeline'
        : 'sequences of one micro-batch',
    ),
    of(
      'training.global_batch_size',
      sequences * microBatches * dp,
      `${sequences} x ${microBatches} micro-batches x ${dp} replicas`,
    ),
    of(
      'activation_checkpoint.mode',
      recompute === 'none' || recompute === 'full' ? recompute : 'selective',
      recompute === 'none' ? 'everything is kept' : 'parts are computed again',
    ),
    ...(precision === 'bf16'
      ? []
      : [of('model.converters', convertersOf(precision), `products in ${precision}; needs torchao`)]),
  ];
}

/** Keys as `section.name`. Throws `InputError` for layouts that torchtitan refuses. */
export function torchtitanSettings(plan: ExportPlan, options: ExportOptions): Exported {
  const { model, layout, strategy } = plan;
  if (model.experts > 0 && layout.etp > 1)
    throw refuse(
      'layout.etp',
      `expert tensor parallel size ${layout.etp}: it was removed (#3167)`,
      'etp=1, with ep up to tp·cp·dp',
    );
  const { forward, backward } = strategy.chunks;
  return {
    settings: [...degreeSettings(plan, options), ...trainingSettings(plan)],
    environment: [],
    notes: [
      ...(forward > 1 || backward > 1
        ? [
            `chunks: torchtitan's compile.ep_overlap cuts the batch or the sequence itself; the plan's ${forward} ` +
              `and ${backward} chunks have no key`,
          ]
        : []),
      ...notesOf(plan),
      ...(layout.tp > 1 && !layout.sequenceParallel
        ? ['torchtitan runs tensor parallelism with sequence parallelism']
        : []),
    ],
  };
}

const scalar = (value: ExportSetting['value']): string =>
  typeof value === 'string' ? JSON.stringify(value) : Array.isArray(value) ? JSON.stringify(value) : String(value);

/** The TOML of settings by section. */
export function writeTorchtitan(plan: ExportPlan, { settings, notes }: Exported): string {
  const sections = new Map<string, string[]>();
  for (const { field, value, reason } of settings) {
    const [section = '', name = ''] = field.split('.');
    const lines = sections.get(section) ?? [];
    sections.set(section, lines);
    lines.push(`${name} = ${scalar(value)}  # ${reason}`);
  }
  const body = [...sections].flatMap(([section, lines]) => ['', `[${section}]`, ...lines]);
  const head = `# ${plan.model.name} on ${plan.cluster.name}: written by monta export`;
  return [head, ...notes.map((note) => `# NOTE ${note}`), ...body, ''].join('\n');
}
