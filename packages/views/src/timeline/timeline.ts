/** A timeline of lanes as a self-contained SVG: one panel per trace on a common time axis, one row per rank and lane. */
import { formatBytes, formatSeconds, spanLanes, type Span, type Trace } from '@monta/core';

export interface TimelinePanel {
  readonly title: string;
  readonly trace: Trace;
}

export interface TimelineOptions {
  /** Ranks to draw; the first one of each trace when left out. */
  readonly ranks?: readonly number[];
  /** Seconds to draw, from the step's start; everything when left out. */
  readonly from?: number;
  readonly to?: number;
  /** Step to draw; the first one of each trace when left out. */
  readonly step?: number;
  /** Pixels. */
  readonly width?: number;
}

const rowHeight = 20;
const rowGap = 3;
const rankGap = 10;
const left = 128;
const right = 24;
const fontSize = 11;
/** A generous width of one letter, since text cannot be measured here. */
const letterWidth = fontSize * 0.6;
/** Bars that are narrower are merged with the one before. */
const narrowest = 0.3;

/** Tableau 10: distinct also side by side; the grey is for whatever comes after. */
const colours = ['#4e79a7', '#f28e2b', '#59a14f', '#e15759', '#76b7b2', '#edc948', '#b07aa1', '#9c755f', '#ff9da7'];
const otherColour = '#bab0ac';
const darkText = new Set(['#f28e2b', '#76b7b2', '#edc948', '#ff9da7', otherColour]);

interface Row {
  readonly label: string;
  readonly y: number;
  readonly spans: readonly Span[];
}

/**
 * Draws traces. A bar's pale part is waiting for peers, its full part running or transferring; the colour is the task, the same for
 * all its chunks and in all panels. Every bar tells its times when pointed at.
 */
export function timelineSvg(panels: readonly TimelinePanel[], options: TimelineOptions = {}): string {
  const width = options.width ?? 1200;
  const drawn = panels.map(({ title, trace }) => ({ title, trace, spans: selected(trace, options) }));
  const from = options.from ?? 0;
  const to = options.to ?? Math.max(0, ...drawn.map(({ spans }) => latest(spans)));
  const scale = (width - left - right) / Math.max(to - from, Number.MIN_VALUE);
  const x = (seconds: number): number => left + (Math.min(Math.max(seconds, from), to) - from) * scale;
  const families = familyColours(drawn.flatMap(({ spans }) => spans));
  const legend = drawLegend(families, width);
  const parts = [legend.svg];
  let y = legend.bottom + 10;
  for (const { title, trace, spans } of drawn) {
    parts.push(text(12, y + 14, title, 'font-weight="600" font-size="13"'));
    parts.push(text(12 + (title.length + 2) * 7.8, y + 14, `${trace.kind} · ${trace.source}`, 'fill="#666"'));
    y += 26;
    const top = y;
    const { rows, bottom } = layOut(spans, y);
    parts.push(drawAxis(from, to, x, top, bottom));
    for (const row of rows) parts.push(drawRow(row, from, to, x, families));
    y = bottom + 34;
  }
  const font = `font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="${fontSize}" fill="#222"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" ${font}>`,
    `<rect width="${width}" height="${y}" fill="#fff"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
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
function familyColours(spans: readonly Span[]): Map<string, string> {
  const seconds = new Map<string, number>();
  for (const { task, ready, end } of spans) seconds.set(task, (seconds.get(task) ?? 0) + end - ready);
  const names = [...seconds].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  return new Map(names.map((name, index) => [name, colours[index] ?? otherColour]));
}

function drawLegend(families: ReadonlyMap<string, string>, width: number): { svg: string; bottom: number } {
  const entries: { label: string; fill: string; opacity: number }[] = [];
  let others = 0;
  for (const [name, colour] of families) {
    if (colour === otherColour) others += 1;
    else entries.push({ label: name, fill: colour, opacity: 1 });
  }
  if (others > 0) entries.push({ label: others === 1 ? '1 other' : `${others} others`, fill: otherColour, opacity: 1 });
  entries.push({ label: 'pale: waiting for peers', fill: '#4e79a7', opacity: 0.25 });
  const parts: string[] = [];
  let [atX, atY] = [12, 12];
  for (const { label, fill, opacity } of entries) {
    const wide = 22 + label.length * letterWidth + 14;
    if (atX + wide > width - right) [atX, atY] = [12, atY + 18];
    parts.push(`<rect x="${atX}" y="${atY}" width="12" height="12" rx="2" fill="${fill}" fill-opacity="${opacity}"/>`);
    parts.push(text(atX + 17, atY + 10, label));
    atX += wide;
  }
  return { svg: parts.join(''), bottom: atY + 18 };
}

function layOut(spans: readonly Span[], top: number): { rows: Row[]; bottom: number } {
  const rows: Row[] = [];
  let y = top + 4;
  for (const rank of [...new Set(spans.map((span) => span.rank))].sort((a, b) => a - b)) {
    for (const lane of spanLanes) {
      const own = spans.filter((span) => span.rank === rank && span.lane === lane);
      if (own.length === 0) continue;
      rows.push({ label: `rank ${rank} ${lane}`, y, spans: own.sort((a, b) => a.issued - b.issued) });
      y += rowHeight + rowGap;
    }
    y += rankGap;
  }
  return { rows, bottom: y - rankGap };
}

function drawRow(
  row: Row,
  from: number,
  to: number,
  x: (seconds: number) => number,
  families: ReadonlyMap<string, string>,
): string {
  const parts = [text(left - 8, row.y + rowHeight / 2 + 4, row.label, 'text-anchor="end"')];
  let covered = -Infinity;
  for (const span of row.spans) {
    if (span.end < from || span.issued > to) continue;
    const [start, ready, end] = [x(span.issued), x(span.ready), x(span.end)];
    if (end - covered < narrowest) continue;
    covered = end;
    const fill = families.get(span.task) ?? otherColour;
    const waiting = `${formatSeconds(span.ready - span.issued)} waiting`;
    const busy = formatSeconds(span.end - span.ready);
    const tip = `${span.operation} (node ${span.node}): ${busy}, ${waiting}, ${formatBytes(span.bytes)}`;
    parts.push(`<g><title>${escape(tip)}</title>`);
    if (ready - start >= narrowest) parts.push(bar(start, ready, row.y, fill, 0.25));
    parts.push(bar(ready, Math.max(end, ready + narrowest), row.y, fill, 1));
    const label = fitting(span, end - ready);
    if (label !== '') {
      const ink = darkText.has(fill) ? '#222' : '#fff';
      parts.push(text((ready + end) / 2, row.y + rowHeight / 2 + 4, label, `text-anchor="middle" fill="${ink}"`));
    }
    parts.push('</g>');
  }
  return parts.join('');
}

/** The longest name of an operation that fits into a bar: all of it, its chunk number, or nothing. */
function fitting({ task, chunk, of }: Span, pixels: number): string {
  const names = of > 1 ? [`${task} ${chunk}`, String(chunk)] : [task];
  return names.find((name) => name.length * letterWidth + 4 <= pixels) ?? '';
}

function bar(start: number, end: number, y: number, fill: string, opacity: number): string {
  const wide = round(end - start);
  const edge = wide > 3 ? ' stroke="#fff" stroke-width="0.75"' : '';
  return `<rect x="${round(start)}" y="${y}" width="${wide}" height="${rowHeight}" fill="${fill}" fill-opacity="${opacity}"${edge}/>`;
}

function drawAxis(from: number, to: number, x: (seconds: number) => number, top: number, bottom: number): string {
  const parts: string[] = [];
  const step = niceStep((to - from) / 8);
  if (step > 0) {
    for (let tick = Math.ceil(from / step - 1e-9); tick * step <= to * (1 + 1e-9); tick++) {
      const at = round(x(tick * step));
      parts.push(`<line x1="${at}" x2="${at}" y1="${top}" y2="${bottom}" stroke="#e4e4e4"/>`);
      parts.push(
        text(at, bottom + 14, tick === 0 ? '0' : formatSeconds(tick * step), 'text-anchor="middle" fill="#666"'),
      );
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

function text(atX: number, atY: number, content: string, attributes = ''): string {
  return `<text x="${round(atX)}" y="${round(atY)}"${attributes === '' ? '' : ` ${attributes}`}>${escape(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
