/** What communication takes from kernels and does for them, by library and version. */
export type LibraryName = 'nccl' | 'deepep-v1' | 'deepep-v2' | 'hybridep';

export interface CommunicationLibrary {
  readonly name: LibraryName;
  /** Held by each running collective. */
  readonly multiprocessors: number;
  /** What one multiprocessor moves, bytes/s; absent where links or the copy engines set the pace. */
  readonly bytesPerSecond?: number;
  /** Row moves (tasks of the templates) that its transfers do on the way, so that no kernel of their own runs. */
  readonly fuses: readonly string[];
  /** What is known of it: the range, and where from. */
  readonly source: string;
}

export const nccl: CommunicationLibrary = {
  name: 'nccl',
  multiprocessors: 16,
  fuses: [],
  source: 'NCCL: one for each channel, 16 of them on an H800 node (log in NVIDIA/nccl#892)',
};

/** A transfer reads tokens where they lie and adds up what comes back. */
const atTokens = ['pack', 'sum.copies', 'fan'];
/** It also places rows by expert, and weighs and sums experts' rows on the way back. */
const atExperts = [...atTokens, 'place', 'sum.experts', 'weigh'];

export const communicationLibraries: readonly CommunicationLibrary[] = [
  nccl,
  {
    name: 'deepep-v1',
    multiprocessors: 20,
    bytesPerSecond: 16e9,
    fuses: atTokens,
    source:
      'DeepEP V1: 20 in the DeepSeek-V3 report (arXiv 2412.19437), 24 in its README; 16 GB/s each: 13 to 17 with 4 ' +
      'to 24 of them in ai-dynamo/aiconfigurator, wideep_deepep_normal_perf',
  },
  {
    name: 'deepep-v2',
    multiprocessors: 6,
    fuses: atTokens,
    source: 'DeepEP V2: 4 to 6 (README of deepseek-ai/DeepEP, epv2)',
  },
  {
    name: 'hybridep',
    multiprocessors: 16,
    bytesPerSecond: 28e9,
    fuses: atExperts,
    source:
      'HybridEP: 4 to 16; 16 is the default of Megatron-Core (moe_hybridep_num_sms); 28 GB/s each: an assumption, ' +
      'that this default fills the NVLink of a Hopper GPU',
  },
];
