/**
 * Level bars, one row (or group of rows) per item: times of strategies, bytes per link; stacked, where the time of a
 * step goes.
 */
import {
  formatOf,
  heading,
  horizontalAxis,
  horizontalAxisHeight,
  legendOf,
  makeScale,
  plotMargin,
  type Axis,
  type Frame,
  type Scale,
} from './axes.js';
import { defaultWidth, drawing, element, escapeXml, estimateTextWidth, fill, label, line, seriesRole } from '../svg.js';
import { maxOf } from '@monta/core/units';

export interface BarRow {
  readonly name: string;
  /** One value per series; undefined where nothing is known, which is drawn as a dash and not as zero. */
  readonly values: readonly (number | undefined)[];
  /** Sets the name in bold: the row that was chosen. */
  readonly chosen?: boolean;
}

export interface BarChart {
  readonly title?: string;
  readonly subtitle?: string;
  /** The axis of the values; it starts at zero. */
  readonly value: Axis;
  readonly series: readonly string[];
  readonly rows: readonly BarRow[];
  /** grouped (default): bars of a row under each other; stacked: one after the other, with the sum at the end. */
  readonly arrangement?: 'grouped' | 'stacked';
  /** A value that bars are held against, as a line through all of them. */
  readonly limit?: { readonly name: string; readonly value: number };
  /** px; the width of all drawings when left out. The height follows the number of rows. */
  readonly width?: number;
}

const gap = 9;
/** Of the width, what names beside their bars may take. */
const mostNameShare = 0.34;

const nameWidth = (row: BarRow): number => estimateTextWidth(row.name) * (row.chosen === true ? 1.06 : 1);

const known = (row: BarRow) => row.values.filter((value) => value !== undefined);
const sum = (row: BarRow) => known(row).reduce((total, value) => total + value, 0);

/** A dashed line with its name above. */
const limitMark = (
  { name }: NonNullable<BarChart['limit']>,
  at: number,
  { top, bottom }: { readonly top: number; readonly bottom: number },
): string =>
  line({ x1: at, y1: top - 2, x2: at, y2: bottom, role: 'ink', extra: { 'stroke-dasharray': '4 3' } }) +
  label(at, top - 6, name, { anchor: 'end', role: 'ink' });

/** Where bars lie on the drawing. */
interface Field {
  readonly x: Scale;
  readonly frame: Frame;
  readonly barHeight: number;
  readonly rowHeight: number;
  /** Of a row, above its first bar: room for a long name. */
  readonly barsTop: number;
}

const isStacked = ({ arrangement }: BarChart): boolean => arrangement === 'stacked';

/** The field below a heading that ends at `head`. */
function fieldOf(chart: BarChart, head: number): Field {
  const { width = defaultWidth, rows, series, limit } = chart;
  const stacked = isStacked(chart);
  const format = formatOf(chart.value);
  const barHeight = stacked || series.length === 1 ? 18 : 14;
  const nameRoom = rows.reduce((most, row) => Math.max(most, nameWidth(row)), 0);
  // long names stand above their bars, else there would be no room for bars
  const above = nameRoom > mostNameShare * width;
  const barsTop = above ? 16 : 0;
  const rowHeight = barsTop + barHeight * (stacked ? 1 : series.length);
  const top = head + (limit === undefined ? 4 : 20);
  const bottom = top + rows.length * (rowHeight + gap) + gap / 2;
  const extents = rows.flatMap((row) => (stacked ? [sum(row)] : known(row)));
  const valueRoom = Math.max(0, maxOf(extents.map((value) => estimateTextWidth(format(value)))));
  const left = above ? plotMargin : plotMargin + nameRoom + 10;
  const right = width - plotMargin - valueRoom - 6;
  const x = makeScale({
    axis: chart.value,
    values: limit === undefined ? extents : [...extents, limit.value],
    range: [left, right],
    tickCount: Math.max(2, Math.round((right - left) / 90)),
    fromZero: true,
  });
  return { x, frame: { left, right, top, bottom }, barHeight, rowHeight, barsTop };
}

/** Draws the chart as an SVG document. */
export function barChart(chart: BarChart): string {
  const { width = defaultWidth, rows, series, limit } = chart;
  const head = heading(width, chart.title, chart.subtitle, series.length > 1 ? legendOf(series, 'box') : []);
  const field = fieldOf(chart, head.height);
  const { x, frame, rowHeight } = field;
  const { top, bottom } = frame;
  return drawing(
    width,
    bottom + horizontalAxisHeight,
    chart.title ?? chart.value.label,
    head.markup,
    horizontalAxis(frame, x, chart.value, top),
    line({ x1: x(0), y1: top, x2: x(0), y2: bottom, role: 'axis' }),
    ...rows.map((row, index) => rowMark(chart, field, row, top + gap / 2 + index * (rowHeight + gap))),
    ...(limit === undefined ? [] : [limitMark(limit, x(limit.value), { top, bottom })]),
  );
}

/** A row's name, its bars and their values. */
function rowMark(chart: BarChart, field: Field, row: BarRow, y: number): string {
  const { x, frame, barHeight, rowHeight, barsTop } = field;
  const name = { role: 'ink', bold: row.chosen === true } as const;
  // The value behind its bar; a dash where nothing is known.
  const after = (value: number | undefined, at: number): string => {
    const text = value === undefined ? '–' : formatOf(chart.value)(value);
    return label(x(value ?? 0) + 5, at + barHeight / 2 + 4, text, { role: 'ink' });
  };
  const parts = [
    barsTop > 0
      ? label(plotMargin, y + 11, row.name, name)
      : label(frame.left - 8, y + rowHeight / 2 + 4, row.name, { ...name, anchor: 'end' }),
  ];
  let start = 0;
  for (const [index, value] of row.values.entries()) {
    const at = y + barsTop + (isStacked(chart) ? 0 : index * barHeight);
    if (value !== undefined) parts.push(bar(chart, field, { row, index, from: start, to: start + value, y: at }));
    if (isStacked(chart)) start += value ?? 0;
    else parts.push(after(value, at));
  }
  if (isStacked(chart)) parts.push(after(known(row).length === 0 ? undefined : start, y + barsTop));
  return parts.join('');
}

interface Bar {
  readonly row: BarRow;
  /** Of the series. */
  readonly index: number;
  readonly from: number;
  readonly to: number;
  /** px */
  readonly y: number;
}

function bar(chart: BarChart, { x, barHeight }: Field, { row, index, from, to, y }: Bar): string {
  const title = [row.name, chart.series[index], formatOf(chart.value)(row.values[index] ?? 0)]
    .filter((part) => part !== undefined && part !== '')
    .join(', ');
  return element(
    'rect',
    {
      x: x(from),
      y,
      width: Math.max(0, x(to) - x(from)),
      height: barHeight - (isStacked(chart) ? 0 : 1),
      ...fill(seriesRole(index)),
    },
    `<title>${escapeXml(title)}</title>`,
  );
}
