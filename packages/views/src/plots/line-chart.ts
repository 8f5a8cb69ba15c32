/** Lines over a common horizontal axis: loss over steps, time over message size, speed-up over ports. */
import { line as lineShape } from 'd3-shape';
import {
  formatOf,
  heading,
  horizontalAxis,
  horizontalAxisHeight,
  makeScale,
  plotMargin,
  tickRoom,
  verticalAxis,
  type Axis,
  type Frame,
  type LegendItem,
  type Scale,
} from './axes.js';
import {
  defaultWidth,
  drawing,
  element,
  estimateTextWidth,
  escapeXml,
  fill,
  label,
  line,
  seriesRole,
  stroke,
  type Role,
} from '../svg.js';

export interface LineSeries {
  /** In the legend; empty for a part of the series before it that needs no entry of its own. */
  readonly name: string;
  /** Points in drawing order; a y that is not finite breaks the line. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Which series colour, by default the series' position. Give a raw and a smoothed curve the same. */
  readonly colour?: number;
  /** solid (default); dashed for predictions and bounds; faint for raw data behind a smoothed curve. */
  readonly look?: 'solid' | 'dashed' | 'faint';
  /** Draws a dot on every point, for few points that were measured one by one. */
  readonly dots?: boolean;
}

export interface LevelLine {
  readonly name: string;
  readonly value: number;
  /** The value as shown, by default as on the axis. */
  readonly text?: string;
}

export interface LineChart {
  readonly title?: string;
  readonly subtitle?: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly LineSeries[];
  /** Level lines with their names, as the unigram entropy under a loss. */
  readonly levels?: readonly LevelLine[];
  /** px; the width of all drawings by 320 when left out. */
  readonly width?: number;
  readonly height?: number;
}

/** Where values lie on the drawing. */
interface Field {
  readonly x: Scale;
  readonly y: Scale;
  readonly frame: Frame;
}

/** The scales of a chart whose heading ends at `head`. */
function fieldOf(
  chart: LineChart,
  head: number,
  { width, height }: { readonly width: number; readonly height: number },
): Field {
  const { series, levels = [] } = chart;
  const top = head + 24;
  const bottom = height - horizontalAxisHeight;
  const right = width - plotMargin - 6;
  const y = makeScale({
    axis: chart.y,
    values: [...series.flatMap(({ points }) => points.map(([, at]) => at)), ...levels.map(({ value }) => value)],
    range: [bottom, top],
    tickCount: Math.max(3, Math.round((bottom - top) / 42)),
  });
  const left = plotMargin + tickRoom(y, formatOf(chart.y));
  const xs = series.flatMap(({ points }) => points.map(([at]) => at));
  const reach = xs.reduce(([low, high], at) => [Math.min(low, at), Math.max(high, at)] as const, [
    Infinity,
    -Infinity,
  ] as const);
  const domain = chart.x.domain ?? (chart.x.scale === 'log' || xs.length < 2 ? undefined : reach);
  const x = makeScale({
    axis: domain === undefined ? chart.x : { ...chart.x, domain },
    values: xs,
    range: [left, right],
    tickCount: Math.round((right - left) / 80),
  });
  return { x, y, frame: { left, right, top, bottom } };
}

/** Draws the chart as an SVG document. */
export function lineChart(chart: LineChart): string {
  const { width = defaultWidth, height = 320, levels = [] } = chart;
  const legend: LegendItem[] = chart.series
    .map((series, index): LegendItem => ({
      name: series.name,
      role: seriesRole(series.colour ?? index),
      shape: series.look === 'dashed' ? 'dashed' : series.look === 'faint' ? 'faint' : 'line',
    }))
    .filter(({ name }) => name !== '');
  const head = heading(width, chart.title, chart.subtitle, legend.length > 1 ? legend : []);
  const field = fieldOf(chart, head.height, { width, height });
  return drawing(
    width,
    height,
    chart.title ?? `${chart.y.label} over ${chart.x.label}`,
    head.markup,
    verticalAxis(field.frame, field.y, chart.y),
    horizontalAxis(field.frame, field.x, chart.x),
    ...chart.series.map((series, index) => seriesMark(chart, field, series, seriesRole(series.colour ?? index))),
    ...levels.map((level) => levelMark(chart, field, level)),
  );
}

function seriesMark(chart: LineChart, { x, y }: Field, series: LineSeries, role: Role): string {
  const drawn = ([px, py]: readonly [number, number]): boolean => Number.isFinite(x(px)) && Number.isFinite(y(py));
  const drawLine = lineShape<readonly [number, number]>()
    .defined(drawn)
    .x(([px]) => x(px))
    .y(([, py]) => y(py))
    .digits(2);
  const path = element('path', {
    d: drawLine(series.points) ?? '',
    ...stroke(role),
    'stroke-width': series.look === 'faint' ? 1 : 2,
    'stroke-opacity': series.look === 'faint' ? 0.45 : undefined,
    'stroke-dasharray': series.look === 'dashed' ? '5 3' : undefined,
    'stroke-linejoin': 'round',
  });
  if (!series.dots) return path;
  const name = series.name === '' ? '' : `${series.name}: `;
  const dots = series.points.filter(drawn).map(([px, py]) => {
    const title = `${name}${formatOf(chart.x)(px)}, ${formatOf(chart.y)(py)}`;
    return element('circle', { cx: x(px), cy: y(py), r: 3, ...fill(role) }, `<title>${escapeXml(title)}</title>`);
  });
  return path + dots.join('');
}

/** A level line with its name on a veil, so that it can be read over the series. */
function levelMark(chart: LineChart, { y, frame: { left, right } }: Field, level: LevelLine): string {
  const at = y(level.value);
  const text = `${level.name} ${level.text ?? formatOf(chart.y)(level.value)}`;
  const end = right - 4;
  return (
    line({ x1: left, y1: at, x2: right, y2: at, role: 'muted', extra: { 'stroke-dasharray': '2 3' } }) +
    element('rect', {
      x: end - estimateTextWidth(text) - 2,
      y: at - 16,
      width: estimateTextWidth(text) + 4,
      height: 14,
      ...fill('surface'),
      'fill-opacity': 0.8,
    }) +
    label(end, at - 5, text, { anchor: 'end' })
  );
}
