/** Multiprocessors that communication takes from kernels, by library and version. */
export type LibraryName = 'nccl' | 'deepep-v1' | 'deepep-v2' | 'hybridep';

export interface CommunicationLibrary {
  readonly name: LibraryName;
  /** Held by each running collective. */
  readonly multiprocessors: number;
  /** What is known of it: the range, and where from. */
  readonly source: string;
}

export const nccl: CommunicationLibrary = {
  name: 'nccl',
  multiprocessors: 16,
  source: 'NCCL: one for each channel, 16 of them on an H800 node (log in NVIDIA/nccl#892)',
};

export const communicationLibraries: readonly CommunicationLibrary[] = [
  nccl,
  {
    name: 'deepep-v1',
    multiprocessors: 20,
    source: 'DeepEP V1: 20 in the DeepSeek-V3 report (arXiv 2412.19437), 24 in its README',
  },
  {
    name: 'deepep-v2',
    multiprocessors: 6,
    source: 'DeepEP V2: 4 to 6 (README of deepseek-ai/DeepEP, epv2)',
  },
  {
    name: 'hybridep',
    multiprocessors: 16,
    source: 'HybridEP: 4 to 16; 16 is the default of Megatron-Core (moe_hybridep_num_sms)',
  },
];
