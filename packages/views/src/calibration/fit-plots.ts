/**
 * Plots of fitted series: bus bandwidth over size, measured points and the curve through them, one plot per set of
 * ranks.
 */
import type { SeriesFit } from '@monta/core';
import { formatBandwidth, formatBytes } from '@monta/core/units';
import { busBytesPerSecond, curveOf } from '@monta/core/cost';
import { lineChart, type LineSeries } from '../plots/line-chart.js';

export interface FitPlot {
  /** Part of a file name: `h100-8-ranks`. */
  readonly slug: string;
  readonly svg: string;
}

/** Octaves drawn beyond the measured sizes, where the curve is extrapolated. */
const extrapolatedOctaves = 2;
const stepsPerOctave = 6;

/** Sizes in equal steps of their logarithm. */
function sizesBetween(from: number, to: number): number[] {
  const steps = Math.max(1, Math.ceil(Math.log2(to / from) * stepsPerOctave));
  return Array.from({ length: steps + 1 }, (_, i) => from * (to / from) ** (i / steps));
}

/** Where the ranks are: `H100 80GB HBM3 (nccl 2.29.2), 8 ranks on 1 node`. */
const placeOf = ({ series: { gpu, system, library, ranks, nodes } }: SeriesFit): string =>
  `${gpu || 'unnamed device'} (${[library, system].filter((part) => part !== '').join(', ')}), ${ranks} ranks${
    nodes === null ? '' : ` on ${nodes} node${nodes === 1 ? '' : 's'}`
  }`;

const slugOf = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/gu, '-')
    .replace(/^-|-$/gu, '');

function seriesOf({ series, outliers }: SeriesFit, colour: number): LineSeries[] {
  const { op, ranks, points } = series;
  const curve = curveOf(series);
  const bandwidth = (bytes: number, seconds: number): [number, number] => [
    bytes,
    busBytesPerSecond(op, ranks, bytes, seconds),
  ];
  const along = (from: number, to: number): [number, number][] =>
    sizesBetween(from, to).map((bytes) => bandwidth(bytes, curve.at(bytes).seconds));
  const first = points[0]?.bytes ?? 1;
  const last = points.at(-1)?.bytes ?? 1;
  const beyond = 2 ** extrapolatedOctaves;
  // Dots only: a gap after each point keeps the line from being drawn.
  const dots = (rows: readonly { bytes: number; seconds: number }[]): [number, number][] =>
    rows.flatMap((p) => [bandwidth(p.bytes, p.seconds), [p.bytes, Number.NaN]]);
  return [
    { name: op, colour, points: along(first, last) },
    {
      name: '',
      colour,
      look: 'dashed',
      points: [...along(first / beyond, first), [first, Number.NaN], ...along(last, last * beyond)],
    },
    { name: '', colour, dots: true, points: dots(points) },
    ...(outliers.length === 0
      ? []
      : [
          {
            name: `${op}, left out`,
            colour,
            look: 'faint' as const,
            dots: true,
            points: dots(outliers),
          },
        ]),
  ];
}

/** One plot for every device, library and set of ranks. */
export function fitPlots(fits: readonly SeriesFit[]): FitPlot[] {
  const places = new Map<string, SeriesFit[]>();
  for (const fit of fits) places.set(placeOf(fit), [...(places.get(placeOf(fit)) ?? []), fit]);
  return [...places].map(([place, members]) => ({
    slug: slugOf(place),
    svg: lineChart({
      title: members.length === 1 ? `${members[0]?.series.op ?? ''}, ${place}` : place,
      subtitle: 'bus bandwidth as nccl-tests defines it; dots: measured; solid: fit between them; dashed: extrapolated',
      x: { label: 'total buffer', scale: 'log', format: (bytes) => formatBytes(bytes) },
      y: { label: 'bus bandwidth', scale: 'log', format: formatBandwidth },
      series: members.flatMap((fit, index) => seriesOf(fit, index)),
      height: 420,
    }),
  }));
}
