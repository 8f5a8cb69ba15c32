/** Which part of a trace a canvas shows, and which of its spans: pure arithmetic, drawn elsewhere. */
import type { OpenedTrace } from './opened-trace.js';

/** Seconds at the left and right edge. */
export interface Window {
  readonly from: number;
  readonly to: number;
}

/** The window scaled by `factor` about a moment, within the trace. */
export function zoomed({ from, to }: Window, factor: number, about: number, seconds: number): Window {
  const width = Math.min(seconds, Math.max((to - from) * factor, seconds * 1e-7));
  const share = (about - from) / (to - from);
  return within({ from: about - share * width, to: about + (1 - share) * width }, seconds);
}

/** The window moved by some seconds, within the trace. */
export const panned = ({ from, to }: Window, by: number, seconds: number): Window =>
  within({ from: from + by, to: to + by }, seconds);

function within({ from, to }: Window, seconds: number): Window {
  const width = Math.min(to - from, seconds);
  const start = Math.min(Math.max(from, 0), seconds - width);
  return { from: start, to: start + width };
}

/** The first span of a row that ends after a moment; spans of a row follow one another. */
function firstEndingAfter({ starts, end }: OpenedTrace, row: number, moment: number): number {
  let [low, high] = [starts[row] ?? 0, starts[row + 1] ?? 0];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((end[middle] ?? 0) > moment) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** A bar in whole pixels from the left edge: pale from `left`, full from `ready`, until `right`. */
export interface Bar {
  readonly span: number;
  readonly left: number;
  readonly ready: number;
  readonly right: number;
}

/**
 * Bars of a row in a window `pixels` wide, from the left. A span too narrow to see takes a whole pixel, and stands for
 * the others that end in it: what is drawn and how long that takes goes by the pixels, however many spans there are.
 */
export function* barsOf(trace: OpenedTrace, row: number, { from, to }: Window, pixels: number): Generator<Bar> {
  const scale = pixels / (to - from);
  const last = trace.starts[row + 1] ?? 0;
  let span = firstEndingAfter(trace, row, from);
  let drawn = 0;
  while (span < last && (trace.issued[span] ?? 0) < to) {
    const start = Math.max(drawn, Math.floor(((trace.issued[span] ?? 0) - from) * scale));
    const end = Math.ceil(((trace.end[span] ?? 0) - from) * scale);
    const right = Math.min(pixels, Math.max(start + 1, end));
    if (start >= pixels) break;
    const begins = Math.round(((trace.ready[span] ?? 0) - from) * scale);
    yield { span, left: start, ready: Math.max(start, Math.min(right - 1, begins)), right };
    drawn = right;
    const moment = from + drawn / scale;
    span = (trace.end[span + 1] ?? 0) > moment ? span + 1 : Math.max(span + 1, firstEndingAfter(trace, row, moment));
  }
}

/** The span at a moment of a row, or undefined. */
export function spanAt(trace: OpenedTrace, row: number, moment: number): number | undefined {
  const span = firstEndingAfter(trace, row, moment);
  return span < (trace.starts[row + 1] ?? 0) && (trace.issued[span] ?? 0) <= moment ? span : undefined;
}

/** Spans whose task holds a text, from `after` on and around again; undefined where none does. */
export function nextWith({ task, tasks }: OpenedTrace, text: string, after: number): number | undefined {
  const wanted = text.toLowerCase();
  const kinds = new Set(tasks.flatMap((name, kind) => (name.toLowerCase().includes(wanted) ? [kind] : [])));
  for (let step = 1; step <= task.length; step++) {
    const span = (after + step) % task.length;
    if (kinds.has(task[span] ?? -1)) return span;
  }
  return undefined;
}
