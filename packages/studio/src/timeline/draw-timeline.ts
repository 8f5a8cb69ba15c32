/**
 * Draws lanes on a canvas: bars as pixels of one picture, which takes as long for a hundred spans as for a million,
 * then what is written over them.
 */
import { formatSeconds } from '@monta/core';
import type { OpenedTrace } from './opened-trace.js';
import { type Bar, barsOf, type Window } from './view.js';

export const [rowHeight, rowGap, axisHeight] = [18, 3, 22] as const;
/** Most rows that are drawn; the rest is said. */
export const mostRows = 128;
/** Colours of tasks, in turn. */
const colours = 8;
/** Of 255: how pale waiting is. */
const pale = 77;
/** Device pixels of a bar that are left free behind it, where it is wide enough. */
const [gapFrom, wordsFrom] = [4, 60];

/** Red, green and blue with opacity, as pixels hold them on machines of today: the lowest byte first. */
const pixelOf = (red: number, green: number, blue: number, opacity: number): number =>
  ((opacity << 24) | (blue << 16) | (green << 8) | red) >>> 0;

interface Palette {
  readonly full: readonly number[];
  readonly pale: readonly number[];
  readonly inkPixel: number;
  readonly ink: string;
  readonly muted: string;
  readonly grid: string;
}

function paletteOf(canvas: HTMLCanvasElement, context: CanvasRenderingContext2D): Palette {
  const style = getComputedStyle(canvas);
  const of = (name: string): string => style.getPropertyValue(`--plot-${name}`).trim();
  /** A canvas writes any opaque colour as `#rrggbb`. */
  const pixel = (name: string, opacity: number): number => {
    context.fillStyle = of(name);
    const value = Number.parseInt(context.fillStyle.slice(1), 16);
    return pixelOf(value >> 16, (value >> 8) & 255, value & 255, opacity);
  };
  const series = Array.from({ length: colours }, (_, index) => `s${index}`);
  return {
    full: series.map((name) => pixel(name, 255)),
    pale: series.map((name) => pixel(name, pale)),
    inkPixel: pixel('ink', 255),
    ink: of('ink'),
    muted: of('muted'),
    grid: of('grid'),
  };
}

/** Moments worth a mark, at least 80 pixels apart. */
function ticks({ from, to }: Window, pixels: number): number[] {
  const least = ((to - from) * 80) / pixels;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= least) ?? 10 * power;
  const first = Math.ceil(from / step);
  return Array.from({ length: Math.max(0, Math.floor(to / step) - first + 1) }, (_, i) => (first + i) * step);
}

/** One row of pixels for the bars of a lane, and one for what is under them. */
function paintBars(
  bars: readonly Bar[],
  { task, critical }: OpenedTrace,
  palette: Palette,
  lines: { readonly bar: Uint32Array; readonly under: Uint32Array },
): void {
  lines.bar.fill(0);
  lines.under.fill(0);
  for (const { span, left, ready, right } of bars) {
    const colour = (task[span] ?? 0) % colours;
    const until = right - left >= gapFrom ? right - 1 : right;
    lines.bar.fill(palette.pale[colour] ?? 0, left, ready);
    lines.bar.fill(palette.full[colour] ?? 0, ready, until);
    lines.under.fill(critical[span] === 1 ? palette.inkPixel : (lines.bar[until - 1] ?? 0), left, until);
  }
}

export interface Drawn {
  readonly canvas: HTMLCanvasElement;
  readonly trace: OpenedTrace;
  readonly window: Window;
  /** A span that is pointed at or was found. */
  readonly found: number | undefined;
}

export function drawTimeline({ canvas, trace, window, found }: Drawn): void {
  const context = canvas.getContext('2d');
  if (context === null) return;
  const ratio = devicePixelRatio;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (width === 0 || height === 0) return;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const palette = paletteOf(canvas, context);
  const picture = context.createImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const lines = { bar: new Uint32Array(width), under: new Uint32Array(width) };
  const rows = Array.from({ length: Math.min(trace.rows.length, mostRows) }, (_, row) => {
    const bars = [...barsOf(trace, row, window, width)];
    paintBars(bars, trace, palette, lines);
    const top = Math.round((axisHeight + row * (rowHeight + rowGap)) * ratio);
    // The canvas may not have grown to a new trace yet; it is drawn again when it has.
    const bottom = Math.min(height, top + Math.round(rowHeight * ratio));
    for (let y = top; y < bottom; y++) pixels.set(y < bottom - 2 * ratio ? lines.bar : lines.under, y * width);
    return bars;
  });
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.putImageData(picture, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  writeOver(context, { canvas, trace, window, found }, rows, palette);
}

/** The axis, names of bars that have room for one, and a frame around the one that was found. */
function writeOver(
  context: CanvasRenderingContext2D,
  { canvas, trace, window, found }: Drawn,
  rows: readonly (readonly Bar[])[],
  { ink, muted, grid }: Palette,
): void {
  const { clientWidth: width, clientHeight: height } = canvas;
  context.font = '11px system-ui, sans-serif';
  context.fillStyle = muted;
  context.strokeStyle = grid;
  context.beginPath();
  for (const moment of ticks(window, width)) {
    const x = ((moment - window.from) * width) / (window.to - window.from);
    context.moveTo(x, 4);
    context.lineTo(x, axisHeight - 4);
    context.fillText(formatSeconds(moment), x + 3, 12);
  }
  context.moveTo(0, height - 0.5);
  context.lineTo(width, height - 0.5);
  context.stroke();
  const ratio = devicePixelRatio;
  for (const [row, bars] of rows.entries()) {
    const y = axisHeight + row * (rowHeight + rowGap);
    for (const { span, left, ready, right } of bars) {
      if (right - ready > wordsFrom * ratio) {
        const name = trace.tasks[trace.task[span] ?? 0] ?? '';
        context.fillStyle = '#fff';
        context.fillText(name, ready / ratio + 4, y + 13, (right - ready) / ratio - 8);
      }
      if (span !== found) continue;
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.strokeRect(left / ratio, y, Math.max(2, (right - left) / ratio), rowHeight);
      context.lineWidth = 1;
    }
  }
}
