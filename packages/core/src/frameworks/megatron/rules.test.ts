import { describe, expect, test } from 'vitest';
import type { Located } from '../shell/place.js';
import { checkMegatron, megatronRules } from './check.js';
import { megatronFlags } from './flags.js';
import { MegatronRun, type RunContext } from './run.js';
import { readMegatronArguments } from './settings.js';
import { legalExpertSizes, neighbouringWorlds, smallestWorld } from './world.js';

const place = { source: { file: 'flags', text: '' }, start: 0, end: 0 };
const located = (text: string): Located => ({ text, place });

function runOf(flags: string, { environment = {}, ...context }: Context = {}): MegatronRun {
  const words = flags.split(/\s+/u).filter((word) => word !== '');
  return new MegatronRun(readMegatronArguments(words.map(located)), {
    ...context,
    environment: new Map(Object.entries(environment).map(([name, text]) => [name, located(text)])),
  });
}

type Context = Omit<RunContext, 'environment'> & { readonly environment?: Readonly<Record<string, string>> };

const broken = (flags: string, context?: Context): string[] =>
  checkMegatron(runOf(flags, context)).map(({ rule }) => rule);

const moe = '--num-experts 8 --disable-bias-linear';
const hopper: Context = { architecture: 'hopper' };

type Case = readonly [rule: string, breaks: string, keeps: string, breaking?: Context, keeping?: Context];

/** Every rule: flags that break it, flags that are as near as can be and keep it, and what both need to be known. */
const cases: readonly Case[] = [
  [
    'heads-over-tensor-parallel',
    '--num-attention-heads 20 --tensor-model-parallel-size 8',
    '--num-attention-heads 24 --tensor-model-parallel-size 8',
  ],
  [
    'query-groups-over-tensor-parallel',
    '--group-query-attention --num-query-groups 6 --tensor-model-parallel-size 4',
    '--group-query-attention --num-query-groups 2 --tensor-model-parallel-size 4',
  ],
  [
    'sequence-over-context-parallel',
    '--seq-length 4100 --context-parallel-size 4',
    '--seq-length 4104 --context-parallel-size 4',
  ],
  [
    'experts-over-expert-parallel',
    '--num-experts 60 --expert-model-parallel-size 8',
    '--num-experts 64 --expert-model-parallel-size 8',
  ],
  ['expert-parallel-without-experts', '--expert-model-parallel-size 8', '--expert-model-parallel-size 1'],
  [
    'expert-tensor-parallel-with-bias',
    '--num-experts 8 --tensor-model-parallel-size 2',
    '--num-experts 8 --tensor-model-parallel-size 2 --expert-tensor-parallel-size 1',
  ],
  [
    'expert-tensor-parallel-by-default',
    `${moe} --tensor-model-parallel-size 2`,
    `${moe} --tensor-model-parallel-size 2 --expert-tensor-parallel-size 2`,
  ],
  [
    'weight-shards',
    '--tensor-model-parallel-size 4 --tensor-parallel-num-weight-shards 6',
    '--tensor-model-parallel-size 4 --tensor-parallel-num-weight-shards 8',
  ],
  [
    'expert-weight-shards',
    '--expert-tensor-parallel-size 2 --expert-tensor-parallel-num-weight-shards 1',
    '--expert-tensor-parallel-size 2 --expert-tensor-parallel-num-weight-shards 2',
  ],
  ['sequence-parallel-alone', '--sequence-parallel', '--sequence-parallel --tensor-model-parallel-size 2'],
  [
    'experts-need-sequence-parallel',
    `${moe} --tensor-model-parallel-size 2`,
    `${moe} --tensor-model-parallel-size 2 --sequence-parallel`,
  ],
  ['context-parallel-types', '--num-layers 3 --cp-comm-type p2p a2a', '--num-layers 2 --cp-comm-type p2p a2a'],
  ['context-parallel-types', '--cp-comm-type ring', '--cp-comm-type allgather'],
  [
    'hierarchical-context-parallel',
    '--context-parallel-size 8 --hierarchical-context-parallel-sizes 2 2 --cp-comm-type a2a+p2p',
    '--context-parallel-size 8 --hierarchical-context-parallel-sizes 2 4 --cp-comm-type a2a+p2p',
  ],
  ['hierarchical-context-parallel', '--cp-comm-type a2a+p2p', '--cp-comm-type a2a'],
  ['hybrid-context-parallel', '--hybrid-context-parallel', '--hybrid-context-parallel --calculate-per-token-loss'],
  [
    'order-of-dimensions',
    `${moe} --use-tp-pp-dp-mapping --pipeline-model-parallel-size 2 --expert-model-parallel-size 2`,
    `${moe} --use-tp-pp-dp-mapping --pipeline-model-parallel-size 2 --tensor-model-parallel-size 2 ` +
      '--expert-tensor-parallel-size 1 --expert-model-parallel-size 2',
  ],
  [
    'distributed-optimizer-instances',
    `${moe} --num-distributed-optimizer-instances 3`,
    `${moe} --num-distributed-optimizer-instances 4`,
    { gpus: 16 },
  ],
  [
    'world-size',
    `${moe} --tensor-model-parallel-size 2 --pipeline-model-parallel-size 4 --expert-model-parallel-size 8`,
    `${moe} --tensor-model-parallel-size 2 --pipeline-model-parallel-size 4 --expert-model-parallel-size 8 ` +
      '--expert-tensor-parallel-size 1',
    { gpus: 32 },
  ],
  [
    'global-batch',
    '--micro-batch-size 2 --global-batch-size 100',
    '--micro-batch-size 2 --global-batch-size 96',
    { gpus: 16 },
  ],
  [
    'position-embeddings',
    '--seq-length 8192 --max-position-embeddings 4096',
    '--seq-length 4096 --max-position-embeddings 4096',
  ],
  [
    'latent-attention-groups',
    '--multi-latent-attention --kv-lora-rank 512 --group-query-attention',
    '--multi-latent-attention --kv-lora-rank 512',
  ],
  ['latent-attention-rank', '--multi-latent-attention', '--multi-latent-attention --kv-lora-rank 512'],
  [
    'layers-over-stages',
    '--num-layers 61 --pipeline-model-parallel-size 16',
    '--num-layers 61 --pipeline-model-parallel-size 16 --pipeline-model-parallel-layout Et|(tt|)*29mL',
  ],
  [
    'layers-over-stages',
    '--num-layers 62 --pipeline-model-parallel-size 16 --account-for-embedding-in-pipeline-split',
    '--num-layers 62 --pipeline-model-parallel-size 16 --account-for-embedding-in-pipeline-split ' +
      '--account-for-loss-in-pipeline-split',
  ],
  [
    'one-way-to-virtual-stages',
    '--num-layers-per-virtual-pipeline-stage 2 --num-virtual-stages-per-pipeline-rank 2',
    '--num-virtual-stages-per-pipeline-rank 2',
  ],
  [
    'layout-alone',
    '--pipeline-model-parallel-layout Et|tL --decoder-last-pipeline-num-layers 1',
    '--pipeline-model-parallel-layout Et|tL',
  ],
  [
    'layout-stages',
    '--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et|t|tL',
    '--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et|t|t|tL',
  ],
  [
    'uneven-with-ends',
    '--decoder-first-pipeline-num-layers 2 --account-for-loss-in-pipeline-split',
    '--account-for-loss-in-pipeline-split',
  ],
  [
    'middle-stages',
    '--num-layers 27 --pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 5',
    '--num-layers 26 --pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 5',
  ],
  [
    'virtual-stages-divide',
    '--num-layers 24 --pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 4',
    '--num-layers 24 --pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 3',
  ],
  [
    'micro-batch-group',
    '--num-layers 8 --pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 2 --micro-batch-size 1 ' +
      '--global-batch-size 9 --microbatch-group-size-per-virtual-pipeline-stage 4',
    '--num-layers 8 --pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 2 --micro-batch-size 1 ' +
      '--global-batch-size 8 --microbatch-group-size-per-virtual-pipeline-stage 4',
    { gpus: 4 },
  ],
  [
    'interleaving-needs-stages',
    '--num-layers 8 --num-virtual-stages-per-pipeline-rank 2',
    '--num-layers 8 --num-virtual-stages-per-pipeline-rank 2 --pipeline-model-parallel-size 2',
  ],
  [
    'interleaving-needs-stages',
    '--num-layers 8 --num-virtual-stages-per-pipeline-rank 2 --pipeline-model-parallel-size 2 ' +
      '--no-overlap-p2p-communication',
    '--num-layers 12 --num-virtual-stages-per-pipeline-rank 2 --pipeline-model-parallel-size 3 ' +
      '--no-overlap-p2p-communication',
  ],
  [
    'warm-up-overlap',
    '--overlap-p2p-communication-warmup-flush --pipeline-model-parallel-size 4',
    '--overlap-p2p-communication-warmup-flush --pipeline-model-parallel-size 4 ' +
      '--num-virtual-stages-per-pipeline-rank 2',
  ],
  [
    'stages-in-the-pattern',
    '--hybrid-layer-pattern M-M|M-M --num-virtual-stages-per-pipeline-rank 2',
    '--hybrid-layer-pattern M-M|M-M',
  ],
  [
    'last-stage-load',
    '--mtp-num-layers 1 --pipeline-model-parallel-size 4',
    '--mtp-num-layers 1 --pipeline-model-parallel-size 4 --decoder-last-pipeline-num-layers 2',
  ],
  [
    'layer-pattern',
    '--num-layers 61 --moe-layer-freq ([0]*3+[1]*57)',
    '--num-layers 61 --moe-layer-freq ([0]*3+[1]*58)',
  ],
  ['top-1-softmax', `${moe} --moe-router-topk 1`, `${moe} --moe-router-topk 1 --moe-router-pre-softmax`],
  [
    'expert-groups',
    '--num-experts 256 --moe-router-num-groups 8',
    '--num-experts 256 --moe-router-num-groups 8 --moe-router-group-topk 4',
  ],
  [
    'expert-groups',
    '--num-experts 256 --moe-router-num-groups 8 --moe-router-group-topk 9',
    '--num-experts 256 --moe-router-num-groups 8 --moe-router-group-topk 8',
  ],
  [
    'expert-bias',
    '--moe-router-enable-expert-bias',
    '--moe-router-enable-expert-bias --moe-router-score-function sigmoid',
  ],
  [
    'balancing-coefficients',
    '--moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0.01',
    '--moe-router-load-balancing-type sinkhorn',
  ],
  [
    'balancing-coefficients',
    '--moe-router-load-balancing-type aux_loss seq_aux_loss --moe-aux-loss-coeff 0.01',
    '--moe-router-load-balancing-type aux_loss seq_aux_loss --moe-aux-loss-coeff 0.01 0.001',
  ],
  ['nothing-balances', moe, `${moe} --moe-aux-loss-coeff 0.01`],
  ['router-precision', moe, `${moe} --moe-router-dtype fp32`],
  ['forced-balance', '--moe-router-force-load-balancing', ''],
  [
    'padding-for-quantization',
    '--moe-router-padding-for-quantization --moe-token-dispatcher-type alltoall',
    '--moe-router-padding-for-quantization --moe-token-dispatcher-type alltoall --fp8-format e4m3',
  ],
  [
    'padding-for-quantization',
    '--moe-router-padding-for-quantization --fp8-format e4m3',
    '--moe-router-padding-for-quantization --fp8-format e4m3 --moe-token-dispatcher-type flex',
  ],
  [
    'capacity-balancing',
    '--moe-expert-capacity-factor 1.25 --moe-router-load-balancing-type sinkhorn',
    '--moe-expert-capacity-factor 1.25 --moe-router-load-balancing-type none',
  ],
  [
    'padding-to-capacity',
    '--moe-pad-expert-input-to-capacity',
    '--moe-pad-expert-input-to-capacity --moe-expert-capacity-factor 1',
  ],
  [
    'padding-to-capacity',
    '--moe-pad-expert-input-to-capacity --moe-expert-capacity-factor 1 --moe-token-dispatcher-type flex',
    '--moe-pad-expert-input-to-capacity --moe-expert-capacity-factor 1 --moe-token-dispatcher-type flex ' +
      '--moe-flex-dispatcher-backend hybridep',
  ],
  ['upcycling-saves', '--moe-use-upcycling', '--moe-use-upcycling --save folder'],
  [
    'allgather-dispatcher',
    `${moe} --expert-model-parallel-size 8`,
    `${moe} --expert-model-parallel-size 8 --moe-token-dispatcher-type alltoall`,
  ],
  [
    'backend-without-flex',
    '--moe-flex-dispatcher-backend hybridep --moe-token-dispatcher-type alltoall',
    '--moe-flex-dispatcher-backend hybridep --moe-token-dispatcher-type flex',
  ],
  [
    'ncclep-without-flex',
    '--moe-flex-dispatcher-backend ncclep',
    '--moe-flex-dispatcher-backend ncclep --moe-token-dispatcher-type flex',
  ],
  [
    'flex-group',
    `${moe} --moe-token-dispatcher-type flex`,
    `${moe} --moe-token-dispatcher-type flex --expert-model-parallel-size 2`,
  ],
  [
    'multiprocessors-of-dispatch',
    '--moe-deepep-num-sms 20 --moe-hybridep-num-sms 16',
    '--moe-deepep-num-sms 20 --moe-hybridep-num-sms 16 --moe-flex-dispatcher-num-sms 16',
  ],
  ['ncclep-zero-copy', '--moe-ncclep-zero-copy', '--moe-ncclep-zero-copy --moe-expert-rank-capacity-factor 1.5'],
  [
    'dispatch-in-mxfp8',
    '--moe-dispatch-fwd-dtype mxfp8',
    '--moe-dispatch-fwd-dtype mxfp8 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend ncclep ' +
      '--moe-grouped-gemm',
  ],
  [
    'rank-capacity',
    '--moe-expert-rank-capacity-factor 1.5',
    '--moe-expert-rank-capacity-factor 1.5 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep',
  ],
  [
    'rank-capacity-drops',
    '--moe-expert-rank-capacity-factor 1.5 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep',
    '--moe-expert-rank-capacity-factor 1.5 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend ncclep',
  ],
  ['paged-stash', '--moe-paged-stash', '--moe-paged-stash --moe-expert-rank-capacity-factor 1.5'],
  [
    'paged-stash',
    '--moe-paged-stash --moe-expert-rank-capacity-factor 1.5 --offload-modules expert_fc1',
    '--moe-paged-stash --moe-expert-rank-capacity-factor 1.5 --offload-modules core_attn',
  ],
  ['grouped-weights', '--moe-use-grouped-tensor', '--moe-use-grouped-tensor --moe-grouped-gemm'],
  [
    'grouped-weights',
    '--moe-single-grouped-weight --moe-grouped-gemm --use-megatron-fsdp',
    '--moe-single-grouped-weight --moe-grouped-gemm',
  ],
  [
    'shared-expert-overlap',
    '--moe-shared-expert-overlap',
    '--moe-shared-expert-overlap --moe-token-dispatcher-type alltoall',
  ],
  [
    'shared-expert-overlap',
    '--moe-shared-expert-overlap --moe-token-dispatcher-type alltoall --moe-latent-size 1024',
    '--moe-shared-expert-overlap --moe-token-dispatcher-type flex',
  ],
  [
    'expert-overlap',
    '--overlap-moe-expert-parallel-comm --moe-token-dispatcher-type alltoall --bf16',
    `${moe} --overlap-moe-expert-parallel-comm --moe-token-dispatcher-type alltoall --bf16 ` +
      '--expert-model-parallel-size 8',
  ],
  [
    'expert-overlap',
    `${moe} --overlap-moe-expert-parallel-comm --moe-token-dispatcher-type alltoall --bf16 ` +
      '--expert-model-parallel-size 8 --pipeline-model-parallel-size 2',
    `${moe} --overlap-moe-expert-parallel-comm --moe-token-dispatcher-type alltoall --bf16 ` +
      '--expert-model-parallel-size 8 --pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2',
  ],
  ['delayed-weight-gradients', '--delay-wgrad-compute', '--delay-wgrad-compute --overlap-moe-expert-parallel-comm'],
  [
    'dispatch-beside-weight-gradients',
    '--overlap-dispatch-backward-with-experts-wgrad --overlap-moe-expert-parallel-comm',
    '--overlap-dispatch-backward-with-experts-wgrad',
  ],
  [
    'early-attention-release',
    '--ep-overlap-early-attn-memory-release',
    '--ep-overlap-early-attn-memory-release --overlap-moe-expert-parallel-comm',
  ],
  [
    'parameter-gather',
    '--overlap-param-gather --use-distributed-optimizer',
    '--overlap-param-gather --use-distributed-optimizer --overlap-grad-reduce',
  ],
  [
    'parameter-gather-with-optimizer',
    '--overlap-param-gather-with-optimizer-step --overlap-param-gather',
    '--overlap-param-gather-with-optimizer-step --overlap-param-gather --num-virtual-stages-per-pipeline-rank 2 ' +
      '--ckpt-format torch',
  ],
  ['tensor-parallel-overlap', '--tp-comm-overlap', '--tp-comm-overlap --sequence-parallel'],
  ['gradient-buckets', '--ddp-num-buckets 4 --ddp-bucket-size 1000', '--ddp-num-buckets 4'],
  [
    'connections-must-be-1',
    '--tensor-model-parallel-size 2',
    '--tensor-model-parallel-size 2',
    hopper,
    { ...hopper, environment: { CUDA_DEVICE_MAX_CONNECTIONS: '1' } },
  ],
  [
    'connections-must-be-1',
    '--context-parallel-size 2',
    '--context-parallel-size 2',
    { architecture: 'ampere', environment: { CUDA_DEVICE_MAX_CONNECTIONS: '32' } },
    { architecture: 'blackwell' },
  ],
  [
    'connections-with-expert-overlap',
    '--overlap-moe-expert-parallel-comm',
    '--overlap-moe-expert-parallel-comm',
    { ...hopper, environment: { CUDA_DEVICE_MAX_CONNECTIONS: '1' } },
    { ...hopper, environment: { CUDA_DEVICE_MAX_CONNECTIONS: '32' } },
  ],
  [
    'connections-with-fsdp',
    '--use-torch-fsdp2',
    '--use-torch-fsdp2',
    { environment: { CUDA_DEVICE_MAX_CONNECTIONS: '1' } },
    {},
  ],
  [
    'full-recompute',
    '--recompute-granularity full --recompute-method uniform',
    '--recompute-granularity full --recompute-method uniform --recompute-num-layers 1',
  ],
  [
    'selective-recompute',
    '--recompute-granularity selective --recompute-method block',
    '--recompute-granularity selective',
  ],
  ['recompute-modules', '--recompute-modules moe_act', '--recompute-modules moe_act --moe-grouped-gemm'],
  ['recompute-modules', '--recompute-modules attention', '--recompute-modules core_attn'],
  [
    'recompute-modules',
    '--recompute-modules layernorm --fp8-format hybrid',
    '--recompute-modules layernorm --fp8-format hybrid --fp8-recipe blockwise',
  ],
  [
    'offload-modules',
    '--fine-grained-activation-offloading',
    '--fine-grained-activation-offloading --offload-modules core_attn',
  ],
  ['offload-modules', '--offload-modules attn_proj', '--offload-modules core_attn attn_proj'],
  ['layer-offload', '--cpu-offloading-num-layers 2 --pipeline-model-parallel-size 2', '--cpu-offloading-num-layers 2'],
  ['optimizer-offload', '--optimizer-cpu-offload', '--optimizer-cpu-offload --use-precision-aware-optimizer'],
  ['megatron-fsdp-checkpoints', '--use-megatron-fsdp', '--use-megatron-fsdp --ckpt-format fsdp_dtensor'],
  ['megatron-fsdp-optimizer', '--use-megatron-fsdp --optimizer muon', '--use-megatron-fsdp --optimizer sgd'],
  ['torch-fsdp', `${moe} --use-torch-fsdp2 --expert-model-parallel-size 2`, `${moe} --use-torch-fsdp2`],
  [
    'weight-shards-go-with',
    '--tensor-parallel-num-weight-shards 2 --ckpt-format torch_dcp',
    '--tensor-parallel-num-weight-shards 2',
  ],
  [
    'weight-shards-protocol',
    '--tensor-parallel-num-weight-shards 2',
    '--tensor-parallel-num-weight-shards 2',
    { environment: { NCCL_PROTO: 'Simple' } },
    {},
  ],
  ['graph-modules', '--cuda-graph-modules moe_preprocess', '--cuda-graph-modules moe_router moe_preprocess'],
  [
    'graph-modules',
    '--cuda-graph-impl full_iteration',
    '--cuda-graph-impl full_iteration --no-check-for-nan-in-loss-and-grad',
  ],
  [
    'graphs-and-segments',
    '--cuda-graph-impl transformer_engine',
    '--cuda-graph-impl transformer_engine',
    { environment: { PYTORCH_CUDA_ALLOC_CONF: 'expandable_segments:True' } },
    { environment: { PYTORCH_CUDA_ALLOC_CONF: 'expandable_segments:True', NCCL_GRAPH_REGISTER: '0' } },
  ],
  [
    'dry-run-dispatcher',
    '--fake-process-group --moe-token-dispatcher-type flex',
    '--fake-process-group --moe-token-dispatcher-type alltoall',
  ],
  ['two-precisions', '--bf16 --fp16', '--bf16'],
  ['unknown-flag', '--tensor-model-paralel-size 2', '--tensor-model-parallel-size 2'],
  ['flag-value', '--num-layers many', '--num-layers 4'],
  ['flag-value', '--moe-token-dispatcher-type a2a', '--moe-token-dispatcher-type alltoall'],
  ['renamed-flag', '--moe-enable-deepep', '--moe-token-dispatcher-type flex'],
];

describe('every rule catches what breaks it and lets pass what does not', () => {
  const named = cases.map((one) => [`${one[0]}: ${one[1]}`, one] as const);

  test.each(named)('%s', (_name, [rule, breaks, keeps, breaking = {}, keeping = breaking]) => {
    expect(broken(breaks, breaking)).toContain(rule);
    expect(broken(keeps, keeping)).not.toContain(rule);
  });

  test('no rule is without a case', () => {
    const tried = new Set(cases.map(([rule]) => rule));
    expect(megatronRules.map(({ id }) => id).filter((id) => !tried.has(id))).toEqual([]);
  });

  test('every field that a rule names is set by a flag', () => {
    for (const { fields } of megatronRules)
      for (const field of fields) expect(() => megatronFlags.ofField(field)).not.toThrow();
  });
});

test('rules say nothing of what is not known', () => {
  const known =
    '--num-experts 8 --disable-bias-linear --moe-aux-loss-coeff 0.01 --moe-router-dtype fp32 ' +
    '--moe-token-dispatcher-type alltoall';
  const unknown = '\uE000$TP\uE001';
  const flags =
    `${known} --expert-tensor-parallel-size 1 --sequence-parallel --num-attention-heads 30 ` +
    `--tensor-model-parallel-size ${unknown}`;
  expect(broken(flags, { gpus: 7 })).toEqual([]);
});

/** Megatron's own way to groups: the ranks of a stage are cut twice, for attention and for experts. */
function fits(gpus: number, attention: number, experts: number, stages: number): boolean {
  return gpus % stages === 0 && (gpus / stages) % attention === 0 && (gpus / stages) % experts === 0;
}

test('the smallest world is the least that both mappings fit, and its neighbours are legal', () => {
  for (const tensor of [1, 2, 3, 4, 6, 8])
    for (const expert of [1, 2, 4, 8, 12])
      for (const pipeline of [1, 2, 3]) {
        const flags =
          `--num-experts 96 --tensor-model-parallel-size ${tensor} --expert-model-parallel-size ` +
          `${expert} --pipeline-model-parallel-size ${pipeline} --expert-tensor-parallel-size 1`;
        const run = runOf(flags);
        const worlds = Array.from({ length: 200 }, (_, index) => index + 1).filter((gpus) =>
          fits(gpus, tensor, expert, pipeline),
        );
        expect(smallestWorld(run)).toBe(worlds[0]);
        const near = neighbouringWorlds(run, 50);
        expect(near?.below).toBe(worlds.filter((gpus) => gpus <= 50).at(-1));
        expect(near?.above).toBe(worlds.find((gpus) => gpus >= 50));
        for (const size of legalExpertSizes(run, 48)) expect(fits(48, 1, size, pipeline)).toBe(true);
      }
});

test('a flag is found by each of its spellings, and sets its field', () => {
  for (const flag of megatronFlags.flags)
    for (const name of flag.names) expect(megatronFlags.get(name)?.field).toBe(flag.field);
  expect(megatronFlags.flags.length).toBeGreaterThan(800);
});
