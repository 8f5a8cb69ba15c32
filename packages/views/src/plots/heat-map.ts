/** A field of cells around a middle value: load of each expert over time, where 1 is a balanced load. */
import {
  formatOf,
  heading,
  horizontalAxis,
  horizontalAxisHeight,
  makeScale,
  plotMargin,
  wrap,
  type Axis,
  type Scale,
} from './axes.js';
import { defaultWidth, drawing, element, escapeXml, estimateTextWidth, fill, label, line } from '../svg.js';
import { maxOf } from '@monta/core/units';

export interface HeatMap {
  readonly title?: string;
  readonly subtitle?: string;
  readonly x: Axis;
  /** Left edges of the columns and, last, the right edge of the last one: one more than there are columns. */
  readonly edges: readonly number[];
  readonly rows: readonly { readonly name: string; readonly values: readonly number[] }[];
  /** Value without colour; below it cells turn to one hue, above it to another. */
  readonly middle: number;
  readonly format?: (value: number) => string;
  /** Name of the values, for the key. */
  readonly quantity: string;
  /** px; the width of all drawings when left out. The height follows the number of rows. */
  readonly width?: number;
}

interface Range {
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}

interface Shading {
  readonly role: 'low' | 'high';
  readonly opacity: number;
}

/** Colour of a value: how far it is from the middle, as a share of the farthest value on its side. */
function shade(value: number, { low, middle, high }: Range): Shading {
  return value < middle
    ? { role: 'low', opacity: middle > low ? Math.min(1, (middle - value) / (middle - low)) : 0 }
    : { role: 'high', opacity: high > middle ? Math.min(1, (value - middle) / (high - middle)) : 0 };
}

const keyCells = 24;
const keyWidth = 144;

/** What the colours mean: from the lowest to the highest value, with the middle marked. */
function colourKey(
  key: Range & { readonly left: number; readonly top: number; readonly format: (value: number) => string },
): string[] {
  const { left, top, low, middle, high, format } = key;
  const cells = Array.from({ length: keyCells }, (_, cell) => {
    const { role, opacity } = shade(low + ((cell + 0.5) / keyCells) * (high - low), key);
    return element('rect', {
      x: left + (cell * keyWidth) / keyCells,
      y: top,
      width: keyWidth / keyCells,
      height: 9,
      ...fill(role),
      'fill-opacity': opacity,
    });
  });
  const frame = { x: left, y: top, width: keyWidth, height: 9, fill: 'none', class: 't-grid', stroke: '#e6eaee' };
  const marks = [low, middle, high].map((value) => {
    const x = left + ((value - low) / (high - low)) * keyWidth;
    return (
      line({ x1: x, y1: top + 9, x2: x, y2: top + 12, role: 'axis' }) +
      label(x, top + 25, format(value), { anchor: 'middle' })
    );
  });
  return [...cells, element('rect', frame), ...marks];
}

/** As far from the middle to either side as the farthest value, but no lower than zero where the middle is above it. */
function rangeOf({ rows, middle }: HeatMap): Range {
  const values = rows.flatMap((row) => row.values).filter((value) => Number.isFinite(value));
  const reach = values.reduce((most, value) => Math.max(most, Math.abs(value - middle)), 1e-12);
  return { low: middle > 0 ? Math.max(0, middle - reach) : middle - reach, middle, high: middle + reach };
}

interface RowPlace {
  readonly x: Scale;
  /** px */
  readonly y: number;
  readonly height: number;
  readonly range: Range;
  readonly format: (value: number) => string;
}

function rowCells(map: HeatMap, row: HeatMap['rows'][number], { x, y, height, range, format }: RowPlace): string {
  const cells = row.values.map((value, column) => {
    if (!Number.isFinite(value)) return '';
    const { role, opacity } = shade(value, range);
    const [start, end] = [map.edges[column] ?? 0, map.edges[column + 1] ?? 0];
    const text = `${row.name}, ${map.x.label} ${formatOf(map.x)(start)}: ${format(value)}`;
    return element(
      'rect',
      { x: x(start), y, width: x(end) - x(start), height, ...fill(role), 'fill-opacity': opacity },
      `<title>${escapeXml(text)}</title>`,
    );
  });
  return cells.join('');
}

/**
 * Draws the map as an SVG document. Both sides of the middle are drawn to one scale, that of the farthest value, unless
 * the low side would pass zero.
 */
export function heatMap(map: HeatMap): string {
  const { width = defaultWidth, rows, edges } = map;
  const format = map.format ?? ((value: number) => String(Math.round(value * 100) / 100));
  for (const row of rows) {
    if (row.values.length + 1 !== edges.length) {
      throw new RangeError(`${row.name} has ${row.values.length} values for ${edges.length - 1} columns`);
    }
  }
  const range = rangeOf(map);
  const head = heading(width, map.title, map.subtitle, []);
  const rowHeight = rows.length <= 16 ? 18 : rows.length <= 64 ? 8 : 4;
  // what the values are, above the key
  const quantity = wrap(map.quantity, width - 2 * plotMargin);
  const keyTop = head.height + 4 + 16 * quantity.length;
  const top = keyTop + 36;
  const bottom = top + rows.length * rowHeight;
  const height = bottom + horizontalAxisHeight;
  const left = plotMargin + Math.max(0, maxOf(rows.map((row) => estimateTextWidth(row.name)))) + 8;
  const right = width - plotMargin - 6;
  const domain = [edges[0] ?? 0, edges.at(-1) ?? 1] as const;
  const x = makeScale({
    axis: { ...map.x, domain },
    values: edges,
    range: [left, right],
    tickCount: Math.round((right - left) / 80),
  });

  const key = colourKey({ left, top: keyTop, ...range, format });
  const quantityLines = quantity.map((text, index) =>
    label(plotMargin, head.height + 8 + 16 * index, text, { role: 'ink' }),
  );
  // Labels every so many rows, so that they never touch.
  const labelEvery = Math.ceil(13 / rowHeight);
  const cells = rows.map((row, index) => {
    const y = top + index * rowHeight;
    const name = { anchor: 'end', role: 'ink' } as const;
    const text = index % labelEvery === 0 ? label(left - 6, y + rowHeight / 2 + 4, row.name, name) : '';
    return text + rowCells(map, row, { x, y, height: rowHeight - 1, range, format });
  });
  const frame = { left, right, top, bottom };
  return drawing(
    width,
    height,
    map.title ?? map.quantity,
    head.markup,
    [...key, ...quantityLines].join(''),
    cells.join(''),
    horizontalAxis(frame, x, map.x),
  );
}
