/**
 * Which card a rank works on, and which host NCCL takes it for. NCCL refuses two ranks of one communicator on one card
 * of one host; ranks that share a card pass for hosts of their own, and one machine can stand for several nodes.
 */
import { InputError, minOf } from '@monta/core/units';

export interface GpuPlace {
  /** Number of the card on this machine. */
  readonly gpu: number;
  /** The node that the rank stands on, counted from 0. */
  readonly node: number;
  /** What NCCL takes for the rank's host; undefined: the machine itself. */
  readonly host: string | undefined;
  /** Ranks on the card. */
  readonly sharers: number;
}

export interface GpuPlacesOptions {
  readonly ranks: number;
  readonly gpus: number;
  /** This machine stands for nodes of so many ranks; all ranks on one node unless given. */
  readonly ranksPerNode?: number;
}

/**
 * Places of all ranks. Ranks of one node lie on cards one after another, those of the next node one card further, so
 * that ranks of equal place in different nodes use different cards where there are two. Where a node has more ranks
 * than the machine has cards, each rank passes for a host of its own, and everything goes over the network.
 */
export function gpuPlaces({ ranks, gpus, ranksPerNode = ranks }: GpuPlacesOptions): GpuPlace[] {
  if (!Number.isInteger(ranksPerNode) || ranksPerNode < 1 || ranks % ranksPerNode !== 0)
    throw new InputError(`${ranks} ranks do not fill nodes of ${ranksPerNode} ranks`, {
      expected: `ranks per node that divide ${ranks}`,
    });
  if (gpus < 1) throw new InputError('this machine has no card that CUDA can use', { hint: 'see nvidia-smi' });
  const shared = ranksPerNode > gpus;
  const virtual = shared || ranksPerNode < ranks;
  const places = Array.from({ length: ranks }, (_, rank) => {
    const node = Math.floor(rank / ranksPerNode);
    const gpu = ((rank % ranksPerNode) + node) % gpus;
    const host = shared ? `monta-rank-${rank}` : `monta-node-${node}`;
    return { gpu, node, host: virtual ? host : undefined };
  });
  return places.map((place) => ({ ...place, sharers: places.filter(({ gpu }) => gpu === place.gpu).length }));
}

/** A rank that somebody else's launcher started: its host, and the cards that its process sees there. */
export interface HostedRank {
  readonly host: string;
  /** Names of the cards, the same for every process that sees them. */
  readonly cards: readonly string[];
}

/**
 * Places of ranks that somebody else's launcher started, by rank. On one host that shows all cards to all ranks as
 * `gpuPlaces`; where each rank sees cards of its own, as Slurm binds them, it takes one of those. Throws `InputError`
 * where ranks of several hosts would share a card, or stand for other nodes than their hosts.
 */
export function startedPlaces(
  ranks: readonly HostedRank[],
  { localSize, ranksPerNode = localSize }: { readonly localSize: number; readonly ranksPerNode?: number },
): GpuPlace[] {
  const none = ranks.findIndex(({ cards }) => cards.length === 0);
  if (none >= 0)
    throw new InputError(`rank ${none} on host ${ranks[none]?.host} sees no card that CUDA can use`, {
      hint: 'see nvidia-smi there, and CUDA_VISIBLE_DEVICES',
    });
  const oneHost = localSize === ranks.length;
  const [first] = ranks;
  const alike = ranks.every(({ cards }) => cards.join('\n') === first?.cards.join('\n'));
  if (oneHost && alike) return gpuPlaces({ ranks: ranks.length, gpus: first?.cards.length ?? 0, ranksPerNode });
  if (!oneHost && ranksPerNode !== localSize)
    throw new InputError(`nodes of ${ranksPerNode} ranks, where every host has ${localSize}`, {
      file: '--ranks-per-node',
      expected: 'none: hosts are nodes',
    });
  const takers = new Map<string, number[]>();
  const nameOf = (rank: number, card: number): string => {
    const own = ranks[rank];
    return `${Math.floor(rank / localSize)} ${own?.cards[card] ?? ''}`;
  };
  const taken = ranks.map(({ cards }, rank) => {
    const free = cards.map((_, card) => takers.get(nameOf(rank, card))?.length ?? 0);
    const gpu = free.indexOf(minOf(free));
    const name = nameOf(rank, gpu);
    takers.set(name, [...(takers.get(name) ?? []), rank]);
    return gpu;
  });
  const crowd = [...takers.values()].find(({ length }) => length > 1);
  if (crowd !== undefined)
    throw new InputError(`ranks ${crowd.join(' and ')} would share a card of host ${ranks[crowd[0] ?? 0]?.host}`, {
      expected: 'a card for every rank, where ranks are on several hosts or see cards of their own',
    });
  const virtual = oneHost && ranksPerNode < ranks.length;
  return taken.map((gpu, rank) => {
    const node = Math.floor(rank / ranksPerNode);
    return { gpu, node, host: virtual ? `monta-node-${node}` : undefined, sharers: 1 };
  });
}

/**
 * Collectives of different communicators may start in another order on other ranks; each holds its multiprocessors
 * until its peers have come. They end all the same where all of them fit on the card at once (an H100 has 132
 * multiprocessors; say 8 communicators a rank) and none waits behind another in a queue of the card. A process has 32
 * queues at most; the multi-process service gives out no more than 64 (seen on an H200 with driver 580: 4 ranks of 16
 * start, 8 of 16 do not).
 */
const queuesOfProcess = 32;
const queuesOfService = 64;
const sharedBlocks = 16;

/**
 * Environment of a rank for CUDA and NCCL: the host it passes for, whose network is the loopback, and what it may take
 * of a shared card.
 */
export function ncclEnvironment({ host, sharers }: GpuPlace): Record<string, string> {
  const blocks = String(Math.max(1, Math.floor(sharedBlocks / sharers)));
  const shared = Math.max(1, Math.floor(queuesOfService / sharers));
  const queues = Math.min(queuesOfProcess, sharers > 1 ? shared : queuesOfProcess);
  return {
    CUDA_DEVICE_MAX_CONNECTIONS: String(queues),
    ...(sharers > 1 ? { NCCL_MAX_CTAS: blocks, NCCL_MAX_P2P_NCHANNELS: blocks } : {}),
    ...(host === undefined
      ? {}
      : { NCCL_HOSTID: host, NCCL_SOCKET_IFNAME: 'lo', NCCL_IB_DISABLE: '1', NCCL_NVLS_ENABLE: '0' }),
  };
}
