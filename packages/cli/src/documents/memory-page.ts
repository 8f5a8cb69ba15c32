/** The page on predicted memory: published peaks beside predictions, what is counted from what, and what is not. */
import { formatPercent } from '@monta/core';
import {
  deepSeekBreakdown,
  familyOfPeak,
  predictPublished,
  type BreakdownPart,
  type PredictedPeak,
} from '@monta/core/memory';
import { quantile } from '@monta/core/units';

const row = (...cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
const signed = (share: number): string => `${share < 0 ? '−' : '+'}${formatPercent(Math.abs(share))}`;

function peaksTable(peaks: readonly PredictedPeak[]): string {
  const lines = peaks.map(({ row: { model, layout, sequence, microBatches, allocatedGib }, predictedGib, error }) =>
    row(
      model,
      `\`${layout}\``,
      sequence,
      microBatches.join(', '),
      allocatedGib.toFixed(2),
      predictedGib.toFixed(2),
      signed(error),
    ),
  );
  return [
    row('model', 'layout', 'sequence', 'micro-batches', 'published, GiB', 'predicted, GiB', 'error'),
    '|---|---|--:|--:|--:|--:|--:|',
    ...lines,
  ].join('\n');
}

/** Absolute errors by family of models, a run each. */
function familiesTable(peaks: readonly PredictedPeak[]): string {
  const families = new Map<string, PredictedPeak[]>();
  for (const one of peaks) {
    const family = familyOfPeak(one.row);
    families.set(family, [...(families.get(family) ?? []), one]);
  }
  const lines = [...families].map(([family, those]) => {
    const errors = those
      .flatMap(({ row: { microBatches }, error }) => microBatches.map(() => error))
      .toSorted((a, b) => Math.abs(a) - Math.abs(b));
    const sizes = errors.map(Math.abs);
    return row(family, errors.length, formatPercent(quantile(sizes, 0.5)), signed(errors.at(-1) ?? 0));
  });
  return [row('family', 'runs', 'median error', 'worst'), '|---|--:|--:|--:|', ...lines].join('\n');
}

function breakdownTable(parts: readonly BreakdownPart[]): string {
  const lines = parts.map(({ what, publishedGib, predictedGib, error }) =>
    row(what, publishedGib.toFixed(1), predictedGib.toFixed(1), signed(error)),
  );
  return [row('part', 'published, GB', 'predicted, GiB', 'error'), '|---|--:|--:|--:|', ...lines].join('\n');
}

/** Published rows whose configuration is not whole, each kind with what is missing. */
const leftOut: readonly (readonly [rows: string, missing: string])[] = [
  ['Megatron-LM functional tests (Mixtral, a DeepSeek-V3 proxy; 11)', 'number of GPUs; routing is natural'],
  ['Megatron-Bridge cards of Nemotron 3 (9)', 'layouts; state-space layers have no program here'],
  ['TorchTitan on 8 B200 (1)', 'what of a layer is recomputed'],
  ['DeepSeek-V3 in MXFP8 (1)', 'number of GPUs; copies in 8 bits are not counted'],
  ['GPT-22B to 1T (14)', 'nothing, but they are computed by a formula, not measured'],
];

const counted: readonly (readonly [what: string, from: string])[] = [
  [
    'weights, gradients, optimizer states',
    'weights that the compiled templates name, split by `--sharing` (ZeRO 1 to 3, distributed optimizer, FSDP) and ' +
      '`--weight-shards` (GTP)',
  ],
  [
    'weights and gradients that are whole only while their layer is at work (ZeRO 2 and 3, FSDP, GTP)',
    'lifetimes of what the nodes `gather` and `scatter` of the same program hand out ([schedule](schedule.md)): ' +
      'weights of two layers (the one at work, the one fetched ahead), gradients of the layer at work and of the one ' +
      'before, the embedding and the head alike',
  ],
  [
    'activations, buffers of dispatch and combine, logits',
    'lifetimes of the compiled program of the stage, with its micro-batches in flight; experts at `--imbalance` ' +
      'times the mean, which is also what a rank capacity factor reserves',
  ],
  [
    'paged stash (`--paged-stash 1.1 --imbalance 4`)',
    'pages of 64 rows for what experts keep, the factor times what balanced routing keeps ' +
      '(`moe_paged_stash_buffer_size_factor_cuda`); buffers of the layer at work at the rank capacity besides ' +
      '(megatron/core/transformer/moe/paged_stash.py); no published peak to hold it against',
  ],
  [
    'NCCL',
    '160 MiB a communicator: 16 channels, two neighbours, 5 MiB each (NCCL_BUFFSIZE and the two other protocols)',
  ],
  [
    'DeepEP (`--exchange deepep`)',
    '`get_nvl_buffer_size_hint` and `get_rdma_buffer_size_hint` of its recommended settings',
  ],
  [
    'HybridEP (`--exchange hybridep`)',
    'allocations of its buffers inside a domain and between domains, sized for all tokens of the group at one rank',
  ],
  ['libraries, driver, allocator', 'cuBLAS work space, 0.5 GiB of context, 6 % held besides by the allocator'],
];

const notCounted: readonly string[] = [
  'copies of weights and activations in fp8 and fp4',
  'what a paged stash spills to the host',
  'NCCL: point-to-point connections of all_to_all, registered and symmetric buffers, NVLS',
  'NCCL EP and NVSHMEM heaps',
  'offload to the host; CUDA graphs and their pools',
  'activations of multi-token prediction (states are counted)',
];

/** Everything on the page follows from the figures kept in the repository. */
export function memoryPage(): string {
  const peaks = predictPublished();
  const runs = peaks.flatMap(({ row: { microBatches }, error }) => microBatches.map(() => Math.abs(error)));
  const sorted = runs.toSorted((a, b) => a - b);
  const worst = peaks.reduce((one, other) => (Math.abs(other.error) > Math.abs(one.error) ? other : one));
  const { model, layout, sequence } = worst.row;
  const worstText = `${signed(worst.error)}: ${model}, \`${layout}\`, sequence ${sequence}`;
  return `# Predicted memory

Written by \`npm run docs:memory\`. What PyTorch's allocator had handed out at its highest, as others published it, \
beside \`monta memory\`'s figure for the same run, balanced. Rows with a full configuration: SimuMax (Megatron 0.14 on \
8 B200) and Megatron-Bridge's Qwen3-30B on 16 H100. What Megatron-Core keeps was worked out on part of these rows.

${row('runs', 'median error', '90th percentile', 'worst')}
|--:|--:|--:|---|
${row(runs.length, ...[0.5, 0.9].map((share) => formatPercent(quantile(sorted, share))), worstText)}

${peaksTable(peaks)}

By family, so that each can be read without the others:

${familiesTable(peaks)}

No number of the prediction is fitted to these rows. What a framework keeps is a list of yes and no \
(\`packages/core/src/memory/convention.ts\`), each with the line of Megatron-Core or TransformerEngine that does it; \
work space is TransformerEngine's own. Such rules were looked for where rows were off, so a row is no test of a rule \
that it led to. [Accuracy](accuracy.md#memory) leaves each family out of choosing them.

## DeepSeek-V3 on 256 GPUs

arXiv 2603.07685, bf16, \`dp=64,pp=4,ep=64\`, 4 virtual stages, nothing recomputed, before the paper's optimisations; \
the third stage, whose 16 layers have experts. The paper's memory-efficient permutation is one of the optimisations \
and saves 26.3 GB: as much as rows of 60 layers and micro-batches take, and so many are in flight there.

${breakdownTable(deepSeekBreakdown())}

## The embedded runtime

Its report lists what each rank's arena handed out at its highest beside the same prediction, for even routing and \
for what the tokens had picked then: buffers of copies and of dropped picks depend on which tokens picked what. A test \
does so for thirty seeded runs (layouts, any two halves of dispatchers, chunks, micro-batches, drops, skewed and \
starved routing, recomputation; \`packages/runtime/src/execute/memory.test.ts\`): within 2 % each, passes alone and \
all together. Before a run only even routing is known, and what a run then needs beyond it is its skew.

It keeps all states on every rank: \`--sharing\` beyond \`none\` is planned and simulated, and \`monta train\` refuses \
a plan that has it.

## Published, and left out

| rows | what is missing |
|---|---|
${leftOut.map((one) => row(...one)).join('\n')}

## What is counted, and from what

| what | from |
|---|---|
${counted.map((one) => row(...one)).join('\n')}

Not counted:

${notCounted.map((one) => `- ${one}`).join('\n')}
`;
}
