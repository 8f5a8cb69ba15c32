/** `monta calibrate`: measurements in, a calibration out, with a table of what was fitted and what to distrust. */
import type { Calibration, Fit, Measurement, SeriesFit } from '@monta/core';
import { formatBandwidth, formatBytes, formatPercent, formatSeconds, InputError } from '@monta/core/units';
import { busFactor, curveOf, fitCalibration, mergeCalibrations, writeCalibration } from '@monta/core/cost';
import { withSpreadSizes } from '@monta/core/trace';
import type { NetworkProbeResult } from '@monta/runtime';
import { fitPlots } from '@monta/views';
import { isCalibration, readMeasurementFiles } from '../calibrate/read-measurements.js';
import { readProfileMeasurements } from '../calibrate/read-profile-measurements.js';
import type { MontaContext } from '../context.js';
import { writeFile } from '../files.js';
import { loadCluster, readCalibrationFile } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';
import { isProfile } from '../trace/is-profile.js';
import type { CalibrateFlags } from './calibrate.command.js';

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

/** Fits; a refusal for mixed hardware says how to name clusters here. */
function fitOrExplain(measurements: readonly Measurement[]): Fit {
  try {
    return fitCalibration(measurements);
  } catch (error) {
    if (error instanceof InputError && error.hint?.includes('--system') === true) {
      throw new InputError(error.message, {
        file: error.file,
        line: error.line,
        expected: error.expected,
        hint: 'if they are several clusters, say so: --system-by-file, or one call each with --system and --merge',
      });
    }
    throw error;
  }
}

/** A calibration as the table shows it, when nothing was measured now. */
function fitsOf(calibration: Calibration): Fit {
  const fits = calibration.series.map((series): SeriesFit => {
    const curve = curveOf(series);
    return {
      series,
      rows: series.points.length,
      outliers: [],
      alphaSeconds: curve.alphaSeconds,
      busBytesPerSecond: busFactor(series.op, series.ranks) / curve.betaSecondsPerByte,
      interpolationError: curve.interpolationError,
    };
  });
  return { calibration, fits, warnings: [] };
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

/**
 * Runs the command. Throws `InputError` for files that cannot be read, measurements that cannot be true, and
 * contradicting flags.
 */
export async function runCalibrate(context: MontaContext, flags: CalibrateFlags, ...files: string[]): Promise<void> {
  if (flags.probe) {
    if (files.length > 0) {
      throw new InputError('--probe measures, it reads no files', {
        hint: 'calibrate from the files first, then add it with --merge',
      });
    }
    await (await import('./calibrate-probe.js')).runProbe(context, flags);
    return;
  }
  if (flags.emulate !== undefined) throw new InputError('--emulate is for --probe');
  const profiles = files.filter(isProfile);
  const others = files.filter((file) => !profiles.includes(file));
  const calibrations = others.filter(isCalibration);
  const measured = files.filter((file) => !calibrations.includes(file));
  const given = { ...flags, merge: [...(flags.merge ?? []), ...calibrations] };
  if (measured.length === 0 && given.merge.length > 1) {
    finish({
      console: context.console,
      flags: given,
      fit: fitsOf(mergeCalibrations(given.merge.map(readCalibrationFile))),
      warnings: [],
    });
    return;
  }
  const [lone] = calibrations;
  if (measured.length === 0 && lone !== undefined) {
    throw new InputError('is a calibration, not measurements', {
      file: lone,
      expected: 'measurements beside it, or another calibration to put together with it',
      hint: 'add it to what is measured with --merge',
    });
  }
  if (measured.length === 0) {
    throw new InputError('there is nothing to read', {
      expected: 'files with measurements, two or more calibrations to merge, or --probe to measure here',
      hint: 'monta calibrate --help has examples',
    });
  }
  const cluster = flags.cluster === undefined ? undefined : loadCluster(flags.cluster);
  const readings = [
    readMeasurementFiles(
      measured.filter((file) => !profiles.includes(file)),
      { ...flags, cluster },
    ),
    ...(profiles.length > 0 ? [await readProfileMeasurements(profiles, { ...flags, cluster })] : []),
  ];
  const { measurements, warnings } = withSpreadSizes({
    measurements: readings.flatMap((reading) => reading.measurements),
    warnings: readings.flatMap((reading) => reading.warnings),
  });
  const fit = fitOrExplain(measurements);
  finish({ console: context.console, flags: given, fit, warnings: [...warnings, ...fit.warnings] });
}
