/** Profiles of another program as a trace of Monta's own form, so that a predicted one can lie beside it. */
import type { Cluster } from '../cluster/index.js';
import type { Layout } from '../layout/index.js';
import {
  clockOffsetsOf,
  meetingsOf,
  placeOfGroup,
  splitsOf,
  type Communication,
  type RankProfile,
} from '../profiles/index.js';
import type { Lane } from '../schedule/index.js';
import type { Span, Trace } from '../trace/index.js';
import { degreeOfRow } from './degree-of-row.js';

export interface RecordedFrom {
  readonly cluster: Cluster;
  readonly layout: Layout;
}

interface Activity {
  readonly task: string;
  readonly lane: Lane;
  readonly start: number;
  readonly end: number;
  readonly waiting?: number;
  readonly bytes?: number;
}

const template = 'recorded';

/** One span of what ran; `offset` brings the rank's clock to that of the lowest rank. */
const spanOf = (rank: number, node: number, one: Activity, offset: number): Span => ({
  step: 0,
  rank,
  node,
  operation: `${template}/${one.task}`,
  template,
  task: one.task,
  chunk: 0,
  of: 1,
  lane: one.lane,
  issued: one.start + offset,
  ready: one.start + offset + (one.waiting ?? 0),
  end: one.end + offset,
  bytes: one.bytes ?? 0,
});

/** Communication by degree and kind, on the lane of the links that its group crosses. */
function describer({ cluster, layout }: RecordedFrom): (one: Communication) => Pick<Activity, 'task' | 'lane'> {
  const known = new Map<string, Pick<Activity, 'task' | 'lane'>>();
  return ({ op, library, group }) => {
    const { ranks, label = '', size } = group ?? {};
    const key = [op, library, label, size, ranks?.join(' ')].join('|');
    const found = known.get(key);
    if (found !== undefined) return found;
    const step = (ranks?.[1] ?? 0) - (ranks?.[0] ?? 0);
    const { nodes } = ranks === undefined ? {} : placeOfGroup(ranks, cluster, undefined);
    const row = { op, library, label, calls: 1, seconds: 0, matchedShare: 0 };
    const shaped = size === undefined ? row : { ...row, ranks: size, ...(ranks === undefined ? {} : { stride: step }) };
    const degree = degreeOfRow(shaped, layout);
    const described = {
      task: `${degree === undefined ? '' : `${degree.toUpperCase()} `}${op}`,
      lane: nodes === 1 ? 'intra' : 'inter',
    } as const;
    known.set(key, described);
    return described;
  };
}

/** All ranks on one clock, which begins with the first kernel of any. */
export function recordedTrace(profiles: readonly RankProfile[], from: RecordedFrom): Trace {
  const meetings = meetingsOf(profiles);
  const offsets = clockOffsetsOf(meetings);
  const splits = splitsOf(meetings, offsets);
  const describe = describer(from);
  const earliest = profiles.reduce((least, { rank }) => Math.min(least, offsets.get(rank) ?? 0), Infinity);
  const spans = profiles.flatMap((profile) => {
    const activities: Activity[] = [
      ...profile.compute.map(([start, end]): Activity => ({ task: 'computing', lane: 'compute', start, end })),
      ...profile.copies.map(([start, end]): Activity => ({ task: 'copies', lane: 'copy', start, end })),
      ...profile.communications.map((one): Activity => {
        const { start, end, sentBytes: bytes } = one;
        const waiting = splits.get(one)?.waiting;
        return {
          ...describe(one),
          start,
          end,
          ...(waiting === undefined ? {} : { waiting }),
          ...(bytes === undefined ? {} : { bytes }),
        };
      }),
    ];
    const offset = (offsets.get(profile.rank) ?? 0) - earliest;
    return activities.map((one, node) => spanOf(profile.rank, node, one, offset));
  });
  const [one] = profiles;
  return {
    kind: 'measured',
    source: `recorded by a profiler${one === undefined || one.device === '' ? '' : ` on ${one.device}`}`,
    ranks: profiles.reduce((most, { rank }) => Math.max(most, rank + 1), 0),
    timeScale: 1,
    spans,
  };
}
