/**
 * Communication kernels by their names. NCCL's name changed twice: ncclAllReduceRingLLKernel_sum_f32 (before 2.8),
 * ncclKernel_AllReduce_RING_LL_Sum_float (to 2.18), ncclDevKernel_AllReduce_Sum_f32_RING_LL (since 2.19), with
 * ncclSymkDevKernel_… for symmetric memory (since 2.27). Names of the libraries for expert parallelism: sources of
 * DeepEP (csrc/kernels, deep_ep/include, csrc/hybrid_ep) and of NCCL (contrib/nccl_ep).
 */
import type { ProfiledOp } from './profile.js';

export interface CommunicationKernel {
  readonly library: string;
  readonly op: ProfiledOp;
}

const ncclPattern =
  /^(?:void\s+)?(?:nccl(?:Dev)?Kernel_|ncclSymk?DevKernel_|msccl\w*Kernel_|nccl)(AllReduce|AllGatherV|AllGather|ReduceScatter|AlltoAll|AllToAll|SendRecv|Broadcast|Reduce|Gather|Scatter|Generic)/u;

const ncclOps: Readonly<Record<string, ProfiledOp>> = {
  AllReduce: 'all_reduce',
  AllGather: 'all_gather',
  AllGatherV: 'all_gather',
  ReduceScatter: 'reduce_scatter',
  AlltoAll: 'all_to_all',
  AllToAll: 'all_to_all',
  SendRecv: 'send_receive',
  Broadcast: 'broadcast',
  Reduce: 'reduce',
  Gather: 'gather',
  Scatter: 'scatter',
  // RCCL has one kernel for all
  Generic: 'unknown',
};

/** Expert parallelism, the first that fits; what is named after these decides what the kernel does. */
const expertLibraries: readonly (readonly [RegExp, string])[] = [
  [/nccl_ep/u, 'NCCL EP'],
  [/hybrid_ep/u, 'HybridEP'],
  [/deep_ep|dpsk::ep/u, 'DeepEP'],
  [/uccl.*::(?:intranode|internode)/u, 'UCCL-EP'],
  [/mori::moe/u, 'MORI'],
];

/** Parts of those libraries that only move or count rows of their own device. */
const localPattern = /get_dispatch_layout|epilogue|prologue|scan|permute|clean|preprocess/u;
const countsPattern = /notify|barrier|sync/u;

const others: readonly (readonly [RegExp, CommunicationKernel])[] = [
  [/multimem_all_reduce|(?:one|two)_shot_all_reduce/u, { library: 'symmetric memory', op: 'all_reduce' }],
  [/multimem_all_gather/u, { library: 'symmetric memory', op: 'all_gather' }],
  [/cross_device_reduce_/u, { library: 'custom all-reduce', op: 'all_reduce' }],
  [/userbuffers_fp16_sum|userbuffers_rs|reducescatter.*userbuffers/u, { library: 'userbuffers', op: 'reduce_scatter' }],
  [/userbuffers.*(?:pushrecv|pushsend|sendrecv)/u, { library: 'userbuffers', op: 'send_receive' }],
  [/nvshmem\w*(?:alltoall)/u, { library: 'NVSHMEM', op: 'all_to_all' }],
  [/nvshmem\w*barrier/u, { library: 'NVSHMEM', op: 'barrier' }],
];

function expertKernel(name: string): CommunicationKernel | undefined {
  const library = expertLibraries.find(([pattern]) => pattern.test(name))?.[1];
  if (library === undefined) return undefined;
  const plain = name.split(/[<(]/u, 1)[0] ?? name;
  if (localPattern.test(plain)) return undefined;
  if (countsPattern.test(plain)) return { library, op: 'notify' };
  if (/dispatch/iu.test(plain)) return { library, op: 'dispatch' };
  return /combine/iu.test(plain) ? { library, op: 'combine' } : undefined;
}

const known = new Map<string, CommunicationKernel | null>();

function classified(name: string): CommunicationKernel | undefined {
  const collective = ncclPattern.exec(name)?.[1];
  if (collective !== undefined) return { library: 'NCCL', op: ncclOps[collective] ?? 'unknown' };
  return expertKernel(name) ?? others.find(([pattern]) => pattern.test(name))?.[1];
}

/** What a kernel communicates; undefined for one that computes. */
export function communicationKernel(name: string): CommunicationKernel | undefined {
  let kind = known.get(name);
  if (kind === undefined) {
    kind = classified(name) ?? null;
    known.set(name, kind);
  }
  return kind ?? undefined;
}

/** The name without return type, template arguments and parameters. */
export const shortKernelName = (name: string): string =>
  name
    .replace(/^void\s+/u, '')
    .replaceAll('(anonymous namespace)::', '')
    .split(/[<(]/u, 1)[0] ?? name;
