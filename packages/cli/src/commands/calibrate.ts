/** `monta calibrate`: measurements in, a calibration out, with a table of what was fitted and what to distrust. */
import type { Calibration, Fit, Measurement, SeriesFit } from '@monta/core';
import { InputError } from '@monta/core/units';
import { busFactor, curveOf, fitCalibration, mergeCalibrations } from '@monta/core/cost';
import { withSpreadSizes } from '@monta/core/trace';
import { isCalibration, readMeasurementFiles } from '../calibrate/read-measurements.js';
import { readProfileMeasurements } from '../calibrate/read-profile-measurements.js';
import type { MontaContext } from '../context.js';
import { loadCluster, readCalibrationFile } from '../inputs.js';
import { isProfile } from '../trace/is-profile.js';
import type { CalibrateFlags } from './calibrate.flags.js';
import { finish } from './finished-calibration.js';

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
