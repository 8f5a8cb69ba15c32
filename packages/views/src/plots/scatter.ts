/**
 * Predicted over measured: points should lie on the diagonal, and a band shows the tolerance. Both axes have one range.
 */
import {
  formatOf,
  heading,
  horizontalAxis,
  horizontalAxisHeight,
  makeScale,
  pathOf,
  plotMargin,
  tickRoom,
  verticalAxis,
  type LegendItem,
  type Scale,
} from './axes.js';
import { drawing, element, escapeXml, fill, label, line, seriesRole, type Role } from '../svg.js';

export interface ScatterSeries {
  readonly name: string;
  readonly points: readonly { readonly measured: number; readonly predicted: number; readonly name?: string }[];
}

export interface Scatter {
  readonly title?: string;
  readonly subtitle?: string;
  /** What is compared, with its unit if the ticks hold none: `time of one layer`. */
  readonly quantity: string;
  readonly scale?: 'linear' | 'log';
  readonly format?: (value: number) => string;
  readonly series: readonly ScatterSeries[];
  /** Half width of the band as a share: 0.15 for plus or minus 15 %. None when left out. */
  readonly tolerance?: number;
  /** px; 460 by 420 when left out. */
  readonly width?: number;
  readonly height?: number;
}

/** Draws the plot as an SVG document. */
export function scatter(plot: Scatter): string {
  const { width = 460, height = 420, scale = 'linear', tolerance } = plot;
  const legend: LegendItem[] = plot.series.map(({ name }, index) => ({ name, role: seriesRole(index), shape: 'dot' }));
  const head = heading(width, plot.title, plot.subtitle, legend.length > 1 ? legend : []);
  const top = head.height + 24;
  const bottom = height - horizontalAxisHeight;
  const right = width - plotMargin - 8;
  const points = plot.series.flatMap((series) => series.points);
  const values = points.flatMap(({ measured, predicted }) => [measured, predicted]);
  const predictedAxis = { label: `predicted ${plot.quantity}`, scale, format: plot.format };
  const y = makeScale({
    axis: predictedAxis,
    values,
    range: [bottom, top],
    tickCount: Math.max(3, Math.round((bottom - top) / 45)),
    fromZero: true,
  });
  const left = plotMargin + tickRoom(y, formatOf(predictedAxis));
  const measuredAxis = { label: `measured ${plot.quantity}`, scale, format: plot.format, domain: y.domain };
  const x = makeScale({
    axis: measuredAxis,
    values,
    range: [left, right],
    tickCount: Math.max(3, Math.round((right - left) / 70)),
  });
  const frame = { left, right, top, bottom };
  const [low, high] = y.domain;
  const format = formatOf(measuredAxis);
  return drawing(
    width,
    height,
    plot.title ?? `predicted over measured ${plot.quantity}`,
    head.markup,
    verticalAxis(frame, y, predictedAxis),
    horizontalAxis(frame, x, measuredAxis),
    tolerance === undefined ? '' : bandMark(x, y, tolerance),
    line({ x1: x(low), y1: y(low), x2: x(high), y2: y(high), role: 'muted', extra: { 'stroke-dasharray': '4 3' } }),
    ...plot.series.flatMap((series, index) => dots(x, y, series, { role: seriesRole(index), format })),
    tolerance === undefined
      ? ''
      : label(right - 4, bottom - 8, `band ±${Math.round(tolerance * 100)} %`, { anchor: 'end' }),
  );
}

/** The band around the diagonal. */
function bandMark(x: Scale, y: Scale, tolerance: number): string {
  const [low, high] = y.domain;
  // The band is cut off where it leaves the frame; its edges are straight lines on linear and logarithmic axes alike.
  const edge = (factor: number): [number, number][] => {
    const clampedStart = Math.min(high, Math.max(low, low / factor));
    const clampedEnd = Math.max(low, Math.min(high, high / factor));
    return [
      [x(clampedStart), y(clampedStart * factor)],
      [x(clampedEnd), y(clampedEnd * factor)],
    ];
  };
  const corners = [
    ...(low > 0 ? [[x(low), y(low)] as [number, number]] : []),
    ...edge(1 + tolerance),
    [x(high), y(high)] as [number, number],
    ...edge(1 - tolerance).reverse(),
  ];
  return element('path', { d: `${pathOf(corners)}Z`, ...fill('s7'), 'fill-opacity': 0.16 });
}

function dots(
  x: Scale,
  y: Scale,
  series: ScatterSeries,
  { role, format }: { readonly role: Role; readonly format: (value: number) => string },
): string[] {
  return series.points
    .filter(({ measured, predicted }) => Number.isFinite(x(measured)) && Number.isFinite(y(predicted)))
    .map(({ measured, predicted, name = series.name }) => {
      const text = `${name}: measured ${format(measured)}, predicted ${format(predicted)}`;
      return element(
        'circle',
        { cx: x(measured), cy: y(predicted), r: 4, ...fill(role), 'fill-opacity': 0.8 },
        `<title>${escapeXml(text)}</title>`,
      );
    });
}
