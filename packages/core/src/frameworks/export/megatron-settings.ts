/**
 * A plan as fields of Megatron-Core's configuration, each with its reason. Fields are those of the table that the
 * reader and the checker use.
 */
import type { MoeModel } from '../../model/index.js';
import type { ComputePrecision } from '../../estimate/index.js';
import { architectureOf } from '../architecture.js';
import type { Exported, ExportOptions, ExportPlan, ExportSetting, ExportValue, ExportVariable } from './exported.js';
import { megatronDispatch, nodesOfExpertGroup } from './megatron-dispatch.js';
import { needsLayout, stageLayout } from './stage-layout.js';

const of = (field: string, value: ExportValue, reason: string): ExportSetting => ({ field, value, reason });
const when = (condition: boolean, ...settings: readonly ExportSetting[]): readonly ExportSetting[] =>
  condition ? settings : [];

/** Weight shards count the ranks of tensor parallelism too. */
const shardSettings = (
  { tp, etp }: ExportPlan['layout'],
  shards: ExportPlan['weightShards'],
): readonly ExportSetting[] =>
  shards === undefined
    ? []
    : [
        ...when(
          shards.dense > 1,
          of('tensor_parallel_num_weight_shards', tp * shards.dense, `weights over ${shards.dense} ranks beside tp`),
        ),
        ...when(
          shards.expert > 1,
          of('expert_tensor_parallel_num_weight_shards', etp * shards.expert, "the same of experts' weights"),
        ),
        of('ckpt_format', 'torch_dist', 'what weight shards take'),
      ];

/** Degrees of parallelism. */
function layoutSettings({
  layout,
  model,
  sequence,
  stagesInside = false,
  weightShards,
}: ExportPlan): readonly ExportSetting[] {
  const { tp, pp, cp, ep, etp, sequenceParallel } = layout;
  return [
    of('tensor_model_parallel_size', tp, `${model.attentionHeads} heads over ${tp}`),
    of('pipeline_model_parallel_size', pp, pp === 1 ? 'no pipeline' : `${model.layers} layers over ${pp} stages`),
    ...shardSettings(layout, weightShards),
    ...when(stagesInside, of('use_tp_pp_dp_mapping', true, 'stages lie inside replicas')),
    of('context_parallel_size', cp, cp === 1 ? 'sequences stay whole' : `${sequence} tokens over ${cp}`),
    ...when(
      model.experts > 0,
      of('expert_model_parallel_size', ep, `${model.experts} experts, ${model.experts / ep} a rank`),
      of(
        'expert_tensor_parallel_size',
        etp,
        etp === 1 ? 'experts stay whole; left out it would follow the tensor parallel size' : `experts cut over ${etp}`,
      ),
    ),
    ...when(
      sequenceParallel && tp > 1,
      of('sequence_parallel', true, 'norms and router on slices; experts under tensor parallelism need it'),
    ),
  ];
}

/** Stages of a pipeline. */
function pipelineSettings({ layout, model, virtualStages = 1, layersOfStages }: ExportPlan): readonly ExportSetting[] {
  if (layout.pp === 1)
    return when(model.multiTokenLayers > 0, of('mtp_num_layers', model.multiTokenLayers, 'multi-token prediction'));
  const stages = {
    layers: model.layers,
    multiTokenLayers: model.multiTokenLayers,
    stages: layout.pp * virtualStages,
    ...(layersOfStages === undefined ? {} : { layersOfStages }),
  };
  const written = needsLayout(stages)
    ? of(
        'pipeline_model_parallel_layout',
        stageLayout(stages),
        `${model.layers} layers do not fill ${stages.stages} stages alike: E embedding, t layer, m multi-token, L loss`,
      )
    : undefined;
  return [
    ...when(
      model.multiTokenLayers > 0,
      of('mtp_num_layers', model.multiTokenLayers, 'multi-token prediction, on the last stage'),
    ),
    ...(written === undefined
      ? when(
          virtualStages > 1,
          of('num_virtual_stages_per_pipeline_rank', virtualStages, 'interleaving: a smaller bubble'),
        )
      : [written]),
  ];
}

function batchSettings({ layout, sequence, sequences, microBatches }: ExportPlan): readonly ExportSetting[] {
  return [
    of('micro_batch_size', sequences, 'sequences of one micro-batch'),
    of(
      'global_batch_size',
      sequences * microBatches * layout.dp,
      `${sequences} x ${microBatches} micro-batches x ${layout.dp} replicas`,
    ),
    of('seq_length', sequence, 'tokens of a sequence'),
  ];
}

/** `1`, or which layers have experts as the list expression that Megatron evaluates. */
function layerFrequency({ moeLayers }: MoeModel): string {
  return moeLayers.every(Boolean) ? '1' : `[${moeLayers.map((experts) => (experts ? 1 : 0)).join(',')}]`;
}

function expertSettings(plan: ExportPlan): readonly ExportSetting[] {
  const { model, capacityFactor } = plan;
  if (model.experts === 0) return [];
  const name = model.name;
  return [
    of('num_experts', model.experts, name),
    of('moe_router_topk', model.topK, name),
    of('moe_ffn_hidden_size', model.expertFfn, `width of an expert of ${name}`),
    ...when(
      model.sharedExpertFfn > 0,
      of('moe_shared_expert_intermediate_size', model.sharedExpertFfn, 'all shared experts together'),
    ),
    ...when(model.sharedExpertGate, of('moe_shared_expert_gate', true, name)),
    ...when(
      !model.moeLayers.every(Boolean),
      of('moe_layer_freq', layerFrequency(model), '1 for a layer with experts, 0 for a dense one'),
    ),
    ...when(model.scoring === 'sigmoid', of('moe_router_score_function', 'sigmoid', name)),
    ...when(
      model.topK === 1 && model.scoring === 'softmax',
      of('moe_router_pre_softmax', true, 'one expert a token needs the softmax before the choice'),
    ),
    ...when(model.routedScaling !== 1, of('moe_router_topk_scaling_factor', model.routedScaling, name)),
    of(
      'moe_router_load_balancing_type',
      model.auxLossCoefficient > 0 ? 'aux_loss' : 'none',
      model.auxLossCoefficient > 0 ? 'keeps experts evenly used' : `${name} has no auxiliary loss`,
    ),
    ...when(model.auxLossCoefficient > 0, of('moe_aux_loss_coeff', [String(model.auxLossCoefficient)], name)),
    of('moe_router_dtype', 'fp32', 'the choice of experts in full precision'),
    of('moe_grouped_gemm', true, 'experts of a rank in one call'),
    of('moe_permute_fusion', true, 'fewer copies of tokens; needs TransformerEngine 2.1'),
    ...(capacityFactor === undefined
      ? []
      : [of('moe_expert_capacity_factor', capacityFactor, 'tokens above it are dropped')]),
  ];
}

function latentSettings({ latentAttention }: MoeModel): readonly ExportSetting[] {
  if (latentAttention === undefined) return [];
  const { queryRank, keyValueRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = latentAttention;
  return [
    of('multi_latent_attention', true, 'queries, keys and values through low ranks'),
    ...(queryRank === undefined ? [] : [of('q_lora_rank', queryRank, 'rank of the queries')]),
    of('kv_lora_rank', keyValueRank, 'rank of keys and values; left out it would be 32'),
    of('qk_head_dim', nopeHeadDim, 'width without position'),
    of('qk_pos_emb_head_dim', ropeHeadDim, 'width with position'),
    of('v_head_dim', valueHeadDim, 'width of a value'),
  ];
}

function modelSettings({ model, sequence }: ExportPlan): readonly ExportSetting[] {
  const name = model.name;
  const grouped = model.latentAttention === undefined && model.keyValueHeads !== model.attentionHeads;
  return [
    of('num_layers', model.layers, name),
    of('hidden_size', model.hiddenSize, name),
    of(
      'ffn_hidden_size',
      model.denseFfn > 0 ? model.denseFfn : model.expertFfn,
      model.denseFfn > 0 ? 'width of the dense layers' : 'width of an expert: there is no dense layer',
    ),
    of('num_attention_heads', model.attentionHeads, name),
    ...when(
      grouped,
      of('group_query_attention', true, `${model.keyValueHeads} heads of keys and values`),
      of('num_query_groups', model.keyValueHeads, name),
    ),
    ...when(
      model.latentAttention === undefined && model.headDim * model.attentionHeads !== model.hiddenSize,
      of('kv_channels', model.headDim, 'width of a head'),
    ),
    ...latentSettings(model),
    of('max_position_embeddings', Math.max(sequence, model.maxPositions ?? sequence), 'longest sequence'),
    ...when(
      model.learnedPositions === 0,
      of('position_embedding_type', 'rope', name),
      of('rotary_base', model.ropeTheta, name),
    ),
    ...when(!model.normBias, of('normalization', 'RMSNorm', name)),
    of('layernorm_epsilon', model.rmsNormEps, name),
    ...when(model.gated, of('swiglu', true, 'gate, up and down projections')),
    ...when(!model.feedForwardBias && !model.expertBias, of('add_bias_linear', false, name)),
    ...when(model.attentionBias === 'queryKeyValue', of('add_qkv_bias', true, name)),
    ...when(model.qkNorm === 'perHead', of('qk_layernorm', true, name)),
    ...when(!model.tieEmbeddings, of('untie_embeddings_and_output_weights', true, name)),
  ];
}

/** Whose states lie where. `zero3` and `fsdp` are one thing in Megatron-FSDP. */
function sharingSettings({ sharing = 'distributed-optimizer' }: ExportPlan): readonly ExportSetting[] {
  if (sharing === 'none') return [of('overlap_grad_reduce', true, 'gradients are reduced beside the backward pass')];
  const strategy = sharing === 'zero2' ? 'optim_grads' : 'optim_grads_params';
  const sharded = isSharded(sharing)
    ? [
        of('use_megatron_fsdp', true, 'Megatron-FSDP'),
        of('data_parallel_sharding_strategy', strategy, `${strategy.split('_').length} of three are sharded`),
        of('ckpt_format', 'fsdp_dtensor', 'the only one that Megatron-FSDP takes'),
      ]
    : [];
  return [
    ...sharded,
    of('use_distributed_optimizer', true, 'optimizer states over the replicas'),
    of('overlap_grad_reduce', true, 'gradients are reduced beside the backward pass'),
    of('overlap_param_gather', true, 'parameters are gathered beside the forward pass'),
  ];
}

const isSharded = (sharing: ExportPlan['sharing']): boolean =>
  sharing === 'zero2' || sharing === 'zero3' || sharing === 'fsdp';

/** Recipes of TransformerEngine. */
const quantised: Readonly<Record<ComputePrecision, readonly ExportSetting[]>> = {
  bf16: [],
  fp8: [
    of('fp8', 'hybrid', 'products in fp8: e4m3 forward, e5m2 backward'),
    of('fp8_recipe', 'tensorwise', 'current scaling'),
  ],
  mxfp8: [of('fp8', 'e4m3', 'products in fp8'), of('fp8_recipe', 'mxfp8', 'a scale for every 32 elements')],
  nvfp4: [of('fp4', 'e2m1', 'products in fp4'), of('fp4_recipe', 'nvfp4', 'a scale for every 16 elements')],
};

function memorySettings(plan: ExportPlan): readonly ExportSetting[] {
  const { recompute = 'none', dtype, precision = 'bf16', overlapExperts = false, overlapTensor = false } = plan;
  const modules =
    recompute === 'selective' ? ['core_attn', 'layernorm'] : typeof recompute === 'string' ? [] : [...recompute];
  return [
    ...when(dtype === 'bf16', of('bf16', true, 'weights and activations in bfloat16')),
    ...quantised[precision],
    ...sharingSettings(plan),
    ...when(
      plan.hostStates === true,
      of('optimizer_cpu_offload', true, "main weights and moments in the host's memory"),
      of('use_precision_aware_optimizer', true, 'what offloading asks for'),
    ),
    ...when(
      overlapExperts,
      of('overlap_moe_expert_parallel_comm', true, "the experts' exchange runs beside another micro-batch"),
    ),
    ...when(
      overlapTensor && plan.layout.tp > 1 && plan.layout.sequenceParallel,
      of('tp_comm_overlap', true, 'tensor parallelism sends beside products (userbuffers of TransformerEngine)'),
    ),
    ...when(
      recompute === 'full',
      of('recompute_granularity', 'full', 'a layer keeps its input alone'),
      of('recompute_method', 'uniform', 'every layer alike'),
      of('recompute_num_layers', 1, 'one layer at a time'),
    ),
    ...when(
      modules.length > 0,
      of('recompute_granularity', 'selective', 'parts of a layer are computed again'),
      of('recompute_modules', modules, 'the parts'),
    ),
  ];
}

/** CUDA_DEVICE_MAX_CONNECTIONS by architecture, and what binds the exchange of tokens. */
function environmentOf({ cluster, layout, sharing, overlapExperts }: ExportPlan): readonly ExportVariable[] {
  const architecture = architectureOf(cluster.device.name);
  if (architecture === undefined || architecture === 'blackwell' || (layout.tp === 1 && layout.cp === 1)) return [];
  // Streams that run beside one another need connections of their own: the rule that asks for one leaves them out.
  if (isSharded(sharing) || overlapExperts === true) return [];
  return [
    {
      name: 'CUDA_DEVICE_MAX_CONNECTIONS',
      value: '1',
      reason: `Megatron stops without it on ${architecture} under tensor or context parallelism`,
    },
  ];
}

/** What Megatron can't express of a model. */
function modelNotes({ model }: ExportPlan): string[] {
  return [
    ...(model.window === undefined ? [] : ['attention windows are not written: give --window-size and its layers']),
    ...(model.ropeType === 'default' ? [] : [`rotary scaling ${model.ropeType} is not written`]),
    ...(model.qkNorm === 'allHeads' ? ['norms over all heads of queries and keys have no flag'] : []),
    ...(model.clipQkv === undefined ? [] : ['clipping of queries, keys and values has no flag']),
  ];
}

/**
 * Fields of Megatron for a plan. `whole`: with the model's shape; recipes of Megatron-Bridge have it already. Throws
 * `InputError` where Megatron can't do it.
 */
export function megatronSettings(plan: ExportPlan, options: ExportOptions & { readonly whole: boolean }): Exported {
  const needsSlices = plan.model.experts > 0 && plan.layout.tp > 1 && !plan.layout.sequenceParallel;
  const taken: ExportPlan = needsSlices ? { ...plan, layout: { ...plan.layout, sequenceParallel: true } } : plan;
  const dispatch = megatronDispatch(taken, options);
  const nodes = nodesOfExpertGroup(taken);
  return {
    settings: [
      ...layoutSettings(taken),
      ...pipelineSettings(taken),
      ...batchSettings(taken),
      ...dispatch.settings,
      ...memorySettings(taken),
      ...(options.whole ? [...modelSettings(taken), ...expertSettings(taken)] : []),
    ],
    environment: [...environmentOf(taken), ...dispatch.environment],
    notes: [
      ...(needsSlices
        ? [
            'sequence parallelism is on, which the plan has not: Megatron trains experts under tensor parallelism ' +
              'with it only',
          ]
        : []),
      ...dispatch.notes,
      ...(taken.graphs === true
        ? [
            "the plan's step was priced with CUDA graphs, which are not written: --cuda-graph-impl " +
              'transformer_engine with --cuda-graph-modules, or --stack eager for a plan without',
          ]
        : []),
      ...(nodes > 1
        ? [
            `tokens cross ${nodes} nodes: NCCL_MAX_P2P_NCHANNELS and NCCL_NCHANNELS_PER_NET_PEER bind all_to_all, ` +
              'NCCL_MAX_NCHANNELS does not',
          ]
        : []),
      ...(options.whole ? modelNotes(taken) : []),
    ],
  };
}
