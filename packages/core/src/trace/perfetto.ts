/**
 * Chrome's trace event format, which ui.perfetto.dev and chrome://tracing open: one process per rank, one thread per lane.
 * Written and read back without loss: exact times and all fields of a span travel in `args`.
 * Format: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
 */
import { InputError } from '../units/index.js';
import { spanLanes } from './lane-times.js';
import type { Span, Trace } from './span.js';

interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'M';
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Marks our own files, so that the reader can refuse others. */
const format = 'monta trace 1';

/** A trace as JSON text. Several traces (simulated and measured, say) stand one after another as groups of processes. */
export function writePerfetto(traces: readonly Trace[]): string {
  const events: TraceEvent[] = [];
  let base = 0;
  const heads = traces.map((trace) => {
    const ranks = [...new Set(trace.spans.map((span) => span.rank))].sort((a, b) => a - b);
    for (const rank of ranks) {
      const pid = base + rank;
      events.push(meta('process_name', pid, 0, { name: `${trace.kind} rank ${rank}` }));
      events.push(meta('process_sort_index', pid, 0, { sort_index: pid }));
      spanLanes.forEach((lane, tid) => {
        events.push(meta('thread_name', pid, tid, { name: lane }));
        events.push(meta('thread_sort_index', pid, tid, { sort_index: tid }));
      });
    }
    const starts = stepStarts(trace);
    for (const span of trace.spans) events.push(eventOf(span, base, trace.kind, starts.get(span.step) ?? 0));
    const head = { kind: trace.kind, source: trace.source, ranks: trace.ranks, firstProcess: base };
    base += Math.max(trace.ranks, ...ranks.map((rank) => rank + 1));
    return head;
  });
  const lines = events.map((event) => JSON.stringify(event)).join(',\n');
  const metadata = JSON.stringify({ format, traces: heads });
  return `{"displayTimeUnit":"ms","metadata":${metadata},"traceEvents":[\n${lines}\n]}\n`;
}

/** Spans count from their step's start; on the page steps follow one another. */
function stepStarts(trace: Trace): Map<number, number> {
  const lengths = new Map<number, number>();
  for (const span of trace.spans) lengths.set(span.step, Math.max(lengths.get(span.step) ?? 0, span.end));
  const starts = new Map<number, number>();
  let start = 0;
  for (const [step, length] of [...lengths].sort(([a], [b]) => a - b)) {
    starts.set(step, start);
    start += length;
  }
  return starts;
}

function meta(name: string, pid: number, tid: number, args: Readonly<Record<string, unknown>>): TraceEvent {
  return { name, ph: 'M', pid, tid, args };
}

function eventOf(span: Span, base: number, kind: Trace['kind'], start: number): TraceEvent {
  const { step, rank, node, operation, lane, issued, ready, end, bytes } = span;
  const seconds = end - ready;
  return {
    name: operation,
    ph: 'X',
    pid: base + rank,
    tid: spanLanes.indexOf(lane),
    // the format counts in microseconds
    ts: (start + issued) * 1e6,
    dur: (end - issued) * 1e6,
    cat: kind,
    args: {
      step,
      node,
      bytes,
      issued,
      ready,
      end,
      waitingSeconds: ready - issued,
      ...(seconds > 0 && bytes > 0 ? { bytesPerSecond: bytes / seconds } : {}),
    },
  };
}

/** Reads traces that `writePerfetto` wrote. `fileName` is for messages only. Throws `InputError` for anything else, saying where. */
export function readPerfetto(text: string, fileName: string): Trace[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new InputError(`cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}`, {
      file: fileName,
      expected: 'a trace that monta wrote',
    });
  }
  const metadata = field(document, 'metadata');
  const heads = field(metadata, 'traces');
  const events = field(document, 'traceEvents');
  if (field(metadata, 'format') !== format || !Array.isArray(heads) || !Array.isArray(events)) {
    throw new InputError('is not a trace of monta', { file: fileName, path: 'metadata.format', expected: format });
  }
  const traces = heads.map((head: unknown, index) => {
    const kind = field(head, 'kind');
    if (kind !== 'simulated' && kind !== 'measured') {
      throw new InputError(`kind is ${JSON.stringify(kind)}`, {
        file: fileName,
        path: `metadata.traces[${index}].kind`,
        expected: 'simulated or measured',
      });
    }
    const number = (name: string): number => numberAt(head, name, fileName, `metadata.traces[${index}].${name}`);
    return {
      kind,
      source: String(field(head, 'source')),
      ranks: number('ranks'),
      first: number('firstProcess'),
      spans: [] as Span[],
    } as const;
  });
  events.forEach((event: unknown, index) => {
    if (field(event, 'ph') !== 'X') return;
    const path = `traceEvents[${index}]`;
    const pid = numberAt(event, 'pid', fileName, `${path}.pid`);
    const owner = traces.findLast((trace) => trace.first <= pid);
    const lane = spanLanes[numberAt(event, 'tid', fileName, `${path}.tid`)];
    const args = field(event, 'args');
    if (!owner || !lane)
      throw new InputError('belongs to no rank or lane', { file: fileName, path, expected: 'a known pid and tid' });
    const number = (name: string): number => numberAt(args, name, fileName, `${path}.args.${name}`);
    owner.spans.push({
      step: number('step'),
      rank: pid - owner.first,
      node: number('node'),
      operation: String(field(event, 'name')),
      lane,
      issued: number('issued'),
      ready: number('ready'),
      end: number('end'),
      bytes: number('bytes'),
    });
  });
  return traces.map(({ kind, source, ranks, spans }) => ({ kind, source, ranks, spans }));
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

function numberAt(value: unknown, name: string, file: string, path: string): number {
  const found = field(value, name);
  if (typeof found === 'number' && Number.isFinite(found)) return found;
  throw new InputError(`${JSON.stringify(found)} is not a number`, { file, path, expected: 'a finite number' });
}
