/**
 * Times every collective over every group of a layout, on the lane that carries the group's collectives; all groups of
 * a kind run at once, as the ranks of a layout run them. Sizes are counted as nccl-tests does.
 */
import { allGroups, groupKinds, isPlaced, nodeOf } from '@monta/core/layout';
import type { Group, Lane, Layout, MeasuredOp } from '@monta/core';
import { maxOf } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import type { Launcher } from '../launch/index.js';

/** The groups of a kind: together they hold every rank once. */
export interface LayoutGroups {
  readonly kind: Group;
  readonly lane: Lane;
  readonly groups: readonly (readonly number[])[];
  /** That a group spans. */
  readonly nodes: number;
}

/** One row of a table. */
export interface CollectiveRow {
  /** The total buffer. */
  readonly bytes: number;
  /** Median, from the last rank's start to the last rank's end. */
  readonly seconds: number;
  /** Elements that came out wrong, of those of all ranks that were looked at. */
  readonly wrong: number;
}

export interface CollectiveTable extends LayoutGroups {
  readonly op: MeasuredOp;
  readonly rows: readonly CollectiveRow[];
}

/** What a rank says of itself. */
export interface RankPlace {
  readonly host: string;
  readonly pid: number;
  /** What computes there, and what carries bytes, as `nccl 2.28.9`. */
  readonly device: string;
  readonly library: string;
}

export interface GroupCollectivesJob {
  readonly groups: readonly LayoutGroups[];
  readonly ops: readonly MeasuredOp[];
  /** Total buffers, ascending. */
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** No new table is begun after so many. */
  readonly seconds: number;
}

export type GroupCollectivesMessage =
  | { readonly kind: 'rank'; readonly place: RankPlace }
  /** Of rank 0. */
  | { readonly kind: 'rows'; readonly group: number; readonly op: MeasuredOp; readonly rows: readonly CollectiveRow[] };

/** All that a calibration holds but send, whose groups are pairs. */
export const groupCollectives: readonly MeasuredOp[] = [
  'all_to_all',
  'all_gather',
  'reduce_scatter',
  'all_reduce',
  'broadcast',
];

/** Where the schedules put a group's collectives: those of tensor parallelism and inside nodes apart from the rest. */
const intraKinds: readonly Group[] = ['tp', 'etp', 'cp', 'node'];

/**
 * Every kind of group of a layout that has more than one rank. Curves are kept by ranks, nodes and groups at a time: of
 * kinds that agree in these, the first, which is the innermost.
 */
export function layoutGroups(layout: Layout): LayoutGroups[] {
  const found = new Map<string, LayoutGroups>();
  for (const kind of groupKinds) {
    if ((kind === 'node' || kind === 'rail') && !isPlaced(layout)) continue;
    const groups = allGroups(layout, kind);
    const [first = []] = groups;
    if (first.length < 2 || groups.some(({ length }) => length !== first.length)) continue;
    const nodes = isPlaced(layout) ? new Set(first.map((rank) => nodeOf(layout, rank))).size : 1;
    const key = `${first.length} ${nodes} ${groups.length}`;
    if (found.has(key)) continue;
    found.set(key, { kind, lane: intraKinds.includes(kind) ? 'intra' : 'inter', groups, nodes });
  }
  return [...found.values()];
}

/** Sizes from the least to the most, each `factor` times the one before. */
export function sizesBetween(least: number, most: number, factor: number): number[] {
  const count = Math.floor(Math.log(most / least) / Math.log(factor) + 1e-9);
  return Array.from({ length: count + 1 }, (_, power) => Math.round(least * factor ** power));
}

export interface GroupCollectivesRequest extends Omit<GroupCollectivesJob, 'groups'> {
  readonly launcher: Launcher;
  readonly layout: Layout;
  /** Told table by table, the first time with all ranks' places known. */
  readonly onTable: (table: CollectiveTable, ranks: readonly RankPlace[]) => void;
  readonly signal?: AbortSignal;
}

const mebibyte = 2 ** 20;

/** Measures; how many tables the time did not suffice for. Rejects with `RankFailure` when a rank fails. */
export async function benchGroupCollectives(request: GroupCollectivesRequest): Promise<number> {
  const { launcher, layout, ops, sizes, rounds, seconds, onTable, signal } = request;
  const groups = layoutGroups(layout);
  const ranks = worldSize(layout);
  const job: GroupCollectivesJob = { groups, ops, sizes, rounds, seconds };
  const places: (RankPlace | undefined)[] = Array.from({ length: ranks }, () => undefined);
  const early: CollectiveTable[] = [];
  let told = 0;
  const tell = (): void => {
    const known = places.filter((place) => place !== undefined);
    if (known.length < ranks) return;
    for (const table of early.splice(0)) {
      told += 1;
      onTable(table, known);
    }
  };
  const most = maxOf(sizes);
  await launcher.launch({
    ranks,
    memoryBytes: 2 * most + mebibyte,
    maximumMemoryBytes: 2 * most + 64 * mebibyte,
    workerModule: new URL('./group-collectives.worker.ts', import.meta.url),
    workerData: job,
    trace: true,
    ...(signal === undefined ? {} : { signal }),
    onMessage: (rank, said) => {
      const message = said as GroupCollectivesMessage;
      if (message.kind === 'rank') places[rank] = message.place;
      else {
        const of = groups[message.group];
        if (of !== undefined) early.push({ ...of, op: message.op, rows: message.rows });
      }
      tell();
    },
  });
  return groups.length * ops.length - told;
}
