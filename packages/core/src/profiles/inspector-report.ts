/**
 * The records of the NCCL Inspector as a report: it times collectives inside NCCL and knows no other kernels, so that
 * nothing can be said of overlap.
 */
import { busFactor, type InspectorRecord } from '../cost/index.js';
import type { CommunicationRow } from './report.js';

/**
 * Rows by collective, ranks and nodes. Waiting is told where all ranks of a collective left a record: the last to
 * arrive waits for nobody.
 */
export function inspectorRows(records: readonly InspectorRecord[]): CommunicationRow[] {
  const collectives = new Map<string, InspectorRecord[]>();
  for (const one of records) {
    const list = collectives.get(one.collective);
    if (list) list.push(one);
    else collectives.set(one.collective, [one]);
  }
  const shapes = new Map<string, InspectorRecord[][]>();
  for (const list of collectives.values()) {
    const [first] = list;
    if (first === undefined) continue;
    const key = `${first.op}|${first.ranks}|${first.nodes ?? ''}`;
    const lists = shapes.get(key);
    if (lists) lists.push(list);
    else shapes.set(key, [list]);
  }
  return [...shapes.values()]
    .flatMap((lists) => lists.slice(0, 1).flatMap(([first]) => (first === undefined ? [] : [rowOf(first, lists)])))
    .sort((a, b) => b.seconds - a.seconds);
}

function rowOf({ op, ranks, nodes }: InspectorRecord, lists: readonly InspectorRecord[][]): CommunicationRow {
  const seen = new Set(lists.flatMap((list) => list.map(({ rank, file }) => `${file} ${rank}`))).size;
  const total = { calls: 0, seconds: 0, sent: 0, waiting: 0, matched: 0, transfer: 0 };
  for (const list of lists) {
    const whole = new Set(list.map(({ rank }) => rank)).size === ranks;
    const shortest = list.reduce((least, { microseconds }) => Math.min(least, microseconds), Infinity) * 1e-6;
    for (const { bytes, microseconds } of list) {
      const seconds = microseconds * 1e-6;
      total.calls += 1;
      total.seconds += seconds;
      total.sent += bytes * busFactor(op, ranks);
      total.waiting += whole ? seconds - shortest : 0;
      total.matched += whole ? 1 : 0;
      total.transfer += whole ? shortest : seconds;
    }
  }
  return {
    op,
    library: 'NCCL',
    label: '',
    ranks,
    ...(nodes === null ? {} : { nodes }),
    calls: total.calls / seen,
    seconds: total.seconds / seen,
    sentBytes: total.sent / seen,
    ...(total.matched > 0 ? { waitingSeconds: total.waiting / seen } : {}),
    matchedShare: total.matched / total.calls,
    busBytesPerSecond: total.sent / total.transfer,
  };
}
