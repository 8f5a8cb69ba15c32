/** Where the communication of a profiled step went: by kind and group, and rank by rank. */
import type { Cluster } from '../cluster/index.js';
import { busFactor, measuredOps } from '../cost/index.js';
import { lengthOf, overlapOf, unionOf, type Interval } from '../units/index.js';
import { placeOfGroup, type GroupPlace } from './group-place.js';
import { clockOffsetsOf, meetingsOf, splitsOf, type Split } from './meetings.js';
import type { Communication, ProfiledOp, RankProfile } from './profile.js';

export interface RankTime {
  readonly rank: number;
  /** The trace. */
  readonly file: string;
  /** From its first to its last event. */
  readonly seconds: number;
  /** Union of all kernels that compute. */
  readonly computeSeconds: number;
  /** Union of all communication. */
  readonly communicationSeconds: number;
  /** Union of communication minus union of computation. */
  readonly exposedSeconds: number;
  /** Neither computing, communicating nor copying. */
  readonly idleSeconds: number;
  /**
   * Seconds to add to this rank's clock for that of the lowest rank; absent where it met no other rank of the traces.
   */
  readonly clockOffset?: number;
}

/**
 * All collectives of one kind on groups of one shape. Seconds, bytes and calls are means over the ranks that took part.
 */
export interface CommunicationRow {
  readonly op: ProfiledOp;
  readonly library: string;
  /** What the program calls the group; empty where it does not. */
  readonly label: string;
  /** Ranks of a group; absent where the trace does not say. */
  readonly ranks?: number;
  /** Distance of its ranks, where it is the same between all. */
  readonly stride?: number;
  /** Hosts that a group spans; absent where that is not known. */
  readonly nodes?: number;
  /** Name of the slowest tier that it crosses, with a cluster given. */
  readonly tier?: string;
  /** How often, a rank. */
  readonly calls: number;
  /** For which it ran. */
  readonly seconds: number;
  /** Seconds of it beside which no kernel computed; absent where no other kernels were recorded. */
  readonly exposedSeconds?: number;
  /** Share of its time beside which kernels computed. */
  readonly hiddenShare?: number;
  /** What a rank hands to others; absent where some calls do not say. */
  readonly sentBytes?: number;
  /** Waiting for the last rank to arrive, of the calls that all members recorded; absent where there are none. */
  readonly waitingSeconds?: number;
  /** Share of the calls for which waiting is told from transferring. */
  readonly matchedShare: number;
  /**
   * Bytes handed on a second of transferring, as nccl-tests counts bus bandwidth; with waiting inside where it could
   * not be told.
   */
  readonly busBytesPerSecond?: number;
}

export interface ProfileReport {
  /** Steps that profilers marked, on the rank with the most; absent where none was marked. */
  readonly steps?: number;
  readonly ranks: readonly RankTime[];
  /** Largest exposed time first. */
  readonly rows: readonly CommunicationRow[];
  readonly notes: readonly string[];
}

const stepBetween = (ranks: readonly number[]): number | undefined => {
  const step = (ranks[1] ?? 0) - (ranks[0] ?? 0);
  return ranks.every((rank, k) => k === 0 || rank - (ranks[k - 1] ?? 0) === step) ? step : undefined;
};

const intervalOf = ({ start, end }: Communication): Interval => [start, end];

function rankTime(profile: RankProfile, offset: number | undefined): RankTime {
  const communication = unionOf(profile.communications.map(intervalOf));
  const busy = unionOf([...communication, ...profile.compute, ...profile.copies]);
  const communicationSeconds = lengthOf(communication);
  return {
    rank: profile.rank,
    file: profile.file,
    seconds: profile.seconds,
    computeSeconds: lengthOf(profile.compute),
    communicationSeconds,
    exposedSeconds: communicationSeconds - overlapOf(communication, profile.compute),
    idleSeconds: Math.max(0, profile.seconds - lengthOf(busy)),
    ...(offset === undefined ? {} : { clockOffset: offset }),
  };
}

interface Described {
  readonly key: string;
  readonly head: Pick<CommunicationRow, 'op' | 'library' | 'label' | 'ranks' | 'stride' | 'nodes' | 'tier'>;
}

/** Finds the row that a kernel belongs to; groups are few, so what is known of one is kept. */
function describer(
  cluster: Cluster | undefined,
  devicesPerNode: number | undefined,
): (one: Communication) => Described {
  const places = new Map<string, GroupPlace & { readonly stride?: number }>();
  return ({ op, library, group }) => {
    const ranks = group?.ranks;
    let place: GroupPlace & { readonly stride?: number } = {};
    if (ranks !== undefined) {
      const key = ranks.join(' ');
      const stride = stepBetween(ranks);
      place = places.get(key) ?? {
        ...placeOfGroup(ranks, cluster, devicesPerNode),
        ...(stride === undefined ? {} : { stride }),
      };
      places.set(key, place);
    }
    const label = group?.label ?? '';
    const head = { op, library, label, ...(group === undefined ? {} : { ranks: group.size }), ...place };
    return { head, key: [op, library, label, group?.size, place.stride, place.nodes, place.tier].join('|') };
  };
}

interface Gathered {
  readonly head: Described['head'];
  readonly byRank: Map<RankProfile, Communication[]>;
}

function rowOf({ head, byRank }: Gathered, splits: ReadonlyMap<Communication, Split>): CommunicationRow {
  const total = {
    calls: 0,
    seconds: 0,
    union: 0,
    exposed: 0,
    sent: 0,
    unsized: 0,
    waiting: 0,
    matched: 0,
    bus: 0,
    transfer: 0,
  };
  const op = measuredOps.find((one) => one === head.op);
  for (const [profile, list] of byRank) {
    const union = unionOf(list.map(intervalOf));
    total.union += lengthOf(union);
    total.exposed += lengthOf(union) - overlapOf(union, profile.compute);
    for (const one of list) {
      const split = splits.get(one);
      const seconds = one.end - one.start;
      total.calls += 1;
      total.seconds += seconds;
      total.waiting += split?.waiting ?? 0;
      total.matched += split === undefined ? 0 : 1;
      if (one.sentBytes === undefined) total.unsized += 1;
      else total.sent += one.sentBytes;
      if (op !== undefined && one.bytes !== undefined && head.ranks !== undefined) {
        total.bus += one.sentBytes ?? one.bytes * busFactor(op, head.ranks);
        total.transfer += split?.transferring ?? seconds;
      }
    }
  }
  const mean = (value: number): number => value / byRank.size;
  return {
    ...head,
    calls: mean(total.calls),
    seconds: mean(total.seconds),
    exposedSeconds: mean(total.exposed),
    hiddenShare: total.union > 0 ? Math.max(0, 1 - total.exposed / total.union) : 0,
    ...(total.unsized === 0 ? { sentBytes: mean(total.sent) } : {}),
    ...(total.matched > 0 ? { waitingSeconds: mean(total.waiting) } : {}),
    matchedShare: total.matched / total.calls,
    ...(total.transfer > 0 && total.bus > 0 ? { busBytesPerSecond: total.bus / total.transfer } : {}),
  };
}

/**
 * What the traces of one or many ranks say of one run. The cluster tells which ranks share a host, and names the tiers.
 */
export function reportProfiles(profiles: readonly RankProfile[], cluster?: Cluster): ProfileReport {
  const meetings = meetingsOf(profiles);
  const offsets = clockOffsetsOf(meetings);
  const splits = splitsOf(meetings, offsets);
  const devicesPerNode = profiles.find((one) => one.devicesPerNode !== undefined)?.devicesPerNode;
  const describe = describer(cluster, devicesPerNode);
  const gathered = new Map<string, Gathered>();
  for (const profile of profiles)
    for (const communication of profile.communications) {
      const { key, head } = describe(communication);
      const entry = gathered.get(key) ?? { head, byRank: new Map<RankProfile, Communication[]>() };
      gathered.set(key, entry);
      const list = entry.byRank.get(profile);
      if (list) list.push(communication);
      else entry.byRank.set(profile, [communication]);
    }
  const rows = [...gathered.values()].map((one) => rowOf(one, splits));
  const steps = profiles.reduce((most, profile) => Math.max(most, profile.steps ?? 0), 0);
  return {
    ...(steps > 0 ? { steps } : {}),
    ranks: profiles.map((profile) => rankTime(profile, offsets.get(profile.rank))).sort((a, b) => a.rank - b.rank),
    rows: rows.sort((a, b) => (b.exposedSeconds ?? 0) - (a.exposedSeconds ?? 0)),
    notes: notesOf(profiles, cluster, devicesPerNode, splits.size),
  };
}

function notesOf(
  profiles: readonly RankProfile[],
  cluster: Cluster | undefined,
  devicesPerNode: number | undefined,
  split: number,
): string[] {
  const notes = profiles.flatMap(({ file, notes: own }) => own.map((note) => `${file}: ${note}`));
  const seen = new Set<number>();
  for (const { rank, file } of profiles) {
    if (seen.has(rank))
      notes.push(`${file}: rank ${rank} was read before: traces of several steps are taken as of several ranks`);
    seen.add(rank);
  }
  if (profiles.length === 1)
    notes.push(
      'one rank: time of a collective is waiting and transferring together; give the traces of all ranks to tell ' +
        'them apart',
    );
  else if (split === 0)
    notes.push("no collective was recorded by all its ranks: waiting can't be told from transferring");
  if (cluster === undefined && devicesPerNode !== undefined)
    notes.push(
      `nodes: ranks are taken to lie ${devicesPerNode} a node, the devices that the trace lists; --cluster says ` +
        'otherwise',
    );
  return notes;
}
