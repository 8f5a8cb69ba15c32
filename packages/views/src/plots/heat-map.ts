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
} from './axes.js';
import { defaultWidth, drawing, element, escapeXml, estimateTextWidth, fill, label, line } from '../svg.js';
import { appendAll, maxOf } from '@monta/core';

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

interface Shading {
  readonly role: 'low' | 'high';
  readonly opacity: number;
}

/** Colour of a value: how far it is from the middle, as a share of the farthest value on its side. */
function shade(value: number, low: number, middle: number, high: number): Shading {
  return value < middle
    ? { role: 'low', opacity: middle > low ? Math.min(1, (middle - value) / (middle - low)) : 0 }
    : { role: 'high', opacity: high > middle ? Math.min(1, (value - middle) / (high - middle)) : 0 };
}

/**
 * Draws the map as an SVG document. Both sides of the middle are drawn to one scale, that of the farthest value, unless
 * the low side would pass zero.
 */
export function heatMap(map: HeatMap): string {
  const { width = defaultWidth, rows, edges, middle } = map;
  const format = map.format ?? ((value: number) => String(Math.round(value * 100) / 100));
  for (const row of rows) {
    if (row.values.length + 1 !== edges.length) {
      throw new RangeError(`${row.name} has ${row.values.length} values for ${edges.length - 1} columns`);
    }
  }
  const values = rows.flatMap((row) => row.values).filter((value) => Number.isFinite(value));
  const reach = values.reduce((most, value) => Math.max(most, Math.abs(value - middle)), 1e-12);
  const low = middle > 0 ? Math.max(0, middle - reach) : middle - reach;
  const high = middle + reach;

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

  const key: string[] = [];
  const keyCells = 24;
  const keyWidth = 144;
  for (let cell = 0; cell < keyCells; cell++) {
    const value = low + ((cell + 0.5) / keyCells) * (high - low);
    const { role, opacity } = shade(value, low, middle, high);
    key.push(
      element('rect', {
        x: left + (cell * keyWidth) / keyCells,
        y: keyTop,
        width: keyWidth / keyCells,
        height: 9,
        ...fill(role),
        'fill-opacity': opacity,
      }),
    );
  }
  const keyX = (value: number) => left + ((value - low) / (high - low)) * keyWidth;
  appendAll(key, [
    element('rect', {
      x: left,
      y: keyTop,
      width: keyWidth,
      height: 9,
      fill: 'none',
      class: 't-grid',
      stroke: '#e6eaee',
    }),
    ...[low, middle, high].map(
      (value) =>
        line({ x1: keyX(value), y1: keyTop + 9, x2: keyX(value), y2: keyTop + 12, role: 'axis' }) +
        label(keyX(value), keyTop + 25, format(value), { anchor: 'middle' }),
    ),
    ...quantity.map((text, index) => label(plotMargin, head.height + 8 + 16 * index, text, { role: 'ink' })),
  ]);
  // Labels every so many rows, so that they never touch.
  const labelEvery = Math.ceil(13 / rowHeight);
  const cells = rows.flatMap((row, rowIndex) => {
    const y = top + rowIndex * rowHeight;
    const name =
      rowIndex % labelEvery === 0
        ? [label(left - 6, y + rowHeight / 2 + 4, row.name, { anchor: 'end', role: 'ink' })]
        : [];
    const marks = row.values.flatMap((value, column) => {
      if (!Number.isFinite(value)) return [];
      const { role, opacity } = shade(value, low, middle, high);
      const from = x(edges[column] ?? 0);
      const to = x(edges[column + 1] ?? 0);
      const text = `${row.name}, ${map.x.label} ${formatOf(map.x)(edges[column] ?? 0)}: ${format(value)}`;
      return [
        element(
          'rect',
          { x: from, y, width: to - from, height: rowHeight - 1, ...fill(role), 'fill-opacity': opacity },
          `<title>${escapeXml(text)}</title>`,
        ),
      ];
    });
    return [...name, ...marks];
  });
  const frame = { left, right, top, bottom };
  return drawing(
    width,
    height,
    map.title ?? map.quantity,
    head.markup,
    key.join(''),
    cells.join(''),
    horizontalAxis(frame, x, map.x),
  );
}
