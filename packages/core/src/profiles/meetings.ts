/**
 * Which kernels of several ranks are one collective, and how far the ranks' clocks are apart. Groups are known by their
 * ranks, since programs number and name them differently on each rank; within a group collectives are counted in the
 * order of their start, or by PyTorch's own number where the trace has it.
 */
import { median } from '../units/index.js';
import type { Communication, RankProfile } from './profile.js';

/** A kernel with the rank whose it is. */
export interface Arrival {
  readonly rank: number;
  readonly communication: Communication;
}

/** One collective as its ranks saw it, at least two of them. */
export interface Meeting {
  readonly arrivals: readonly Arrival[];
}

/**
 * Text for the ranks of a group, and for what the program calls it: groups of the same ranks run beside each other.
 * Undefined where they are not known, or where sender and receiver are not told apart.
 */
function groupKey({ op, group }: Communication): string | undefined {
  if (group?.ranks === undefined || group.size < 2) return undefined;
  const pair = op === 'send' || op === 'receive' || op === 'send_receive' || op === 'unknown';
  return pair ? undefined : `${group.label} ${group.ranks.join(' ')}`;
}

/** Collectives of one rank by group, in order. */
function byGroup(profile: RankProfile): Map<string, Communication[]> {
  const groups = new Map<string, Communication[]>();
  for (const communication of profile.communications) {
    const key = groupKey(communication);
    if (key === undefined) continue;
    const list = groups.get(key);
    if (list) list.push(communication);
    else groups.set(key, [communication]);
  }
  return groups;
}

const alike = (a: Communication | undefined, b: Communication | undefined): boolean =>
  a !== undefined && b !== undefined && a.op === b.op && (a.even !== true || b.even !== true || a.bytes === b.bytes);

/**
 * How well two sequences fit when the second begins `shift` places later: the share that is alike, and how far apart
 * their ends lie around the middle.
 */
function fitAt(
  first: readonly Communication[],
  other: readonly Communication[],
  shift: number,
): { alike: number; spread: number } {
  const ends: number[] = [];
  let [both, same] = [0, 0];
  for (const [k, b] of other.entries()) {
    const a = first[k + shift];
    if (a === undefined) continue;
    both += 1;
    if (!alike(a, b)) continue;
    same += 1;
    ends.push(a.end - b.end);
  }
  const middle = median(ends);
  return { alike: both === 0 ? 0 : same / both, spread: median(ends.map((end) => Math.abs(end - middle))) };
}

/**
 * By how many places `other` begins later in the sequence than `first`; undefined where nothing is alike. Sizes of
 * uneven exchanges say nothing, so of shifts that fit equally well the one is taken with which collectives end
 * together, but for a constant: the difference of the clocks.
 */
function shiftBetween(first: readonly Communication[], other: readonly Communication[]): number | undefined {
  const reach = first.length - other.length;
  let best: { shift: number; alike: number; spread: number } | undefined;
  for (let shift = Math.min(0, reach); shift <= Math.max(0, reach); shift++) {
    const fit = fitAt(first, other, shift);
    if (fit.alike === 0) continue;
    if (best === undefined || fit.alike > best.alike || (fit.alike === best.alike && fit.spread < best.spread))
      best = { shift, ...fit };
  }
  return best?.shift;
}

/** Places of a rank's collectives in the sequence of their group, counted from where `first` begins. */
function placesOf(first: readonly Communication[], list: readonly Communication[]): number[] | undefined {
  const counted = (some: readonly Communication[]): boolean => {
    const numbers = some.map(({ sequence }) => sequence);
    return !numbers.includes(undefined) && new Set(numbers).size === numbers.length;
  };
  if (counted(first) && counted(list)) return list.map(({ sequence }) => sequence ?? 0);
  if (list === first) return list.map((_, k) => k);
  const shift = shiftBetween(first, list);
  return shift === undefined ? undefined : list.map((_, k) => k + shift);
}

/** Collectives that two ranks or more recorded. */
export function meetingsOf(profiles: readonly RankProfile[]): Meeting[] {
  const groups = new Map<string, { rank: number; list: Communication[] }[]>();
  for (const profile of profiles)
    for (const [key, list] of byGroup(profile)) {
      const ranks = groups.get(key) ?? [];
      groups.set(key, ranks);
      ranks.push({ rank: profile.rank, list });
    }
  return [...groups.values()].flatMap((ranks) => {
    const [first] = ranks;
    if (first === undefined) return [];
    const places = new Map<number, Arrival[]>();
    for (const { rank, list } of ranks)
      for (const [k, place] of (placesOf(first.list, list) ?? []).entries()) {
        const communication = list[k];
        if (communication === undefined) continue;
        const arrivals = places.get(place);
        if (arrivals) arrivals.push({ rank, communication });
        else places.set(place, [{ rank, communication }]);
      }
    return [...places.values()]
      .filter(
        (arrivals) =>
          arrivals.length > 1 &&
          arrivals.every(({ communication }) => alike(arrivals[0]?.communication, communication)),
      )
      .map((arrivals) => ({ arrivals }));
  });
}

/**
 * Seconds to add to a rank's times so that all agree with the lowest rank that they met, straight or through others. A
 * collective ends for all its members at about one moment: the median of the differences is taken, of the pairs of
 * ranks that met most often first.
 */
export function clockOffsetsOf(meetings: readonly Meeting[]): ReadonlyMap<number, number> {
  const differences = new Map<string, { a: number; b: number; seconds: number[] }>();
  for (const { arrivals } of meetings) {
    const [first] = arrivals;
    for (const other of arrivals.slice(1)) {
      if (first === undefined) continue;
      const key = `${first.rank} ${other.rank}`;
      const entry = differences.get(key) ?? { a: first.rank, b: other.rank, seconds: [] };
      differences.set(key, entry);
      entry.seconds.push(first.communication.end - other.communication.end);
    }
  }
  const pairs = [...differences.values()].sort((x, y) => y.seconds.length - x.seconds.length);
  const neighbours = new Map<number, { rank: number; seconds: number }[]>();
  const link = (from: number, rank: number, seconds: number): void => {
    const list = neighbours.get(from) ?? [];
    neighbours.set(from, list);
    list.push({ rank, seconds });
  };
  for (const { a, b, seconds } of pairs) {
    const difference = median(seconds);
    link(a, b, difference);
    link(b, a, -difference);
  }
  const offsets = new Map<number, number>();
  for (const start of [...neighbours.keys()].sort((a, b) => a - b)) {
    if (offsets.has(start)) continue;
    offsets.set(start, 0);
    const open = [start];
    for (let rank = open.shift(); rank !== undefined; rank = open.shift())
      for (const next of neighbours.get(rank) ?? []) {
        if (offsets.has(next.rank)) continue;
        offsets.set(next.rank, (offsets.get(rank) ?? 0) + next.seconds);
        open.push(next.rank);
      }
  }
  return offsets;
}

/** What a rank did in a collective: waited for the last to arrive, then transferred. Seconds. */
export interface Split {
  readonly waiting: number;
  readonly transferring: number;
}

/** Waiting told from transferring, for every kernel whose collective all members recorded. */
export function splitsOf(
  meetings: readonly Meeting[],
  offsets: ReadonlyMap<number, number>,
): Map<Communication, Split> {
  const splits = new Map<Communication, Split>();
  for (const { arrivals } of meetings) {
    const size = arrivals[0]?.communication.group?.size;
    if (size !== arrivals.length) continue;
    const starts = arrivals.map(({ rank, communication }) => communication.start + (offsets.get(rank) ?? 0));
    const ready = starts.reduce((a, b) => Math.max(a, b));
    for (const [place, { communication }] of arrivals.entries()) {
      const seconds = communication.end - communication.start;
      const waiting = Math.min(seconds, ready - (starts[place] ?? ready));
      splits.set(communication, { waiting, transferring: seconds - waiting });
    }
  }
  return splits;
}
