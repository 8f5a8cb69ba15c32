/** What the wiring of a node says of a slow exchange between nodes: how many NICs there are, and how far they are. */
import type { Cluster } from '../cluster/cluster.js';
import type { Topology } from '../cluster/topology/index.js';
import type { NcclLog } from './nccl-log.js';
import type { Suspect } from './suspect.js';

/** Across sockets, or across host bridges of one: bytes pass the processor. */
const far: readonly string[] = ['SYS', 'NODE'];
/** Nearest first. */
const order: readonly string[] = ['PIX', 'PXB', 'PHB', 'NODE', 'SYS'];

const listed = (names: readonly string[]): string => names.join(', ');

/** NICs by index that NCCL uses; all where a log does not say, or names none of the file. */
function usedNics({ nics }: Topology, log: NcclLog | undefined): number[] {
  const used = nics.flatMap(({ name }, index) => (log?.nics.includes(name) === true ? [index] : []));
  return used.length > 0 ? used : nics.map((_, index) => index);
}

function countSuspect({ nics, where }: Topology, { tiers, name }: Cluster): Suspect | undefined {
  const ports = tiers[1]?.ports ?? 1;
  return nics.length < ports
    ? {
        what: `the node has ${nics.length} NICs, and ${name} ${ports}`,
        evidence: `${where}: ${listed(nics.map((nic) => nic.name))}`,
        mend: `expect what they carry: monta doctor --cluster ${where}; or look for cards that are missing (lspci)`,
      }
    : undefined;
}

function unusedSuspect(topology: Topology, log: NcclLog | undefined): Suspect | undefined {
  const used = usedNics(topology, log);
  const unused = topology.nics.filter((_, index) => !used.includes(index)).map(({ name }) => name);
  return unused.length > 0
    ? {
        what: `${unused.length} of ${topology.nics.length} NICs carry nothing`,
        evidence: `${topology.where} has ${listed(unused)}, which NCCL's log does not use`,
        mend: `NCCL_IB_HCA=${topology.nics.map(({ name }) => name).join(',')}; ports that are down (ibstat)`,
      }
    : undefined;
}

/** The used NIC that is nearest to a GPU. */
function nearestUsed({ proximity }: Topology, gpu: number, used: readonly number[]): { nic: number; way: string } {
  const ways = used.map((nic) => ({ nic, way: proximity[gpu]?.[nic] ?? 'SYS' }));
  return ways.reduce((best, one) => (order.indexOf(one.way) < order.indexOf(best.way) ? one : best), {
    nic: used[0] ?? 0,
    way: 'SYS',
  });
}

function affinitySuspect(topology: Topology, log: NcclLog | undefined): Suspect | undefined {
  const used = usedNics(topology, log);
  if (used.length === 0) return undefined;
  const distant = topology.gpus.flatMap(({ name }, gpu) => {
    const { nic, way } = nearestUsed(topology, gpu, used);
    return far.includes(way) ? [{ name, way, nic: topology.nics[nic]?.name ?? '' }] : [];
  });
  const [first] = distant;
  return first === undefined
    ? undefined
    : {
        what: `${distant.length} of ${topology.gpus.length} GPUs reach their NIC through the processor`,
        evidence: `${topology.where}: ${first.name} to ${first.nic} is ${first.way}`,
        mend: 'a NIC behind the PCIe switch of each GPU (PIX, PXB); NCCL_IB_HCA with those; NCCL_CROSS_NIC unset',
      };
}

function sharedSuspect(topology: Topology, log: NcclLog | undefined): Suspect | undefined {
  const used = usedNics(topology, log);
  const fair = Math.ceil(topology.gpus.length / Math.max(1, used.length));
  const behind = new Map<number, number>();
  topology.gpus.forEach((_, gpu) => {
    const { way } = nearestUsed(topology, gpu, used);
    const alike = used.filter((nic) => topology.proximity[gpu]?.[nic] === way);
    // of several as near NCCL spreads GPUs over them
    const chosen = alike.reduce((least, nic) => ((behind.get(nic) ?? 0) < (behind.get(least) ?? 0) ? nic : least));
    behind.set(chosen, (behind.get(chosen) ?? 0) + 1);
  });
  const [worst, gpus] = [...behind].reduce((most, one) => (one[1] > most[1] ? one : most), [0, 0] as [number, number]);
  return gpus > fair
    ? {
        what: `${gpus} GPUs share ${topology.nics[worst]?.name ?? 'a NIC'}, where ${fair} would be even`,
        evidence: `${topology.where}: it is the nearest to all of them`,
        mend: 'NICs spread over the PCIe switches; with few, NCCL_CROSS_NIC=1 or PXN lets the others help',
      }
    : undefined;
}

/** Suspects of an exchange between nodes, what loses most first. */
export const topologySuspects = (topology: Topology, cluster: Cluster, log: NcclLog | undefined): Suspect[] =>
  topology.nics.length === 0
    ? []
    : [
        unusedSuspect(topology, log),
        countSuspect(topology, cluster),
        affinitySuspect(topology, log),
        sharedSuspect(topology, log),
      ].filter((one) => one !== undefined);
