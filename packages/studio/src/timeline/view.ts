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
export function firstEndingAfter({ starts, end }: OpenedTrace, row: number, moment: number): number {
  let [low, high] = [starts[row] ?? 0, starts[row + 1] ?? 0];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((end[middle] ?? 0) > moment) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** A bar as wide as it is drawn: pixels from the left edge. */
export interface DrawnBar {
  readonly span: number;
  readonly left: number;
  readonly ready: number;
  readonly right: number;
}

/**
 * Bars of a row in a window `pixels` wide. Spans too narrow to see are drawn as one, so that there are never more bars
 * than pixels.
 */
export function barsOf(trace: OpenedTrace, row: number, { from, to }: Window, pixels: number): DrawnBar[] {
  const scale = pixels / (to - from);
  const last = trace.starts[row + 1] ?? 0;
  const bars: DrawnBar[] = [];
  let covered = -1;
  for (let span = firstEndingAfter(trace, row, from); span < last; span++) {
    const issued = trace.issued[span] ?? 0;
    if (issued >= to) break;
    const right = Math.min(pixels, ((trace.end[span] ?? 0) - from) * scale);
    if (right - covered < 0.5) continue;
    const left = Math.max(0, (issued - from) * scale);
    bars.push({ span, left, ready: Math.max(left, Math.min(right, ((trace.ready[span] ?? 0) - from) * scale)), right });
    covered = right;
  }
  return bars;
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
