/**
 * Rules about sizes of groups, batches and worlds (megatron/training/arguments.py, core/parallel_state.py,
 * model_parallel_config.py).
 */
import { broken, divisors, whenKnown, type Rule } from './rule.js';
import { legalExpertSizes, neighbouringWorlds, smallestWorld } from './world.js';

const list = (values: readonly number[]): string => values.join(', ');

const divisible = (id: string, what: string, size: string): Rule => ({
  id,
  severity: 'error',
  fields: [size, what],
  check: (run) =>
    whenKnown([run.number(what), run.number(size)], (whole, parts) =>
      whole % parts === 0
        ? undefined
        : broken(
            `${what} ${whole} is not divisible by ${size} ${parts}`,
            `${size} can be ${list(divisors(whole, 64))}`,
          ),
    ),
});

export const sizeRules: readonly Rule[] = [
  divisible('heads-over-tensor-parallel', 'num_attention_heads', 'tensor_model_parallel_size'),
  {
    id: 'query-groups-over-tensor-parallel',
    severity: 'error',
    fields: ['num_query_groups', 'tensor_model_parallel_size'],
    check: (run) =>
      run.on('group_query_attention')
        ? whenKnown([run.number('num_query_groups'), run.tensor], (groups, tensor) =>
            groups % tensor === 0 || tensor % groups === 0
              ? undefined
              : broken(
                  `${groups} query groups are neither a multiple nor a divisor of tensor parallel size ${tensor}`,
                  `a tensor parallel size of ${list(divisors(groups))}`,
                ),
          )
        : undefined,
  },
  {
    id: 'sequence-over-context-parallel',
    severity: 'error',
    fields: ['context_parallel_size', 'seq_length'],
    check: (run) =>
      whenKnown([run.number('seq_length'), run.contextParallel], (sequence, ranks) =>
        ranks === 1 || sequence % (2 * ranks) === 0
          ? undefined
          : broken(
              `sequence length ${sequence} is not divisible by twice the context parallel size ${ranks}`,
              'each rank gets two pieces of the sequence, so that causal work is even: change either',
            ),
      ),
  },
  divisible('experts-over-expert-parallel', 'num_experts', 'expert_model_parallel_size'),
  {
    id: 'expert-parallel-without-experts',
    severity: 'error',
    fields: ['expert_model_parallel_size'],
    check: (run) =>
      (run.expert ?? 1) > 1 && !run.given('num_experts')
        ? broken(`expert parallel size ${run.expert} without --num-experts`, 'give --num-experts, or drop it')
        : undefined,
  },
  {
    id: 'expert-tensor-parallel-with-bias',
    severity: 'error',
    fields: ['expert_tensor_parallel_size', 'tensor_model_parallel_size'],
    check: (run) =>
      run.mixtureOfExperts && (run.expertTensor ?? 1) > 1 && run.on('add_bias_linear')
        ? broken(
            `expert tensor parallel size ${run.expertTensor} with linear layers that have a bias`,
            'add --disable-bias-linear, or --expert-tensor-parallel-size 1',
          )
        : undefined,
  },
  {
    id: 'expert-tensor-parallel-by-default',
    severity: 'slow',
    fields: ['tensor_model_parallel_size', 'num_experts'],
    check: (run) =>
      run.mixtureOfExperts && (run.tensor ?? 1) > 1 && !run.given('expert_tensor_parallel_size')
        ? broken(
            `--expert-tensor-parallel-size is not given: it follows the tensor parallel size ${run.tensor}`,
            'add --expert-tensor-parallel-size 1 and let expert parallelism take those ranks, where there are ' +
              'experts enough',
            'every expert is cut over the tensor parallel ranks, with an all-gather and a reduce-scatter around ' +
              'each layer',
          )
        : undefined,
  },
  ...(
    [
      ['tensor_parallel_num_weight_shards', 'tensor'],
      ['expert_tensor_parallel_num_weight_shards', 'expertTensor'],
    ] as const
  ).map(([field, size]): Rule => ({
    id: field.startsWith('expert') ? 'expert-weight-shards' : 'weight-shards',
    severity: 'error',
    fields: [field],
    check: (run) =>
      run.given(field)
        ? whenKnown([run.number(field), run[size]], (shards, ranks) =>
            shards >= ranks && shards % ranks === 0
              ? undefined
              : broken(
                  `${field} ${shards} is not a multiple of the tensor parallel size ${ranks} of those weights`,
                  `a multiple of ${ranks}`,
                ),
          )
        : undefined,
  })),
  {
    id: 'sequence-parallel-alone',
    severity: 'changed',
    fields: ['sequence_parallel'],
    check: (run) =>
      run.on('sequence_parallel') && run.tensor === 1
        ? broken('--sequence-parallel with tensor parallel size 1', 'drop it', 'it is switched off without a word')
        : undefined,
  },
  {
    id: 'experts-need-sequence-parallel',
    severity: 'error',
    fields: ['sequence_parallel', 'tensor_model_parallel_size'],
    check: (run) =>
      run.mixtureOfExperts && (run.tensor ?? 1) > 1 && !run.on('sequence_parallel')
        ? broken(
            `experts with tensor parallel size ${run.tensor} and no sequence parallelism`,
            'add --sequence-parallel',
            'training stops in the first forward pass',
          )
        : undefined,
  },
  {
    id: 'context-parallel-types',
    severity: 'error',
    fields: ['cp_comm_type'],
    check: (run) => {
      const types = run.list('cp_comm_type');
      const bad = types.find((type) => !['p2p', 'a2a', 'allgather', 'a2a+p2p'].includes(type));
      const layers = run.number('num_layers');
      if (bad !== undefined) return broken(`--cp-comm-type ${bad} is unknown`, 'one of p2p, a2a, allgather, a2a+p2p');
      return types.length > 1 && layers !== undefined && types.length !== layers
        ? broken(`${types.length} context parallel types for ${layers} layers`, 'give one, or one a layer')
        : undefined;
    },
  },
  {
    id: 'hierarchical-context-parallel',
    severity: 'error',
    fields: ['hierarchical_context_parallel_sizes', 'cp_comm_type'],
    check: (run) => {
      const sizes = run.list('hierarchical_context_parallel_sizes').map(Number);
      if (sizes.length === 0)
        return run.list('cp_comm_type').includes('a2a+p2p')
          ? broken('a2a+p2p without sizes of its two levels', 'add --hierarchical-context-parallel-sizes')
          : undefined;
      const total = sizes.reduce((a, b) => a * b, 1);
      return run.contextParallel !== undefined && total !== run.contextParallel
        ? broken(
            `hierarchical sizes ${sizes.join(' x ')} make ${total}, the context parallel size is ` +
              `${run.contextParallel}`,
            'sizes whose product it is',
          )
        : undefined;
    },
  },
  {
    id: 'hybrid-context-parallel',
    severity: 'error',
    fields: ['hybrid_context_parallel'],
    check: (run) => {
      if (!run.on('hybrid_context_parallel')) return undefined;
      const missing = [
        ...((run.pipeline ?? 1) > 1 ? ['pipeline parallel size 1'] : []),
        ...(run.text('cuda_graph_impl') === 'none' ? [] : ['no CUDA graphs']),
        ...(run.fullyShardedMegatron || run.on('use_torch_fsdp2') ? ['no FSDP'] : []),
        ...((run.text('dataloader_type') ?? 'single') === 'single' ? [] : ['--dataloader-type single']),
        ...(run.on('calculate_per_token_loss') ? [] : ['--calculate-per-token-loss']),
      ];
      return missing.length === 0
        ? undefined
        : broken('--hybrid-context-parallel does not go with the rest', `it needs ${missing.join(', ')}`);
    },
  },
  {
    id: 'order-of-dimensions',
    severity: 'error',
    fields: ['use_tp_pp_dp_mapping'],
    check: (run) =>
      run.on('use_tp_pp_dp_mapping') && (run.pipeline ?? 1) > 1
        ? whenKnown([run.modelRanks, run.expertModelRanks], (dense, experts) =>
            dense === experts
              ? undefined
              : broken(
                  '--use-tp-pp-dp-mapping with different data parallel sizes of attention and experts',
                  'make T C equal X E, or drop it',
                ),
          )
        : undefined,
  },
  {
    id: 'distributed-optimizer-instances',
    severity: 'error',
    fields: ['num_distributed_optimizer_instances'],
    check: (run) => {
      const { gpus } = run.context;
      const instances = run.number('num_distributed_optimizer_instances');
      if (instances === undefined || instances === 1) return undefined;
      if ((run.weightShards ?? 1) > 1 || (run.expertWeightShards ?? 1) > 1)
        return broken(`${instances} optimizer instances with sharded weights`, '1 with weight shards');
      return whenKnown([gpus, run.data, run.contextParallel, run.expertModelRanks], (world, data, context, experts) =>
        (data * context) % instances === 0 && (world / experts) % instances === 0
          ? undefined
          : broken(
              `${instances} optimizer instances do not divide the data parallel sizes ${data * context} and ` +
                `${world / experts}`,
              'a number that divides both',
            ),
      );
    },
  },
  {
    id: 'world-size',
    severity: 'error',
    fields: ['expert_model_parallel_size', 'tensor_model_parallel_size', 'pipeline_model_parallel_size'],
    check: (run) =>
      whenKnown([run.context.gpus, smallestWorld(run)], (gpus, least) => {
        if (gpus % least === 0) return undefined;
        const near = neighbouringWorlds(run, gpus);
        const worlds = [near?.below, near?.above].filter((world) => world !== undefined);
        const sizes = legalExpertSizes(run, gpus);
        return broken(
          `${gpus} ranks do not fit this layout, whose smallest world is P lcm(T C, X E) = ${least}`,
          `use ${worlds.join(' or ')} ranks${sizes.length > 0 ? `, or an expert parallel size of ${list(sizes)}` : ''}`,
        );
      }),
  },
  {
    id: 'global-batch',
    severity: 'error',
    fields: ['global_batch_size', 'micro_batch_size'],
    check: (run) =>
      run.on('decrease_batch_size_if_needed')
        ? undefined
        : whenKnown(
            [run.number('global_batch_size'), run.number('micro_batch_size'), run.data, run.weightShards],
            (global, micro, data, shards) =>
              global % (micro * data * shards) === 0
                ? undefined
                : broken(
                    `global batch ${global} is not divisible by micro-batch ${micro} x data parallel ${data * shards}`,
                    `a multiple of ${micro * data * shards}, or --decrease-batch-size-if-needed`,
                  ),
          ),
  },
  {
    id: 'position-embeddings',
    severity: 'error',
    fields: ['max_position_embeddings', 'seq_length'],
    check: (run) =>
      whenKnown([run.number('max_position_embeddings'), run.number('seq_length')], (most, sequence) =>
        most >= sequence
          ? undefined
          : broken(`sequence length ${sequence} is over --max-position-embeddings ${most}`, `at least ${sequence}`),
      ),
  },
  {
    id: 'latent-attention-groups',
    severity: 'error',
    fields: ['multi_latent_attention', 'group_query_attention'],
    check: (run) =>
      run.on('multi_latent_attention') && run.on('group_query_attention')
        ? broken('latent attention and grouped queries at once', 'drop --group-query-attention')
        : undefined,
  },
  {
    id: 'latent-attention-rank',
    severity: 'slow',
    fields: ['multi_latent_attention'],
    check: (run) =>
      run.on('multi_latent_attention') && !run.given('kv_lora_rank')
        ? broken(
            '--multi-latent-attention without --kv-lora-rank: its default is 32',
            'give the rank of the model (DeepSeek-V3: 512)',
            'another model than meant is trained',
          )
        : undefined,
  },
];
