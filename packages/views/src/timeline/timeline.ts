/**
 * A timeline of lanes as a self-contained SVG: one panel per trace on a common time axis, one row per lane, ranks under
 * one another.
 */
import type { Span, Trace } from '@monta/core';
import { formatBytes, formatSeconds } from '@monta/core/units';
import { spanLanes } from '@monta/core/trace';
import { heading, plotMargin, type LegendItem } from '../plots/axes.js';
import {
  defaultWidth,
  drawing,
  element,
  escapeXml,
  estimateTextWidth,
  fill,
  label,
  line,
  seriesRole,
  type Attributes,
  type Role,
} from '../svg.js';

export interface TimelinePanel {
  /** Above the panel. */
  readonly title: string;
  /** What it shows. */
  readonly trace: Trace;
  /** What its times rest on; the trace's kind and source when left out. */
  readonly note?: string;
}

export interface TimelineOptions {
  /** Ranks to draw; the first one of each trace when left out. */
  readonly ranks?: readonly number[];
  /** Seconds to draw, from the step's start; everything when left out. */
  readonly from?: number;
  readonly to?: number;
  /** Step to draw; the first one of each trace when left out. */
  readonly step?: number;
  /** px; `defaultWidth` when left out. */
  readonly width?: number;
}

const rowHeight = 22;
const rowGap = 3;
const rankGap = 8;
/** Names of lanes end here. */
const left = plotMargin + 62;
const right = 16;
/** Bars that are narrower are merged with the one before. */
const narrowest = 0.3;
/** Tasks that are told apart by colour; the rest share the last role. */
const coloured = 7;
const others: Role = 's7';

interface Row {
  readonly lane: string;
  readonly y: number;
  readonly spans: readonly Span[];
}

interface TimeAxis {
  readonly from: number;
  readonly to: number;
  /** Pixels of a time, kept inside the drawing. */
  readonly at: (seconds: number) => number;
}

/**
 * Draws traces. A bar's pale part is waiting for peers, its full part running or transferring; the colour is the task,
 * the same for all its chunks and in all panels. Every bar tells its times when pointed at.
 */
export function timelineSvg(panels: readonly TimelinePanel[], options: TimelineOptions = {}): string {
  const width = options.width ?? defaultWidth;
  const drawn = panels.map((panel) => ({ ...panel, spans: selected(panel.trace, options) }));
  const from = options.from ?? 0;
  const to = options.to ?? drawn.reduce((end, { spans }) => Math.max(end, latest(spans)), 0);
  const scale = (width - left - right) / Math.max(to - from, Number.MIN_VALUE);
  const axis: TimeAxis = { from, to, at: (seconds) => left + (Math.min(Math.max(seconds, from), to) - from) * scale };
  const roles = taskRoles(drawn.flatMap(({ spans }) => spans));
  const legend = heading(width, undefined, undefined, legendOf(roles));
  const parts = [legend.markup];
  let y = legend.height + 4;
  for (const { title, trace, note, spans } of drawn) {
    const about = heading(width, title, note ?? `${trace.kind} · ${trace.source}`, []);
    parts.push(element('g', { transform: `translate(0 ${y})` }, about.markup));
    y += about.height + 4;
    const top = y;
    const { rows, markup, bottom } = layOut(spans, y);
    parts.push(markup, timeAxis(axis, top, bottom));
    for (const row of rows) parts.push(laneRow(row, axis, roles));
    y = bottom + 30;
  }
  return drawing(width, y, panels.map(({ title }) => title).join(', '), ...parts);
}

function latest(spans: readonly Span[]): number {
  let end = 0;
  for (const span of spans) end = Math.max(end, span.end);
  return end;
}

function selected(trace: Trace, options: TimelineOptions): Span[] {
  const first = trace.spans[0];
  const step = options.step ?? first?.step;
  const ranks = new Set(options.ranks ?? (first ? [first.rank] : []));
  return trace.spans.filter((span) => span.step === step && ranks.has(span.rank));
}

/** Colours by time spent, so that what matters is told apart. */
function taskRoles(spans: readonly Span[]): Map<string, Role> {
  const seconds = new Map<string, number>();
  for (const { task, ready, end } of spans) seconds.set(task, (seconds.get(task) ?? 0) + end - ready);
  const names = [...seconds].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  return new Map(names.map((name, index) => [name, index < coloured ? seriesRole(index) : others]));
}

function legendOf(roles: ReadonlyMap<string, Role>): LegendItem[] {
  const named = [...roles].filter(([, role]) => role !== others);
  const rest = roles.size - named.length;
  return [
    ...named.map(([name, role]): LegendItem => ({ name, role, shape: 'box' })),
    ...(rest > 0 ? [{ name: rest === 1 ? '1 other' : `${rest} others`, role: others, shape: 'box' } as const] : []),
    { name: 'pale: waiting for peers', role: 's0', shape: 'pale' },
  ];
}

function layOut(spans: readonly Span[], top: number): { rows: Row[]; markup: string; bottom: number } {
  const rows: Row[] = [];
  const names: string[] = [];
  let y = top + 4;
  for (const rank of [...new Set(spans.map((span) => span.rank))].sort((a, b) => a - b)) {
    names.push(label(plotMargin, y + 11, `rank ${rank}`, { role: 'ink' }));
    y += 18;
    for (const lane of spanLanes) {
      const own = spans.filter((span) => span.rank === rank && span.lane === lane);
      if (own.length === 0) continue;
      rows.push({ lane, y, spans: own.sort((a, b) => a.issued - b.issued) });
      y += rowHeight + rowGap;
    }
    y += rankGap;
  }
  return { rows, markup: names.join(''), bottom: y - rankGap };
}

function laneRow({ lane, y, spans }: Row, axis: TimeAxis, roles: ReadonlyMap<string, Role>): string {
  const parts = [label(left - 8, y + rowHeight / 2 + 4, lane, { anchor: 'end', role: 'ink' })];
  let covered = -Infinity;
  for (const span of spans) {
    if (span.end < axis.from || span.issued > axis.to) continue;
    const [start, ready, end] = [axis.at(span.issued), axis.at(span.ready), axis.at(span.end)];
    if (end - covered < narrowest) continue;
    covered = end;
    const role = roles.get(span.task) ?? others;
    const marks = [element('title', {}, escapeXml(tipOf(span)))];
    if (ready - start >= narrowest) marks.push(bar([start, ready], y, { ...fill(role), 'fill-opacity': 0.25 }));
    marks.push(bar([ready, Math.max(end, ready + narrowest)], y, fill(role)));
    const text = fitting(span, end - ready);
    if (text !== '')
      marks.push(label((ready + end) / 2, y + rowHeight / 2 + 4, text, { anchor: 'middle', role: 'surface' }));
    parts.push(element('g', {}, ...marks));
  }
  return parts.join('');
}

function tipOf({ operation, node, issued, ready, end, bytes, collective }: Span): string {
  const peers = collective === undefined ? '' : `, ${collective.name} of ranks ${collective.members.join(' ')}`;
  return (
    `${operation} (node ${node}): ${formatSeconds(end - ready)}, ${formatSeconds(ready - issued)} waiting, ` +
    `${formatBytes(bytes)}${peers}`
  );
}

/** The longest name of an operation that fits into a bar: all of it, its chunk number, or nothing. */
function fitting({ task, chunk, of }: Span, pixels: number): string {
  const names = of > 1 ? [`${task} ${chunk}`, String(chunk)] : [task];
  return names.find((name) => estimateTextWidth(name) + 4 <= pixels) ?? '';
}

function bar([start, end]: readonly [number, number], y: number, look: Attributes): string {
  // a hair of ground between neighbours
  const gap = end - start > 3 ? 0.75 : 0;
  return element('rect', { x: start, y, width: end - start - gap, height: rowHeight, ...look });
}

function timeAxis({ from, to, at }: TimeAxis, top: number, bottom: number): string {
  const parts: string[] = [];
  const room = at(to) - at(from);
  const step = niceStep((to - from) / Math.max(2, Math.round(room / 70)));
  if (step > 0) {
    for (let tick = Math.ceil(from / step - 1e-9); tick * step <= to * (1 + 1e-9); tick++) {
      const x = at(tick * step);
      const text = tick === 0 ? '0' : formatSeconds(tick * step);
      // the last one must not be cut at the edge
      const last = x + estimateTextWidth(text) / 2 > at(to) + right;
      parts.push(line({ x1: x, y1: top, x2: x, y2: bottom, role: 'grid' }));
      parts.push(label(last ? at(to) + right - 2 : x, bottom + 15, text, { anchor: last ? 'end' : 'middle' }));
    }
  }
  return parts.join('');
}

/** The next of 1, 2, 5 times a power of ten. */
function niceStep(raw: number): number {
  if (!(raw > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5].find((factor) => factor * power >= raw) ?? 10);
}
