/** A trace as columns of numbers, which a worker hands over without copying and a canvas draws fast. */
import { choiceName, InputError, readPerfetto, routedBinding, simulatePass, spanLanes, type Trace } from '@monta/core';
import { choiceOf, readLayer, type LayerSliders } from '../explore/answer.js';
import type { Subject } from '../subject/subject.js';

export interface OpenedTrace {
  readonly title: string;
  /** What its times rest on. */
  readonly note: string;
  /** Names of rows, from the top. */
  readonly rows: readonly string[];
  /** By row, its rank; undefined where it is a device's or a stream's. */
  readonly ranks: readonly (number | undefined)[];
  /** Whether some rows are a simulation of what others measured. */
  readonly overlaid: boolean;
  /** Names of tasks; a span's colour is its task. */
  readonly tasks: readonly string[];
  /** By span, those of a row by their start: row, task, seconds of its turn, of the last peer's, and of its end. */
  readonly row: Uint16Array;
  readonly task: Uint16Array;
  readonly issued: Float64Array;
  readonly ready: Float64Array;
  readonly end: Float64Array;
  readonly bytes: Float64Array;
  /** 1: on the critical path, where it is known. */
  readonly critical: Uint8Array;
  /** Where the spans of each row begin, and the last row's end. */
  readonly starts: Uint32Array;
  readonly seconds: number;
}

/** Ranks of a simulated layer that are drawn. */
const mostRanks = 16;

/** A span of any source. */
interface Bar {
  readonly row: string;
  readonly rank?: number;
  readonly task: string;
  readonly issued: number;
  readonly ready: number;
  readonly end: number;
  readonly bytes: number;
  readonly critical: boolean;
}

const numbering = (): { readonly names: string[]; readonly of: (name: string) => number } => {
  const known = new Map<string, number>();
  const names: string[] = [];
  return {
    names,
    of: (name) => {
      const found = known.get(name);
      if (found !== undefined) return found;
      known.set(name, names.length);
      names.push(name);
      return names.length - 1;
    },
  };
};

function opened(title: string, note: string, bars: readonly Bar[]): OpenedTrace {
  const rows = numbering();
  const ranks: (number | undefined)[] = [];
  const tasks = numbering();
  const sorted = bars
    .map((bar) => {
      const row = rows.of(bar.row);
      ranks[row] = bar.rank;
      return { ...bar, row, task: tasks.of(bar.task) };
    })
    .sort((a, b) => a.row - b.row || a.issued - b.issued);
  const count = sorted.length;
  const starts = new Uint32Array(rows.names.length + 1);
  for (const { row } of sorted) starts[row + 1] = (starts[row + 1] ?? 0) + 1;
  for (let row = 0; row < rows.names.length; row++) starts[row + 1] = (starts[row + 1] ?? 0) + (starts[row] ?? 0);
  const first = sorted.reduce((least, { issued }) => Math.min(least, issued), Infinity);
  const last = sorted.reduce((most, { end }) => Math.max(most, end), 0);
  const origin = count === 0 ? 0 : first;
  return {
    title,
    note,
    rows: rows.names,
    ranks,
    overlaid: false,
    tasks: tasks.names,
    row: Uint16Array.from(sorted, ({ row }) => row),
    task: Uint16Array.from(sorted, ({ task }) => task),
    issued: Float64Array.from(sorted, ({ issued }) => issued - origin),
    ready: Float64Array.from(sorted, ({ ready }) => ready - origin),
    end: Float64Array.from(sorted, ({ end }) => end - origin),
    bytes: Float64Array.from(sorted, ({ bytes }) => bytes),
    critical: Uint8Array.from(sorted, ({ critical }) => Number(critical)),
    starts,
    seconds: last - origin,
  };
}

/** Names a span on the critical path. */
const pathKey = (rank: number, operation: string): string => `${rank} ${operation}`;

/**
 * Traces under one another, lane by lane: of every lane the simulated and the measured one. `path` holds what is on the
 * critical path.
 */
function ofTraces(name: string, traces: readonly Trace[], path: ReadonlySet<string> = new Set()): OpenedTrace {
  const several = traces.length > 1;
  const bars = traces.flatMap(({ kind, spans }, trace) =>
    spans.map((span) => {
      const { rank, lane, task, operation, issued, ready, end, bytes } = span;
      const row = `rank ${rank} · ${lane}${several ? ` · ${kind}` : ''}`;
      const critical = path.has(pathKey(rank, operation));
      return { rank, lane, trace, bar: { row, rank, task, issued, ready, end, bytes, critical } };
    }),
  );
  const sorted = bars.sort(
    (a, b) => a.rank - b.rank || spanLanes.indexOf(a.lane) - spanLanes.indexOf(b.lane) || a.trace - b.trace,
  );
  const note = traces.map(({ kind, source }) => `${kind}: ${source}`).join('; ');
  const bare = opened(
    name,
    note,
    sorted.map(({ bar }) => bar),
  );
  return { ...bare, overlaid: several && traces.some(({ kind }) => kind === 'simulated') };
}

interface KinetoEvent {
  readonly ph?: string;
  readonly name?: unknown;
  readonly pid?: unknown;
  readonly tid?: unknown;
  readonly ts?: unknown;
  readonly dur?: unknown;
  readonly cat?: unknown;
}

/** Spans that run on the device, of a trace by PyTorch's profiler; those of the host where there are none. */
function kinetoBars(events: readonly KinetoEvent[]): Bar[] {
  const spans = events.filter(({ ph, ts, dur }) => ph === 'X' && typeof ts === 'number' && typeof dur === 'number');
  const device = spans.filter(({ cat }) => cat === 'kernel' || cat === 'gpu_memcpy' || cat === 'gpu_memset');
  const shown = (device.length > 0 ? device : spans).sort((a, b) => Number(a.ts) - Number(b.ts));
  const depths = new Map<string, number[]>();
  return shown.map(({ name, pid, tid, ts, dur }) => {
    const begin = Number(ts) / 1e6;
    const where =
      device.length > 0 ? `device ${String(pid)} · stream ${String(tid)}` : `${String(pid)} · ${String(tid)}`;
    // Calls within calls, and kernels that run beside one another on a stream, have a lane each.
    const ends = depths.get(where) ?? [];
    depths.set(where, ends);
    const free = ends.findIndex((end) => end <= Number(ts));
    const depth = free < 0 ? ends.length : free;
    ends[depth] = Number(ts) + Number(dur);
    return {
      row: depth === 0 ? where : `${where} · ${depth + 1}`,
      task: String(name),
      issued: begin,
      ready: begin,
      end: begin + Number(dur) / 1e6,
      bytes: 0,
      critical: false,
    };
  });
}

/** Rows and spans of what was dropped. Throws `InputError` for what is no trace. */
export function openTrace(name: string, buffer: ArrayBuffer): OpenedTrace {
  const text = new TextDecoder().decode(buffer);
  try {
    return ofTraces(name, readPerfetto(text, name));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const bars = kinetoBars(eventsOf(text, name, error));
    if (bars.length === 0)
      throw new InputError('no span is in it', { file: name, expected: 'a trace of Monta or of the PyTorch profiler' });
    return opened(name, 'measured by a profiler; waiting is not told from transferring', bars);
  }
}

/** `traceEvents` of JSON that is not a trace of Monta's. */
function eventsOf(text: string, name: string, notOurs: InputError): readonly KinetoEvent[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw notOurs;
  }
  const events = Array.isArray(parsed)
    ? parsed
    : typeof parsed === 'object' && parsed !== null && 'traceEvents' in parsed
      ? parsed.traceEvents
      : undefined;
  if (!Array.isArray(events))
    throw new InputError('holds no trace events', {
      file: name,
      expected: 'a trace of Monta (monta train, monta simulate --trace) or of the PyTorch profiler',
    });
  return events.filter((event): event is KinetoEvent => typeof event === 'object' && event !== null);
}

/** The layer of the sliders, by its best way, of the ranks of one node. Throws `InputError`. */
export function layerTrace(sliders: LayerSliders, subject: Subject, pass: 'forward' | 'backward'): OpenedTrace {
  const workload = readLayer(sliders, subject);
  const { best } = choiceOf(workload);
  const { shape, routing, seed } = workload;
  const chosen = { ...workload, shape: { ...shape, layout: best.layout } };
  const simulated = simulatePass(chosen, best.strategy, pass, routedBinding(chosen.shape, routing, seed));
  if (!simulated.known) throw new InputError(simulated.missing.join('; '), { file: 'cluster' });
  const { trace, summary } = simulated;
  const spans = trace.spans.filter(({ rank }) => rank < mostRanks);
  const path = new Set(summary.path.map(({ rank, operation }) => pathKey(rank, operation)));
  return ofTraces(`${choiceName(best)}, ${pass}`, [{ ...trace, spans }], path);
}
