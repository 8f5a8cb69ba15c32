/**
 * What a description of a node's wiring says (`nvidia-smi topo -m`, NCCL's topology XML, hwloc's XML): its GPUs, its
 * NICs, how near they are, and NVLink. It is what was written; `topology-cluster.ts` fills gaps.
 */

/** How near two devices are, nearest first, in the words of `nvidia-smi topo -m`. */
export const proximities = ['PIX', 'PXB', 'PHB', 'NODE', 'SYS'] as const;
export type Proximity = (typeof proximities)[number];

export interface TopologyGpu {
  /** `GPU0`, or the address on the PCI bus. */
  readonly name: string;
  /** What it is, in the words of the file or by its PCI id: `H100-SXM5-80GB`; absent where nothing says it. */
  readonly model?: string;
  /** Compute capability times ten, as `sm="90"` of NCCL's dumps. */
  readonly capability?: number;
  readonly numa?: number;
}

export interface TopologyNic {
  /** `mlx5_0`, or the address on the PCI bus. */
  readonly name: string;
  readonly model?: string;
  /** What it sends in one direction, bytes/s; absent where the file does not say it and nothing tells. */
  readonly bytesPerSecond?: number;
  /** Whether the file names the speed, or it is that of such a card, or of the PCI slot. */
  readonly speedGround?: 'given' | 'card' | 'slot';
  /** What its PCIe slot carries, where the file names slot and speed. */
  readonly slotBytesPerSecond?: number;
  /** What such a card sends, where the file names card and speed. */
  readonly cardBytesPerSecond?: number;
  readonly numa?: number;
}

/** What a tier's bandwidth and ports rest on; `measured` is for calibrations, a topology measures nothing. */
export type Ground = 'measured' | 'given' | 'guessed';

/** NVLink inside the node. */
export type NvLinks =
  /** Every GPU has so many links into a switch that joins all. */
  | { readonly kind: 'switched'; readonly links: number }
  /** Links between pairs: `between[a][b]`. */
  | { readonly kind: 'pairs'; readonly between: readonly (readonly number[])[] }
  /** The file lists links, and there are none. */
  | { readonly kind: 'none' }
  /** The file does not speak of links. */
  | { readonly kind: 'unsaid' };

export interface Topology {
  /** What program wrote the file. */
  readonly form: 'nvidia-smi topo -m' | 'NCCL topology XML' | 'hwloc XML';
  /** The file, for messages. */
  readonly where: string;
  /** Hosts that it describes: more than one where NVLink joins hosts. */
  readonly hosts: number;
  /** GPUs, in the order of the file. */
  readonly gpus: readonly TopologyGpu[];
  /** Network cards, in the order of the file. */
  readonly nics: readonly TopologyNic[];
  /** Of GPU g to NIC n: `proximity[g][n]`. */
  readonly proximity: readonly (readonly Proximity[])[];
  /** NVLink between the GPUs. */
  readonly nvlinks: NvLinks;
}

/** NICs that are nearest to a GPU, by index, in the order of the file. */
export function nearestNics(topology: Topology, gpu: number): number[] {
  const row = topology.proximity[gpu] ?? [];
  const rank = row.map((one) => proximities.indexOf(one));
  const least = rank.reduce((a, b) => Math.min(a, b), proximities.length);
  return rank.flatMap((one, nic) => (one === least ? [nic] : []));
}

/** NVLink as a matrix tells it: `counts[a][b]`, 0 where a pair has none. */
export function linksBetween(counts: readonly (readonly number[])[]): NvLinks {
  const pairs = counts.flatMap((row, a) => row.filter((_, b) => a !== b));
  const most = pairs.reduce((a, b) => Math.max(a, b), 0);
  if (most === 0) return { kind: 'none' };
  const [first] = pairs;
  // Behind a switch every pair has all links of a GPU; direct links are shared out over the peers.
  const uniform = pairs.every((one) => one === first);
  const peers = counts.length - 1;
  return uniform && (most >= leastSwitched || most * peers > mostDirect)
    ? { kind: 'switched', links: most }
    : { kind: 'pairs', between: counts.map((row, a) => row.map((one, b) => (a === b ? 0 : one))) };
}

/** GPUs without a switch have at most 12 links to share out (HGX A100 of four); H100 and later have 18 and a switch. */
const mostDirect = 12;
const leastSwitched = 18;

/** One link of NVLink in one direction, bytes/s: 25 GB/s up to generation 4, 50 GB/s with generation 5. */
export const linkBytesPerSecond = (family: string): number => (/^g?b[23]00$/u.test(family) ? 50e9 : 25e9);

/** NICs that carry training traffic: those next to a GPU where any is, and of these the fastest. */
export function trainingNics({ nics, proximity }: Topology): number[] {
  const least = proximity
    .flat()
    .map((one) => proximities.indexOf(one))
    .reduce((a, b) => Math.min(a, b), proximities.length);
  // A switch next to some GPUs makes all that are behind switches near; else the nearest there are.
  const reach = Math.max(least, proximities.indexOf('PXB'));
  const near = nics.flatMap((_, nic) =>
    proximity.some((row) => proximities.indexOf(row[nic] ?? 'SYS') <= reach) ? [nic] : [],
  );
  const fastest = near.reduce((most, nic) => Math.max(most, nics[nic]?.bytesPerSecond ?? 0), 0);
  return near.filter((nic) => (nics[nic]?.bytesPerSecond ?? 0) === fastest);
}
