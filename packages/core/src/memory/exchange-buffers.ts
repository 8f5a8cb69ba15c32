/**
 * Buffers that libraries keep for exchanging experts' rows, beside the framework's tensors and NCCL's communicators.
 * They are made once, for the largest exchange, and shared by all layers.
 */
import { groupSize } from '../layout/mesh.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import { stepTokens, type StepShape } from '../schedule/step-shape.js';

/** nccl: all_to_all through the communicator's own buffers. */
export const exchangeLibraries = ['nccl', 'deepep', 'hybridep'] as const;
export type ExchangeLibrary = (typeof exchangeLibraries)[number];

const [int32, int64, float32] = [4, 8, 4] as const;

/** Rows that a peer's queue holds, over NVLink and over RDMA, by ranks of the expert group. */
interface Queues {
  readonly nvlink: number;
  readonly rdma: number;
}

/** 128 rows over RDMA, rounded up to whole chunks of what is sent at a time. */
const inChunksOf = (chunk: number): number => Math.ceil(128 / chunk) * chunk;

/** DeepEP's `Buffer.get_dispatch_config` (deep_ep/buffer.py), whose queues are no shorter than those of the combine. */
const deepEpQueues: readonly (readonly [ranks: number, queues: Queues])[] = [
  [2, { nvlink: 256, rdma: inChunksOf(6) }],
  [4, { nvlink: 256, rdma: inChunksOf(6) }],
  [8, { nvlink: 256, rdma: inChunksOf(6) }],
  [16, { nvlink: 288, rdma: inChunksOf(20) }],
  [24, { nvlink: 288, rdma: inChunksOf(8) }],
  [32, { nvlink: 288, rdma: inChunksOf(8) }],
  [48, { nvlink: 288, rdma: inChunksOf(8) }],
  [64, { nvlink: 288, rdma: inChunksOf(8) }],
  [96, { nvlink: 480, rdma: inChunksOf(12) }],
  [128, { nvlink: 560, rdma: inChunksOf(12) }],
  [144, { nvlink: 720, rdma: inChunksOf(12) }],
  [160, { nvlink: 720, rdma: inChunksOf(12) }],
];

/** Of a group, or of the next larger one that has settings. */
function queuesOf(ranks: number): Queues {
  const found = deepEpQueues.find(([most]) => ranks <= most) ?? deepEpQueues.at(-1);
  if (found === undefined) throw new RangeError('no settings');
  return found[1];
}

/** `Buffer.num_sms` is 20; two multiprocessors serve a channel. */
const deepEpChannels = 10;
/** `NUM_MAX_NVL_PEERS`. */
const nvlinkPeers = 8;
/** Picks and scales that a row has room for beside itself, and where it came from (`SourceMeta`). */
const besideRow = 128 * int64 + 128 * float32 + 128 * float32 + 8;
/** Rows over RDMA end with a control word (`int4`). */
const controlBytes = 16;

/** DeepEP's normal mode: `get_nvl_buffer_size_hint` and `get_rdma_buffer_size_hint` (csrc/config.hpp). */
function deepEpBytes(ranks: number, rowBytes: number): number {
  const queues = queuesOf(ranks);
  const nodes = Math.max(1, ranks / nvlinkPeers);
  const peers = Math.min(ranks, nvlinkPeers);
  const nvlink = deepEpChannels * peers * ((2 * nodes + 3) * int32 + queues.nvlink * (rowBytes + besideRow));
  if (ranks <= nvlinkPeers) return nvlink;
  const flags = (nvlinkPeers * 2 + 2) * 2 * int32;
  const rdma = deepEpChannels * nodes * (flags + 2 * queues.rdma * (rowBytes + besideRow + controlBytes));
  return nvlink + rdma;
}

interface Exchange {
  readonly ranks: number;
  /** Tokens of a rank. */
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly experts: number;
  /** Ranks that reach each other over NVLink. */
  readonly domain: number;
}

/**
 * DeepEP's branch hybrid-ep (csrc/hybrid_ep/buffer/intranode.cu, internode.cu), rows in 16 bits: buffers of a domain
 * are sized for every token of the group at one rank, dispatch and combine share them.
 */
function hybridEpBytes({ ranks, tokens, hiddenSize, experts, domain }: Exchange): number {
  const perRank = Math.min(domain, ranks);
  const others = Math.ceil(ranks / perRank) - 1;
  const local = (experts / ranks) * perRank;
  const [row, scales] = [2 * hiddenSize, (hiddenSize / 128) * float32];
  const inside = tokens * ranks * (row + local * float32 + scales);
  if (others === 0) return inside;
  const sent = tokens * (row + experts * float32 + scales);
  const arrived = tokens * others * (row + local * float32 + scales);
  const combined = 2 * tokens * others * (row + local * float32);
  return inside + sent + arrived + combined;
}

/** Bytes of a rank beside its communicators. */
export function exchangeBufferBytes(library: ExchangeLibrary, step: StepShape): number {
  const { model, layout, dtype } = step;
  const ranks = groupSize(layout, 'expert');
  if (library === 'nccl' || ranks === 1 || model.experts === 0) return 0;
  const { hiddenSize, experts } = model;
  // Megatron-Core's `get_hidden_bytes`: at least 16 bits an element.
  if (library === 'deepep') return deepEpBytes(ranks, hiddenSize * Math.max(2, dtypeBytes[dtype]));
  const tokens = Math.ceil(stepTokens(step) / layout.tp);
  return hybridEpBytes({ ranks, tokens, hiddenSize, experts, domain: layout.ranksPerNode ?? nvlinkPeers });
}
