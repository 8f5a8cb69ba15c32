/**
 * One clock for all ranks. Spans count from the start of their own rank, and ranks start one after another; but a
 * collective is ready for all its members at one moment, so each meeting of two ranks tells how far their clocks are
 * apart.
 */
import type { Span, SpanCollective } from './span.js';

/** When the members of a group met first in a step, on the clock of each. */
type Meeting = Map<number, number>;

/** Seconds to add to the times of a rank in a step, so that ranks that met agree; 0 for ranks that met nobody. */
export type ClockOffsets = (step: number, rank: number) => number;

/**
 * Aligns the clocks of all ranks, step by step: each to the lowest rank that it met, straight or through others, by the
 * largest group.
 */
export function clockOffsets(spans: Iterable<Span>): ClockOffsets {
  const steps = new Map<number, Map<string, { first: string; meeting: Meeting }>>();
  const keyOf = groupKeys();
  for (const span of spans) {
    if (span.collective === undefined) continue;
    const groups = steps.get(span.step) ?? new Map<string, { first: string; meeting: Meeting }>();
    steps.set(span.step, groups);
    const key = keyOf(span.collective);
    const operation = `${span.node} ${span.operation}`;
    const group = groups.get(key) ?? { first: operation, meeting: new Map() };
    groups.set(key, group);
    if (group.first === operation) group.meeting.set(span.rank, span.ready);
  }
  const offsets = new Map([...steps].map(([step, groups]) => [step, aligned([...groups.values()])]));
  return (step, rank) => offsets.get(step)?.get(rank) ?? 0;
}

/** Text for the members of a group; they are few objects, shared by many spans. */
export function groupKeys(): (collective: SpanCollective) => string {
  const keys = new Map<SpanCollective, string>();
  return (collective) => {
    const known = keys.get(collective);
    if (known !== undefined) return known;
    const key = collective.members.join(' ');
    keys.set(collective, key);
    return key;
  };
}

function aligned(groups: readonly { readonly meeting: Meeting }[]): Map<number, number> {
  const meetings = groups.map(({ meeting }) => meeting).sort((a, b) => b.size - a.size);
  const meetingsOf = new Map<number, Meeting[]>();
  for (const meeting of meetings) {
    for (const rank of meeting.keys()) meetingsOf.set(rank, [...(meetingsOf.get(rank) ?? []), meeting]);
  }
  const offsets = new Map<number, number>();
  for (const start of [...meetingsOf.keys()].sort((a, b) => a - b)) {
    if (offsets.has(start)) continue;
    offsets.set(start, 0);
    const open = [start];
    for (let rank = open.shift(); rank !== undefined; rank = open.shift()) {
      for (const meeting of meetingsOf.get(rank) ?? []) {
        const moment = (meeting.get(rank) ?? 0) + (offsets.get(rank) ?? 0);
        for (const [other, ready] of meeting) {
          if (offsets.has(other)) continue;
          offsets.set(other, moment - ready);
          open.push(other);
        }
      }
    }
  }
  return offsets;
}
