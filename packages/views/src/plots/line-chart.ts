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
  type LegendItem,
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

export interface LineChart {
  readonly title?: string;
  readonly subtitle?: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly LineSeries[];
  /**
   * Level lines with their names, as the unigram entropy under a loss; `text` is the value as shown, by default as on
   * the axis.
   */
  readonly levels?: readonly { readonly name: string; readonly value: number; readonly text?: string }[];
  /** px; the width of all drawings by 320 when left out. */
  readonly width?: number;
  readonly height?: number;
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
  const top = head.height + 24;
  const bottom = height - horizontalAxisHeight;
  const right = width - plotMargin - 6;
  const ys = [
    ...chart.series.flatMap((series) => series.points.map(([, y]) => y)),
    ...levels.map(({ value }) => value),
  ];
  const y = makeScale({
    axis: chart.y,
    values: ys,
    range: [bottom, top],
    tickCount: Math.max(3, Math.round((bottom - top) / 42)),
  });
  const left = plotMargin + tickRoom(y, formatOf(chart.y));
  const xs = chart.series.flatMap((series) => series.points.map(([x]) => x));
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
  const frame = { left, right, top, bottom };

  const drawLine = lineShape<readonly [number, number]>()
    .defined(([px, py]) => Number.isFinite(x(px)) && Number.isFinite(y(py)))
    .x(([px]) => x(px))
    .y(([, py]) => y(py))
    .digits(2);
  const marks = chart.series.map((series, index) => {
    const role = seriesRole(series.colour ?? index);
    const path = element('path', {
      d: drawLine(series.points) ?? '',
      ...stroke(role),
      'stroke-width': series.look === 'faint' ? 1 : 2,
      'stroke-opacity': series.look === 'faint' ? 0.45 : undefined,
      'stroke-dasharray': series.look === 'dashed' ? '5 3' : undefined,
      'stroke-linejoin': 'round',
    });
    if (!series.dots) return path;
    const describePoint = (px: number, py: number) =>
      `${series.name === '' ? '' : `${series.name}: `}${formatOf(chart.x)(px)}, ${formatOf(chart.y)(py)}`;
    const dots = series.points
      .filter(([px, py]) => Number.isFinite(x(px)) && Number.isFinite(y(py)))
      .map(([px, py]) =>
        element(
          'circle',
          { cx: x(px), cy: y(py), r: 3, ...fill(role) },
          `<title>${escapeXml(describePoint(px, py))}</title>`,
        ),
      );
    return path + dots.join('');
  });
  const levelMarks = levels.map(({ name, value, text: shown }) => {
    const at = y(value);
    const text = `${name} ${shown ?? formatOf(chart.y)(value)}`;
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
  });
  return drawing(
    width,
    height,
    chart.title ?? `${chart.y.label} over ${chart.x.label}`,
    head.markup,
    verticalAxis(frame, y, chart.y),
    horizontalAxis(frame, x, chart.x),
    ...marks,
    ...levelMarks,
  );
}
