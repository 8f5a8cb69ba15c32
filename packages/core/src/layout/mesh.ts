/** Which ranks form which group, and where the groups lie on a cluster. Rank r runs on device r. */
import { deviceCount, devicesPerUnit, unitOf } from '../cluster/ports.js';
import type { Cluster } from '../cluster/cluster.js';
import { InputError } from '../units/errors.js';
import type { AxisGroup, Group, Layout } from './layout.js';

type Axis = 'tp' | 'cp' | 'dp' | 'pp' | 'etp' | 'ep' | 'edp';

/** The two mappings, fastest axis first. */
const attention: readonly Axis[] = ['tp', 'cp', 'dp', 'pp'];
const experts: readonly Axis[] = ['etp', 'ep', 'edp', 'pp'];

/** A group spans some axes of one mapping and fixes the others. */
const spans: Readonly<Record<AxisGroup, { readonly mapping: readonly Axis[]; readonly axes: readonly Axis[] }>> = {
  tp: { mapping: attention, axes: ['tp'] },
  cp: { mapping: attention, axes: ['cp'] },
  dp: { mapping: attention, axes: ['dp'] },
  pp: { mapping: attention, axes: ['pp'] },
  etp: { mapping: experts, axes: ['etp'] },
  ep: { mapping: experts, axes: ['ep'] },
  edp: { mapping: experts, axes: ['edp'] },
  expert: { mapping: experts, axes: ['etp', 'ep'] },
  replica: { mapping: attention, axes: ['tp', 'cp'] },
  data: { mapping: attention, axes: ['cp', 'dp'] },
  dense: { mapping: attention, axes: ['tp', 'cp', 'dp'] },
  world: { mapping: attention, axes: attention },
};

/** Every kind of group. */
export const groupKinds: readonly Group[] = [...(Object.keys(spans) as AxisGroup[]), 'node', 'rail'];

/** Number of ranks: tp·cp·dp·pp, equal to etp·ep·edp·pp. */
export const worldSize = (layout: Layout): number => layout.tp * layout.cp * layout.dp * layout.pp;

/** Number of ranks in each group of a kind. */
export const groupSize = (layout: Layout, group: AxisGroup): number =>
  spans[group].axes.reduce((product, axis) => product * layout[axis], 1);

/** Index of a rank along each axis of both mappings. */
export function coordinates(layout: Layout, rank: number): Readonly<Record<Axis, number>> {
  checkRank(layout, rank);
  const { tp, cp, dp, etp, ep, edp } = layout;
  const [replica, expertGroup] = [Math.floor(rank / (tp * cp)), Math.floor(rank / (etp * ep))];
  return {
    tp: rank % tp,
    cp: Math.floor(rank / tp) % cp,
    dp: replica % dp,
    pp: Math.floor(replica / dp),
    etp: rank % etp,
    ep: Math.floor(rank / etp) % ep,
    edp: expertGroup % edp,
  };
}

/** The same where stages lie inside replicas, in the order tp, cp, pp, dp: Megatron-Core's `--use-tp-pp-dp-mapping`. */
export function coordinatesStagesInside(layout: Layout, rank: number): ReturnType<typeof coordinates> {
  checkRank(layout, rank);
  const { tp, cp, dp, pp } = layout;
  const place = rank % (tp * cp);
  const [stage, replica] = [Math.floor(rank / (tp * cp)) % pp, Math.floor(rank / (tp * cp * pp))];
  return coordinates(layout, place + tp * cp * (replica + dp * stage));
}

/**
 * Whose tokens a rank works on: number of its replica among the dp replicas of a stage. Under cp, its ranks share one
 * replica.
 */
export const replicaIndex = (layout: Layout, rank: number): number => coordinates(layout, rank).dp;

/** Which of the tp slices of its tokens a rank holds where they are sliced. */
export const sliceIndex = (layout: Layout, rank: number): number => coordinates(layout, rank).tp;

/** Experts that each EP index holds, of `experts` in all, which ep divides. */
export const localExperts = (layout: Pick<Layout, 'ep'>, experts: number): number => experts / layout.ep;

/** Whether a rank holds (a shard of) an expert: consecutive experts live on one EP index. */
export const holdsExpert = (layout: Layout, experts: number, rank: number, expert: number): boolean =>
  Math.floor(expert / localExperts(layout, experts)) === coordinates(layout, rank).ep;

/** Index along etp and along ep of a place in an expert group, whose places have etp fastest. */
export const etpOfPlace = ({ etp }: Pick<Layout, 'etp'>, place: number): number => place % etp;
export const epOfPlace = ({ etp }: Pick<Layout, 'etp'>, place: number): number => Math.floor(place / etp);

/**
 * Which of the tp slices of its tokens the rank at a place of an expert group holds; `first` is the group's first rank,
 * and its others follow.
 */
export const sliceOfPlace = ({ tp }: Pick<Layout, 'tp'>, first: number, place: number): number => (first + place) % tp;

/** Stride of each axis of a mapping in global ranks. */
function strides(layout: Layout, mapping: readonly Axis[]): Map<Axis, number> {
  const result = new Map<Axis, number>();
  let stride = 1;
  for (const axis of mapping) {
    result.set(axis, stride);
    stride *= layout[axis];
  }
  return result;
}

/** The ranks of the group of a kind that `rank` belongs to, in order (ascending global rank, fastest axis first). */
export function groupMembers(layout: Layout, group: Group, rank: number): number[] {
  return group === 'node' || group === 'rail' ? placedMembers(layout, group, rank) : axisMembers(layout, group, rank);
}

function axisMembers(layout: Layout, group: AxisGroup, rank: number): number[] {
  const { mapping, axes } = spans[group];
  const at = coordinates(layout, rank);
  const stride = strides(layout, mapping);
  const base = mapping.reduce((sum, axis) => sum + (axes.includes(axis) ? 0 : at[axis] * (stride.get(axis) ?? 0)), 0);
  let members = [base];
  // The slowest axis goes outermost, so that the fastest varies fastest.
  for (const axis of mapping.filter((axis) => axes.includes(axis))) {
    const step = stride.get(axis) ?? 0;
    members = Array.from({ length: layout[axis] }, (_, i) => members.map((member) => member + i * step)).flat();
  }
  return members;
}

/** Place of `rank` among the members of its group: `groupMembers(…)[groupIndex(…)] === rank`. */
export function groupIndex(layout: Layout, group: Group, rank: number): number {
  if (group === 'node' || group === 'rail') return placedMembers(layout, group, rank).indexOf(rank);
  const { axes } = spans[group];
  const at = coordinates(layout, rank);
  return axes.reduceRight((index, axis) => index * layout[axis] + at[axis], 0);
}

/** Which of the groups of a kind holds `rank`: place in `allGroups`. */
export function groupNumber(layout: Layout, group: AxisGroup, rank: number): number {
  const { mapping, axes } = spans[group];
  const at = coordinates(layout, rank);
  return mapping.reduceRight((number, axis) => (axes.includes(axis) ? number : number * layout[axis] + at[axis]), 0);
}

/** All groups of a kind, ordered by their first rank; together they hold every rank once. */
export const allGroups = (layout: Layout, group: Group): number[][] =>
  Array.from({ length: worldSize(layout) }, (_, rank) => groupMembers(layout, group, rank)).filter(
    ([first], rank) => first === rank,
  );

/** Whether nodes are known, so that `nodeOf` and the groups `node` and `rail` have an answer. */
export const isPlaced = (layout: Layout): boolean => layout.ranksPerNode !== undefined;

/**
 * The layout with rank r on device r of a cluster, whose nodes are the units of tier 0. A stated `ranksPerNode` stays.
 */
export const placedOn = (layout: Layout, cluster: Cluster): Layout =>
  isPlaced(layout) ? layout : { ...layout, ranksPerNode: devicesPerUnit(cluster, 0) };

/** Ranks of a node. Throws `InputError` for a layout that is not placed, or with nodes of no whole number of ranks. */
function ranksPerNode({ ranksPerNode: ranks }: Layout): number {
  if (ranks !== undefined && Number.isSafeInteger(ranks) && ranks >= 1) return ranks;
  throw new InputError(ranks === undefined ? 'it is not known which ranks share a node' : `${ranks} ranks a node`, {
    path: 'layout.ranksPerNode',
    expected: 'a whole number of ranks, at least 1',
    hint: 'place the layout on a cluster, or state the ranks of a node',
  });
}

/** Node that a rank is on. Throws `InputError` for a layout that is not placed. */
export const nodeOf = (layout: Layout, rank: number): number => Math.floor(rank / ranksPerNode(layout));

function placedMembers(layout: Layout, group: 'node' | 'rail', rank: number): number[] {
  const perNode = ranksPerNode(layout);
  const place = (one: number): number => (group === 'node' ? Math.floor(one / perNode) : one % perNode);
  return axisMembers(layout, 'expert', rank).filter((member) => place(member) === place(rank));
}

/** A node that an expert group spans, and what of the group is there. */
export interface ExpertNode {
  readonly node: number;
  /** Places in the expert group of the ranks on it, ascending. */
  readonly sources: readonly number[];
  /** EP indices with a rank on it: experts that a row which reaches the node can reach inside. */
  readonly owners: ReadonlySet<number>;
}

/** The nodes of the expert group of `rank`, ascending. Throws `InputError` for a layout that is not placed. */
export function expertNodes(layout: Layout, rank: number): ExpertNode[] {
  const nodes = new Map<number, { sources: number[]; owners: Set<number> }>();
  axisMembers(layout, 'expert', rank).forEach((member, source) => {
    const node = nodeOf(layout, member);
    const entry = nodes.get(node) ?? { sources: [], owners: new Set<number>() };
    nodes.set(node, entry);
    entry.sources.push(source);
    entry.owners.add(coordinates(layout, member).ep);
  });
  return [...nodes].map(([node, entry]) => ({ node, ...entry }));
}

/** Where a list of ranks lies on a cluster. */
export interface Placement {
  /** Tiers crossed by some pair of members, ascending; empty for a single rank. */
  readonly tiers: readonly number[];
  /** Members by unit of tier 0 (node), in order of the units. */
  readonly nodes: readonly (readonly number[])[];
}

/** Tiers that a group spans and its ranks per node. Throws InputError when the cluster is too small. */
export function placeGroup(cluster: Cluster, members: readonly number[]): Placement {
  const devices = deviceCount(cluster);
  const beyond = members.find((member) => member >= devices);
  if (beyond !== undefined) {
    throw new InputError(`rank ${beyond} has no device in ${cluster.name}`, { expected: `at most ${devices} ranks` });
  }
  const nodes = new Map<number, number[]>();
  for (const member of members) {
    const node = unitOf(cluster, 0, member);
    const ranks = nodes.get(node);
    if (ranks === undefined) nodes.set(node, [member]);
    else ranks.push(member);
  }
  // Tier t joins a pair exactly when one of its units holds members from two units of the tier below.
  const tiers = [...cluster.tiers.keys()].filter((tier) => {
    const below = new Map<number, number>();
    return members.some((member) => {
      const [unit, lower] = [unitOf(cluster, tier, member), unitOf(cluster, tier - 1, member)];
      if (!below.has(unit)) below.set(unit, lower);
      return below.get(unit) !== lower;
    });
  });
  return { tiers, nodes: [...nodes].sort(([a], [b]) => a - b).map(([, ranks]) => ranks) };
}

/**
 * Throws InputError unless the cluster has exactly one device for every rank, or more when `spare` allows idle devices.
 */
export function checkPlacement(layout: Layout, cluster: Cluster, spare = false): void {
  const [ranks, devices] = [worldSize(layout), deviceCount(cluster)];
  if (ranks === devices || (spare && ranks < devices)) return;
  throw new InputError(`the layout has ${ranks} ranks, ${cluster.name} has ${devices} devices`, {
    path: 'layout',
    expected: `tp·cp·dp·pp = ${devices}`,
    hint:
      devices % (ranks / layout.dp) === 0
        ? `dp=${devices / (ranks / layout.dp)} would fill the cluster`
        : 'choose tp, cp and pp whose product divides the number of devices',
  });
}

function checkRank(layout: Layout, rank: number): void {
  if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize(layout)) {
    throw new RangeError(`rank ${rank} is not among the ${worldSize(layout)} ranks of the layout`);
  }
}
