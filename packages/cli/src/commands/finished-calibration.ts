/** What a finished calibration does: it is written, drawn, and shown as a table or as JSON. */
import type { Calibration, Fit, SeriesFit } from '@monta/core';
import { formatBandwidth, formatBytes, formatPercent, formatSeconds } from '@monta/core/units';
import { curveOf, mergeCalibrations, writeCalibration } from '@monta/core/cost';
import type { NetworkProbeResult } from '@monta/runtime';
import { fitPlots } from '@monta/views';
import { writeFile } from '../files.js';
import { readCalibrationFile } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';
import type { CalibrateFlags } from './calibrate.flags.js';

/** Expected relative error at sizes beyond the measured ones, by one octave. */
const extrapolation = ({ series }: SeriesFit): { below: number; above: number } => {
  const curve = curveOf(series);
  return {
    below: curve.at((series.points[0]?.bytes ?? 1) / 2).expectedError,
    above: curve.at((series.points.at(-1)?.bytes ?? 1) * 2).expectedError,
  };
};

/**
 * A latency below this share of the smallest message's time cannot be told from none: the sizes are too large for it.
 */
const unknownLatency = 0.01;

const range = ({ series: { points } }: SeriesFit): string =>
  `${formatBytes(points[0]?.bytes ?? 0)} – ${formatBytes(points.at(-1)?.bytes ?? 0)}`;

/** The table of all fitted series, one block per device, library and system. */
function showFits(console: Console, fits: readonly SeriesFit[]): void {
  const hardware = new Map<string, SeriesFit[]>();
  for (const fit of fits) {
    const { gpu, library, system } = fit.series;
    const name = [gpu || 'unnamed device', library, system].filter((part) => part !== '').join(' · ');
    hardware.set(name, [...(hardware.get(name) ?? []), fit]);
  }
  const number = { align: 'number' } as const;
  for (const [name, members] of hardware) {
    console.print(console.style.bold(name));
    const rows = members.map((fit) => {
      const { series, rows: count, outliers, alphaSeconds, busBytesPerSecond, interpolationError } = fit;
      const beyond = extrapolation(fit);
      return [
        series.op,
        String(series.ranks),
        series.nodes === null ? '?' : String(series.nodes),
        alphaSeconds < unknownLatency * (series.points[0]?.seconds ?? 0) ? '?' : formatSeconds(alphaSeconds),
        formatBandwidth(busBytesPerSecond),
        range(fit),
        `${series.points.length} of ${count}`,
        outliers.length === 0 ? '' : String(outliers.length),
        formatPercent(interpolationError),
        formatPercent(beyond.below),
        formatPercent(beyond.above),
      ];
    });
    console.print(
      renderTable(
        [
          { header: 'collective' },
          { header: 'ranks', ...number },
          { header: 'nodes', align: 'right' },
          { header: 'latency', ...number },
          { header: 'bus bandwidth', ...number },
          { header: 'measured sizes' },
          { header: 'points', align: 'right' },
          { header: 'left out', align: 'right' },
          { header: 'error between', ...number },
          { header: '½ below', ...number },
          { header: '2x above', ...number },
        ],
        rows,
        { style: console.style, indent: 2 },
      ),
    );
    console.print();
  }
  console.print(
    'latency: of the smallest messages, ? where the sizes do not show it; bus bandwidth: marginal, of the largest; ' +
      'error between: median,\n' +
      'each point predicted from its neighbours; ½ below, 2x above: expected error of extrapolating to half the ' +
      'smallest and twice the largest size',
  );
}

const warningsShown = 12;

/** Warnings, the first dozen of them; the JSON has all. */
export function showWarnings(console: Console, warnings: readonly string[]): void {
  for (const warning of warnings.slice(0, warningsShown)) console.warn(warning);
  if (warnings.length > warningsShown) console.warn(`… and ${warnings.length - warningsShown} more; --json lists all`);
}

/** `out.svg` for one plot, `out-h100-8-ranks.svg` for each of several. Gives the paths. */
function writePlots(path: string, fits: readonly SeriesFit[]): string[] {
  const plots = fitPlots(fits);
  return plots.map(({ slug, svg }) => {
    const target = plots.length === 1 ? path : `${path.replace(/\.svg$/iu, '')}-${slug}.svg`;
    writeFile(target, svg);
    return target;
  });
}

/** The JSON of a fitted series. */
const describeFit = (fit: SeriesFit) => {
  const { series, rows, outliers, alphaSeconds, busBytesPerSecond, interpolationError } = fit;
  const { points, ...key } = series;
  const beyond = extrapolation(fit);
  return {
    ...key,
    latencySeconds: alphaSeconds,
    busBytesPerSecond,
    smallestBytes: points[0]?.bytes,
    largestBytes: points.at(-1)?.bytes,
    rows,
    points: points.length,
    leftOut: outliers.map(({ source, line, bytes, seconds }) => ({ source, line, bytes, seconds })),
    interpolationError,
    extrapolationErrorBelow: beyond.below,
    extrapolationErrorAbove: beyond.above,
  };
};

/** What a probe of this machine adds to the JSON. */
type MeasuredHere = Pick<NetworkProbeResult, 'probe'> &
  Partial<Pick<NetworkProbeResult, 'lostSeconds' | 'wallSeconds'>>;

/** What a finished calibration does besides being written: merging, plots, table or JSON. */
export function finish({
  console,
  flags,
  fit,
  warnings,
  more = {},
}: {
  readonly console: Console;
  readonly flags: CalibrateFlags;
  readonly fit: Fit;
  readonly warnings: readonly string[];
  readonly more?: { readonly show?: () => void; readonly json?: MeasuredHere };
}): void {
  const earlier: Calibration[] = (flags.merge ?? []).map(readCalibrationFile);
  const calibration = mergeCalibrations([...earlier, fit.calibration]);
  const plots = flags.plot === undefined ? [] : writePlots(flags.plot, fit.fits);
  writeFile(flags.output, writeCalibration(calibration));
  if (flags.json) {
    console.json({
      output: flags.output,
      plots,
      series: fit.fits.map(describeFit),
      seriesInFile: calibration.series.length,
      warnings,
      ...more.json,
    });
    return;
  }
  if (fit.fits.length > 0) showFits(console, fit.fits);
  more.show?.();
  console.print();
  const merged = earlier.length === 0 ? '' : ` (put together with ${(flags.merge ?? []).join(', ')})`;
  console.print(`Written  ${flags.output}: ${calibration.series.length} series${merged}`);
  for (const plot of plots) console.print(`Plot     ${plot}`);
  showWarnings(console, warnings);
}
