/**
 * Peaks of memory that others measured, of runs whose configuration is published whole: model, layout, batch, optimizer
 * and recomputation. `microBatches` lists several runs of one configuration with the same peak.
 */
export interface PublishedPeak {
  readonly source: string;
  readonly model: string;
  readonly layout: string;
  readonly sequence: number;
  readonly microBatches: readonly number[];
  /** What PyTorch's allocator had handed out at its highest, GiB. */
  readonly allocatedGib: number;
}

/**
 * MooreThreads/SimuMax docs/b200/b200_release_v1.2_summary.md: Megatron 0.14 on 8 B200, distributed optimizer, fused
 * cross entropy, no recomputation.
 */
const simuMax = 'SimuMax v1.2, Megatron 0.14, 8 B200';

type Row = readonly [model: string, layout: string, sequence: number, microBatches: readonly number[], gib: number];

const rows: readonly Row[] = [
  ['llama3-70b truncated to 12 layers', 'tp=1,cp=1,dp=4,pp=2', 4096, [4, 8, 32], 66.55],
  ['llama3-70b truncated to 12 layers', 'tp=2,cp=1,dp=4,pp=1,sp', 4096, [4, 8, 32], 60.68],
  ['llama3-70b truncated to 12 layers', 'tp=4,cp=1,dp=2,pp=1,sp', 4096, [4, 8, 32], 39.07],
  ['llama3-70b truncated to 12 layers', 'tp=8,cp=1,dp=1,pp=1,sp', 4096, [4, 8, 32], 28.29],
  ['deepseek-v2 truncated to 4 layers', 'tp=1,cp=1,dp=8,pp=1,ep=8', 4096, [4, 8, 32], 45.63],
  ['deepseek-v2 truncated to 4 layers', 'tp=1,cp=1,dp=4,pp=2,ep=4', 4096, [4, 8, 32], 44.7],
  ['llama3-405b truncated to 4 layers', 'tp=1,cp=1,dp=4,pp=2', 4096, [4, 8, 32], 87.08],
  ['llama3-405b truncated to 4 layers', 'tp=2,cp=1,dp=4,pp=1,sp', 4096, [4, 8, 32], 81.59],
  ['llama3-405b truncated to 4 layers', 'tp=4,cp=1,dp=2,pp=1,sp', 4096, [4, 8, 32], 52.89],
  ['llama3-405b truncated to 4 layers', 'tp=8,cp=1,dp=1,pp=1,sp', 4096, [4, 8, 32], 38.57],
  ['llama3-70b truncated to 12 layers', 'tp=2,cp=4,dp=1,pp=1,sp', 32768, [4], 68.43],
  ['llama3-70b truncated to 12 layers', 'tp=1,cp=8,dp=1,pp=1', 32768, [4], 104.51],
  ['llama3-405b truncated to 4 layers', 'tp=2,cp=4,dp=1,pp=1,sp', 32768, [4], 87.03],
  ['llama3-405b truncated to 4 layers', 'tp=1,cp=8,dp=1,pp=1', 32768, [4], 139.22],
  ['llama3-70b truncated to 12 layers', 'tp=2,cp=4,dp=1,pp=1,sp', 131072, [4], 112.67],
  ['llama3-70b truncated to 12 layers', 'tp=1,cp=8,dp=1,pp=1', 131072, [4], 147.99],
  ['llama3-405b truncated to 4 layers', 'tp=2,cp=4,dp=1,pp=1,sp', 131072, [4], 118.13],
];

export const publishedPeaks: readonly PublishedPeak[] = [
  ...rows.map(([model, layout, sequence, microBatches, allocatedGib]) => ({
    source: simuMax,
    model,
    layout,
    sequence,
    microBatches,
    allocatedGib,
  })),
  {
    source: 'Megatron-Bridge@067f987, nemo-mbridge-perf-expert-parallel-overlap, 16 H100, HybridEP',
    model: 'qwen3-30b-a3b',
    layout: 'dp=16,ep=16',
    sequence: 4096,
    microBatches: [64],
    allocatedGib: 62.166,
  },
];
