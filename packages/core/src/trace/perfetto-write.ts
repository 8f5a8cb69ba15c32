/**
 * Writes traces for ui.perfetto.dev: one process per rank, one thread per lane. Waiting for peers is a slice of its own
 * before the transfer; an arrow leads from the rank that an exchange waited for to the others. What overlaps on one
 * lane stands on tracks of its own, since slices of one thread must nest. All fields of a span travel in `args`, so
 * that a file is read back without loss.
 */
import { clockOffsets, groupKeys, type ClockOffsets } from './clocks.js';
import { spanLanes } from './lane-times.js';
import { perfettoFormat, spanCategory, type PerfettoArguments, type PerfettoHead } from './perfetto-format.js';
import type { Span, SpanCollective, Trace } from './span.js';
import { tracksOf } from './tracks.js';

interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'M' | 's' | 'f';
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: number;
  readonly bp?: 'e';
  readonly args?: Readonly<Record<string, unknown>> | PerfettoArguments;
}

/**
 * A trace as JSON text. Several traces (simulated and measured, say) stand one after another as groups of processes.
 */
export const writePerfetto = (traces: readonly Trace[]): string => [...perfettoPieces(traces)].join('');

/** About so many characters go into one piece. */
const pieceLength = 1 << 16;

/** The same text in pieces, for traces whose text is too long for one string. */
export function* perfettoPieces(traces: readonly Trace[]): Generator<string> {
  const layouts = layOut(traces);
  const heads = layouts.map(({ head }) => head);
  const metadata = JSON.stringify({ format: perfettoFormat, traces: heads });
  let piece = `{"displayTimeUnit":"ms","metadata":${metadata},"traceEvents":[`;
  let between = '\n';
  for (const layout of layouts) {
    for (const event of eventsOf(layout)) {
      piece += between + JSON.stringify(event);
      between = ',\n';
      if (piece.length < pieceLength) continue;
      yield piece;
      piece = '';
    }
  }
  yield `${piece}\n]}\n`;
}

/** A trace and where it stands in the file. */
interface Layout {
  readonly trace: Trace;
  readonly head: PerfettoHead;
  /** Which of how many traces of the file. */
  readonly place: number;
  readonly traces: number;
  /** Number of its first arrow. */
  readonly firstArrow: number;
  /** Place of a collective's group among the groups of the head. */
  readonly groupOf: (collective: SpanCollective) => number;
}

function layOut(traces: readonly Trace[]): Layout[] {
  let [firstProcess, firstArrow] = [0, 0];
  return traces.map((trace, place) => {
    const { groups, groupOf } = groupsOf(trace.spans);
    const { spans, ...rest } = trace;
    const head = { ...rest, firstProcess, groups };
    const layout = { trace, head, place, traces: traces.length, firstArrow, groupOf };
    firstProcess += spans.reduce((most, { rank }) => Math.max(most, rank + 1), trace.ranks);
    firstArrow += spans.length;
    return layout;
  });
}

function groupsOf(spans: readonly Span[]): { groups: PerfettoHead['groups']; groupOf: Layout['groupOf'] } {
  const keyOf = groupKeys();
  const places = new Map<string, number>();
  const groups: { group: SpanCollective['group']; members: readonly number[] }[] = [];
  const groupOf = (collective: SpanCollective): number => {
    const key = `${collective.group} ${keyOf(collective)}`;
    const place = places.get(key) ?? groups.push({ group: collective.group, members: collective.members }) - 1;
    places.set(key, place);
    return place;
  };
  for (const { collective } of spans) if (collective !== undefined) groupOf(collective);
  return { groups, groupOf };
}

/** Threads are numbered lane by lane, with room for the tracks of each. */
const tracksPerLane = 64;

function* eventsOf(layout: Layout): Generator<TraceEvent> {
  const { trace, head } = layout;
  const offsets = clockOffsets(trace.spans);
  const tracks = tracksOf(trace.spans);
  const threadOf = (span: Span, index: number): number =>
    spanLanes.indexOf(span.lane) * tracksPerLane + Math.min(tracks[index] ?? 0, tracksPerLane - 1);
  yield* namesOf(layout, threadOf);
  const starts = stepStarts(trace.spans, offsets);
  const place = (span: Span): number => (starts.get(span.step) ?? 0) + offsets(span.step, span.rank);
  for (const [index, span] of trace.spans.entries()) {
    const [pid, tid, start] = [head.firstProcess + span.rank, threadOf(span, index), place(span)];
    if (span.ready > span.issued) {
      const [ts, dur] = [microseconds(start + span.issued), microseconds(span.ready - span.issued)];
      yield { name: `waiting: ${span.task}`, ph: 'X', pid, tid, ts, dur, cat: 'waiting' };
    }
    yield {
      name: span.operation,
      ph: 'X',
      pid,
      tid,
      ts: microseconds(start + span.ready),
      dur: microseconds(span.end - span.ready),
      cat: spanCategory[trace.kind],
      args: argumentsOf(span, layout),
    };
  }
  yield* arrowsOf(layout, threadOf, place);
}

const microseconds = (seconds: number): number => seconds * 1e6;

function* namesOf(
  { trace, head, place, traces }: Layout,
  threadOf: (span: Span, index: number) => number,
): Generator<TraceEvent> {
  const threads = new Map<number, Set<number>>();
  for (const [index, span] of trace.spans.entries()) {
    const used = threads.get(span.rank) ?? new Set(spanLanes.map((_, lane) => lane * tracksPerLane));
    threads.set(span.rank, used.add(threadOf(span, index)));
  }
  for (const [rank, used] of [...threads].sort(([a], [b]) => a - b)) {
    const pid = head.firstProcess + rank;
    yield meta('process_name', pid, 0, { name: `${trace.kind} rank ${rank}` });
    // the same rank of all traces side by side
    yield meta('process_sort_index', pid, 0, { sort_index: rank * traces + place });
    for (const tid of [...used].sort((a, b) => a - b)) {
      const [lane, track] = [spanLanes[Math.floor(tid / tracksPerLane)] ?? '', tid % tracksPerLane];
      yield meta('thread_name', pid, tid, { name: track === 0 ? lane : `${lane} ${track + 1}` });
      yield meta('thread_sort_index', pid, tid, { sort_index: tid });
    }
  }
}

const meta = (name: string, pid: number, tid: number, args: Readonly<Record<string, unknown>>): TraceEvent => ({
  name,
  ph: 'M',
  pid,
  tid,
  args,
});

/** Spans count from their step's start; on the page steps follow one another. */
function stepStarts(spans: readonly Span[], offsets: ClockOffsets): Map<number, number> {
  const reach = new Map<number, { first: number; last: number }>();
  for (const { step, rank, end } of spans) {
    const offset = offsets(step, rank);
    const { first, last } = reach.get(step) ?? { first: 0, last: 0 };
    reach.set(step, { first: Math.min(first, offset), last: Math.max(last, end + offset) });
  }
  const starts = new Map<number, number>();
  let start = 0;
  for (const [step, { first, last }] of [...reach].sort(([a], [b]) => a - b)) {
    starts.set(step, start - first);
    start += last - first;
  }
  return starts;
}

function argumentsOf(span: Span, { groupOf }: Layout): PerfettoArguments {
  const { step, node, template, task, chunk, of, lane, bytes, issued, ready, end, collective } = span;
  const seconds = end - ready;
  return {
    step,
    node,
    template,
    task,
    chunk,
    of,
    lane,
    ...(collective === undefined ? {} : { collective: collective.name, group: groupOf(collective) }),
    bytes,
    issued,
    ready,
    end,
    ...(seconds > 0 && bytes > 0 ? { bytesPerSecond: bytes / seconds } : {}),
  };
}

/** Arrows of the exchanges: from the rank that came last, for which the others waited, to its peers. */
function* arrowsOf(
  { trace, head, groupOf, firstArrow }: Layout,
  threadOf: (span: Span, index: number) => number,
  place: (span: Span) => number,
): Generator<TraceEvent> {
  const meetings = new Map<string, number[]>();
  for (const [index, { step, node, operation, collective }] of trace.spans.entries()) {
    if (collective?.name !== 'all_to_all') continue;
    const key = `${step} ${node} ${operation} ${groupOf(collective)}`;
    const meeting = meetings.get(key);
    if (meeting) meeting.push(index);
    else meetings.set(key, [index]);
  }
  let id = firstArrow;
  for (const meeting of meetings.values()) {
    const members = meeting.flatMap((index) => {
      const span = trace.spans[index];
      return span === undefined ? [] : [{ span, index }];
    });
    const last = members.reduce((a, b) => (waited(b.span) < waited(a.span) ? b : a));
    for (const peer of members) {
      if (peer === last) continue;
      const arrow = { name: last.span.task, cat: 'exchange', id: id++ };
      yield { ...arrow, ph: 's', ...pointOf(last) };
      yield { ...arrow, ph: 'f', bp: 'e', ...pointOf(peer) };
    }
  }

  function pointOf({ span, index }: { span: Span; index: number }): Pick<TraceEvent, 'pid' | 'tid' | 'ts'> {
    const ts = microseconds(place(span) + span.ready);
    return { pid: head.firstProcess + span.rank, tid: threadOf(span, index), ts };
  }
}

const waited = (span: Span): number => span.ready - span.issued;
