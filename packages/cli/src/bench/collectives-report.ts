/** Tables of collectives as nccl-tests prints them, so that whatever reads those reads these. */
import type { Layout, MeasuredOp } from '@monta/core';
import { formatLayout } from '@monta/core/layout';
import { busBytesPerSecond } from '@monta/core/cost';
import { nodeOf } from '@monta/core/layout';
import type { CollectiveTable, RankPlace } from '@monta/runtime';

/** Names of nccl-tests' programs, and what their columns redop and root say. */
const programs: Readonly<Record<MeasuredOp, readonly [program: string, redop: string, root: string]>> = {
  all_to_all: ['alltoall_perf', 'none', '-1'],
  all_gather: ['all_gather_perf', 'none', '-1'],
  reduce_scatter: ['reduce_scatter_perf', 'sum', '-1'],
  all_reduce: ['all_reduce_perf', 'sum', '-1'],
  broadcast: ['broadcast_perf', 'none', '0'],
  send: ['sendrecv_perf', 'none', '-1'],
};

/** Operations of whose total buffer each rank has a piece, which the column count counts. */
const ofPieces: readonly MeasuredOp[] = ['all_to_all', 'all_gather', 'reduce_scatter'];

const elementBytes = 4;
const widths = [12, 12, 8, 8, 6, 10, 8, 8, 7];
const line = (cells: readonly string[]): string => cells.map((cell, at) => cell.padStart(widths[at] ?? 0)).join('');

export interface CollectiveRun {
  readonly layout: Layout;
  readonly ranks: readonly RankPlace[];
  readonly rounds: number;
}

/** One table, with what says which ranks it is of. */
export function collectiveText(table: CollectiveTable, { layout, ranks, rounds }: CollectiveRun): string {
  const { op, kind, lane, groups, rows } = table;
  const [program, redop, root] = programs[op];
  const size = groups[0]?.length ?? 1;
  const [first, last] = [rows[0]?.bytes ?? 0, rows.at(-1)?.bytes ?? 0];
  const hosts = new Set(ranks.map(({ host }) => host));
  // One host that stands for several nodes has a name for each.
  const virtual = hosts.size === 1 && nodeOf(layout, ranks.length - 1) > 0;
  const rankLines = ranks.map(({ host, pid, device }, rank) => {
    const node = nodeOf(layout, rank);
    const place = rank - node * (layout.ranksPerNode ?? ranks.length);
    const group = groups.findIndex((members) => members.includes(rank));
    const name = virtual ? `${host}-node-${node}` : host;
    return `#  Rank ${rank} Group ${group} Pid ${pid} on ${name} device ${place} [-] ${device}`;
  });
  const [{ library } = { library: '' }] = ranks;
  return [
    `# Collective test starting: ${program}`,
    `# nThread 1 nGpus 1 minBytes ${first} maxBytes ${last} warmup iters: 1 iters: ${rounds} validation: 1`,
    `# monta bench collectives --layout ${formatLayout(layout)}: ${groups.length} ` +
      `${groups.length === 1 ? 'group' : 'groups'} ${kind} of ${size} ranks at a time, lane ${lane}`,
    `# monta-library=${library}`,
    '#',
    '# Using devices',
    ...rankLines,
    '#',
    `#${line(['size', 'count', 'type', 'redop', 'root', 'time', 'algbw', 'busbw', '#wrong']).slice(1)}`,
    `#${line(['(B)', '(elements)', '', '', '', '(us)', '(GB/s)', '(GB/s)']).slice(1)}`,
    ...rows.map(({ bytes, seconds, wrong }) =>
      line([
        String(bytes),
        String(bytes / elementBytes / (ofPieces.includes(op) ? size : 1)),
        'float',
        redop,
        root,
        (seconds * 1e6).toFixed(2),
        (bytes / seconds / 1e9).toFixed(3),
        (busBytesPerSecond(op, size, bytes, seconds) / 1e9).toFixed(3),
        String(wrong),
      ]),
    ),
    `# Out of bounds values : ${rows.reduce((sum, { wrong }) => sum + wrong, 0)} ` +
      (rows.some(({ wrong }) => wrong > 0) ? 'FAILED' : 'OK'),
    `# Collective test concluded: ${program}`,
    '',
  ].join('\n');
}
