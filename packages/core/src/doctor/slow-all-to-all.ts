/** What an all_to_all should reach on a cluster, tier by tier, what it did, and the likely causes of the difference. */
import type { Cluster } from '../cluster/cluster.js';
import type { Topology } from '../cluster/topology/index.js';
import { deviceCount } from '../cluster/ports.js';
import {
  busBytesPerSecond,
  collectiveSeconds,
  costModel,
  priceCollective,
  type Measurement,
  type PricedCollective,
} from '../cost/index.js';
import { fabricOf, type Fabric } from '../traffic/fabric.js';
import { formatBandwidth, formatPercent, InputError } from '../units/index.js';
import type { NcclLog } from './nccl-log.js';
import type { Suspect } from './suspect.js';
import { topologySuspects } from './topology-suspects.js';

/** One tier's share in a measured all_to_all. */
export interface TierReach {
  readonly name: string;
  /** Bytes through its busiest port in one direction. */
  readonly bytes: number;
  /** Of one port: what long messages reach. */
  readonly portBytesPerSecond: number;
  /** Of one port: what is to be expected of this exchange. */
  readonly expectedBytesPerSecond: number;
  /** Of one port: what this exchange reached. */
  readonly reachedBytesPerSecond: number;
  /** Seconds that its bytes need at the port's rate. */
  readonly boundSeconds: number;
}

export interface AllToAllDiagnosis {
  /** The exchange that was looked at. */
  readonly measurement: Measurement;
  /** By the cluster. */
  readonly expectedSeconds: number;
  /** By the cluster, as nccl-tests counts bus bandwidth. */
  readonly expectedBusBytesPerSecond: number;
  /** As measured, counted alike. */
  readonly measuredBusBytesPerSecond: number;
  /** Innermost first; only those that bytes cross. */
  readonly tiers: readonly TierReach[];
  /** Index in `tiers` of the one that binds. */
  readonly binding: number;
  /** Share of the measured time that the expected latency is. */
  readonly latencyShare: number;
  /** Most likely first; empty where nothing is slow. */
  readonly suspects: readonly Suspect[];
}

/** Measured time over the expected, above which it is called slow: the spread of NCCL's logs between runs. */
const slowRatio = 1.25;

/** Ranks of the measurement, on the first devices of as many nodes as it used. Throws `InputError`. */
function membersOf({ ranks, nodes, source, line }: Measurement, cluster: Cluster): number[] {
  const perNode = cluster.tiers[0]?.size ?? 1;
  const used = nodes ?? Math.ceil(ranks / perNode);
  const each = ranks / used;
  if (!Number.isInteger(each) || each > perNode || used * perNode > deviceCount(cluster))
    throw new InputError(`${ranks} ranks on ${used} nodes do not fit ${cluster.name}`, {
      file: source,
      line,
      expected: `at most ${deviceCount(cluster)} ranks, ${perNode} a node`,
      hint: 'name the cluster that was measured with --cluster',
    });
  return Array.from({ length: ranks }, (_, rank) => Math.floor(rank / each) * perNode + (rank % each));
}

/** Bytes that the collective puts on every port. */
function portLoads({ flows }: PricedCollective, fabric: Fabric): Float64Array {
  const loads = new Float64Array(fabric.ports.length);
  for (const { route, bytes } of flows) for (const port of route.ports) loads[port] = (loads[port] ?? 0) + bytes;
  return loads;
}

interface Times {
  readonly measured: number;
  readonly expected: number;
}

function tiersOf(priced: PricedCollective, fabric: Fabric, { measured, expected }: Times): TierReach[] {
  const tiers = new Map<number, TierReach>();
  portLoads(priced, fabric).forEach((bytes, id) => {
    const port = fabric.ports[id];
    if (port === undefined || bytes === 0 || bytes <= (tiers.get(port.tier)?.bytes ?? 0)) return;
    tiers.set(port.tier, {
      name: port.tierName,
      bytes,
      portBytesPerSecond: port.bytesPerSecond,
      expectedBytesPerSecond: bytes / expected,
      reachedBytesPerSecond: bytes / measured,
      boundSeconds: bytes / port.bytesPerSecond,
    });
  });
  return [...tiers].sort(([a], [b]) => a - b).map(([, reach]) => reach);
}

const has = (log: NcclLog, start: string): boolean => [...log.connections.keys()].some((one) => one.startsWith(start));

interface Known {
  readonly cluster: Cluster;
  readonly nodes: number;
  readonly log: NcclLog;
}

/** What a log proves or makes likely, worst first. */
const rules: readonly ((known: Known) => Suspect | undefined)[] = [
  ({ log, nodes }) =>
    nodes > 1 && (log.network === 'Socket' || has(log, 'NET/Socket'))
      ? {
          what: 'bytes between nodes go over TCP sockets',
          evidence: `NET/Socket${log.nics.length > 0 ? ` over ${log.nics.join(', ')}` : ''}`,
          mend:
            log.variables.get('NCCL_IB_DISABLE') === '1'
              ? 'unset NCCL_IB_DISABLE'
              : 'let NCCL find the adapters: libibverbs in the container, /dev/infiniband, NCCL_IB_HCA; on clouds ' +
                "the provider's plugin",
        }
      : undefined,
  ({ log, nodes }) =>
    nodes > 1 &&
    log.network !== 'Socket' &&
    (log.directRdma === false || (has(log, 'NET/IB') && !has(log, 'NET/IB/GDRDMA')))
      ? {
          what: "bytes between nodes are staged in the host's memory",
          evidence: log.directRdma === false ? 'GPU Direct RDMA disabled' : 'NET/IB without GDRDMA',
          mend:
            'load nvidia-peermem or use dma-buf; NCCL_NET_GDR_LEVEL=SYS where GPU and NIC are far apart; ' +
            'switch ACS off',
        }
      : undefined,
  ({ log }) =>
    has(log, 'SHM')
      ? {
          what: "bytes inside the node go through the host's memory",
          evidence: `SHM connections${log.variables.get('NCCL_P2P_DISABLE') === '1' ? ', NCCL_P2P_DISABLE=1' : ''}`,
          mend:
            log.variables.get('NCCL_P2P_DISABLE') === '1'
              ? 'unset NCCL_P2P_DISABLE'
              : 'P2P is refused: look at nvidia-smi topo -p2p r, ACS and IOMMU, and containers without shared PID ' +
                'or IPC',
        }
      : undefined,
  ({ log, cluster, nodes }) => {
    const ports = cluster.tiers[1]?.ports ?? 1;
    const adapters = log.variables.get('NCCL_IB_HCA');
    const named = adapters === undefined ? '' : `, now ${adapters}`;
    return nodes > 1 && log.network !== 'Socket' && log.nics.length > 0 && log.nics.length < ports
      ? {
          what: `${log.nics.length} of ${ports} NICs of a node are used`,
          evidence: `NET/${log.network ?? 'IB'} : Using ${log.nics.join(' ')}`,
          mend: `name them all: NCCL_IB_HCA${named}; look for ports that are down (ibstat)`,
        }
      : undefined;
  },
  ({ log, nodes }) =>
    nodes > 1 && (log.variables.get('NCCL_PXN_DISABLE') === '1' || log.variables.get('NCCL_CROSS_NIC') === '1')
      ? {
          what: 'messages cross rails',
          evidence: log.variables.get('NCCL_PXN_DISABLE') === '1' ? 'NCCL_PXN_DISABLE=1' : 'NCCL_CROSS_NIC=1',
          mend: 'leave both at their defaults: PXN carries messages to the GPU on the rail of the peer',
        }
      : undefined,
  ({ log }) => {
    const most = log.variables.get('NCCL_MAX_P2P_NCHANNELS');
    const perPeer = log.variables.get('NCCL_NCHANNELS_PER_NET_PEER') ?? log.variables.get('NCCL_NCHANNELS_PER_PEER');
    return most !== undefined || perPeer !== undefined
      ? {
          what: 'the channels of sends and receives are bounded',
          evidence: most === undefined ? `channels a peer set to ${perPeer ?? ''}` : `NCCL_MAX_P2P_NCHANNELS=${most}`,
          mend: 'an all_to_all is sends and receives: give it 16 channels or more, 2 to 4 a peer over the network',
        }
      : undefined;
  },
  ({ log }) => {
    const idle = ['NCCL_MAX_NCHANNELS', 'NCCL_MIN_NCHANNELS', 'NCCL_MAX_CTAS', 'NCCL_ALGO', 'NCCL_PROTO'].filter(
      (name) => log.variables.has(name),
    );
    return idle.length > 0
      ? {
          what: `${idle.join(', ')} ${idle.length === 1 ? 'was' : 'were'} set, and does not bind an all_to_all`,
          evidence: idle.map((name) => `${name}=${log.variables.get(name) ?? ''}`).join(' '),
          mend: 'sends and receives follow NCCL_MAX_P2P_NCHANNELS and NCCL_NCHANNELS_PER_NET_PEER',
        }
      : undefined;
  },
  ({ log }) =>
    log.variables.get('NCCL_IGNORE_CPU_AFFINITY') === '1'
      ? {
          what: 'proxy threads may run far from their NIC',
          evidence: 'NCCL_IGNORE_CPU_AFFINITY=1',
          mend: 'bind each rank to the cores of its GPU (numactl, --cpu-bind), and unset the variable',
        }
      : undefined,
  ({ log }) => {
    const [first] = log.warnings;
    return first === undefined
      ? undefined
      : { what: 'NCCL warns', evidence: `line ${first.line}: ${first.text}`, mend: 'see that line' };
  },
];

const distantRanks = 'ranks far from their NIC (affinity)';

/** What figures alone make likely, where no log says more. */
function byArithmetic(reach: TierReach, cluster: Cluster, nodes: number): Suspect[] {
  const share = reach.reachedBytesPerSecond / reach.expectedBytesPerSecond;
  const ports = cluster.tiers[1]?.ports ?? 1;
  const found: Suspect[] = [];
  const evidence =
    `${formatBandwidth(reach.reachedBytesPerSecond)} a port of ${reach.name}, ` +
    `${formatPercent(share)} of what is to be expected`;
  if (nodes > 1) {
    const used = Math.max(1, Math.round(share * ports));
    if (ports > 1 && used < ports && Math.abs(share * ports - used) < 0.15 * used)
      found.push({
        what: `as much as ${used} of the node's ${ports} NICs carry`,
        evidence,
        mend: 'NCCL_DEBUG=INFO names those that are used (NET/IB : Using …); NCCL_IB_HCA, ibstat',
      });
    found.push(
      {
        what: "staging in the host's memory, or TCP sockets",
        evidence,
        mend: 'NCCL_DEBUG=INFO: connections should read NET/IB/…/GDRDMA (give the log to monta doctor)',
      },
      {
        what: 'traffic that crosses rails, or a spine with less bandwidth than the leaves',
        evidence,
        mend: 'compare with the same run on two nodes of one leaf, and with NCCL_PXN_DISABLE unset',
      },
      {
        what: distantRanks,
        evidence,
        mend: 'nvidia-smi topo -m: GPU and NIC of a rank should be PIX or PXB; bind ranks to cores',
      },
    );
  } else
    found.push({
      what: 'peer-to-peer is off, or the GPUs are not joined by NVLink',
      evidence,
      mend: 'nvidia-smi topo -p2p r and nvidia-smi nvlink -s; unset NCCL_P2P_DISABLE',
    });
  return found;
}

/** What lies beside a measurement. */
export interface Evidence {
  readonly log?: NcclLog;
  /** Of one node. */
  readonly topology?: Topology;
}

/**
 * Compares one measured all_to_all with what the cluster file and NCCL's way of moving it lead to expect. Throws
 * `InputError` for another collective, and for ranks that the cluster has no room for.
 */
export function diagnoseAllToAll(
  measurement: Measurement,
  cluster: Cluster,
  { log, topology }: Evidence = {},
): AllToAllDiagnosis {
  const { op, ranks, bytes, seconds, source, line } = measurement;
  if (op !== 'all_to_all')
    throw new InputError(`${op} is no all_to_all`, { file: source, line, expected: 'rows of alltoall_perf' });
  const fabric = fabricOf(cluster);
  const members = membersOf(measurement, cluster);
  const load = { kind: 'pairs', bytes: new Float64Array(ranks * ranks).fill(bytes / ranks) } as const;
  const model = costModel(cluster.device);
  const priced = priceCollective({ model, fabric, name: 'all_to_all', members, load });
  const expected = collectiveSeconds(fabric, priced);
  const tiers = tiersOf(priced, fabric, { measured: seconds, expected: expected.seconds });
  const binding = tiers.reduce(
    (best, one, index) => (one.boundSeconds > (tiers[best]?.boundSeconds ?? 0) ? index : best),
    0,
  );
  const nodes = new Set(members.map((rank) => fabric.nodeOf(rank))).size;
  const slow = seconds > slowRatio * expected.seconds;
  const reach = tiers[binding];
  const proved = [
    ...(log === undefined ? [] : rules.flatMap((rule) => rule({ cluster, nodes, log }) ?? [])),
    ...(topology === undefined || nodes === 1 ? [] : topologySuspects(topology, cluster, log)),
  ];
  const guesses = proved.length > 0 || reach === undefined ? [] : byArithmetic(reach, cluster, nodes);
  // the wiring of a node would have shown it
  const guessed = topology === undefined ? guesses : guesses.filter(({ what }) => what !== distantRanks);
  const bus = (time: number): number => busBytesPerSecond('all_to_all', ranks, bytes, time);
  return {
    measurement,
    expectedSeconds: expected.seconds,
    expectedBusBytesPerSecond: bus(expected.seconds),
    measuredBusBytesPerSecond: bus(seconds),
    tiers,
    binding,
    latencyShare: Math.min(1, expected.latencySeconds / seconds),
    suspects: slow ? [...proved, ...guessed] : [],
  };
}
