/** Measurements out of files of any known kind; the content decides which reader gets a file, not its name. */
import { basename, extname } from 'node:path';
import type { Cluster, MeasuredOp, Measurement } from '@monta/core';
import { InputError } from '@monta/core/units';
import { looksLikeInspector, readMeasurementsCsv, readNcclInspector, readNcclTests } from '@monta/core/cost';
import { readTraceMeasurements } from '@monta/core/trace';
import { pathExists, readTextFile, readTextPieces } from '../files.js';

export interface MeasurementFlags {
  readonly gpu?: string;
  readonly ranks?: number;
  readonly nodes?: number;
  readonly op?: MeasuredOp;
  readonly acceptWrong?: boolean;
  readonly system?: string;
  readonly systemByFile?: boolean;
  readonly cluster?: Cluster;
}

export interface FileReading {
  readonly measurements: readonly Measurement[];
  readonly warnings: readonly string[];
}

type Kind = 'csv' | 'trace' | 'calibration' | 'inspector' | 'nccl-tests';

/** What a text is, by its first lines. */
export function kindOf(text: string): Kind {
  if (/^\s*\{/u.test(text)) {
    const head = text.slice(0, 4096);
    if (/"format"\s*:\s*"monta trace/u.test(head) || /"traceEvents"\s*:/u.test(head)) return 'trace';
    if (/"format"\s*:\s*"monta-calibration"/u.test(head)) return 'calibration';
    return looksLikeInspector(head) ? 'inspector' : 'nccl-tests';
  }
  const header = text.split(/\r?\n/u).find((line) => line.trim() !== '' && !line.trimStart().startsWith('#')) ?? '';
  const names = header.split(',').map((name) => name.trim());
  return names.some((name) => ['size_bytes', 'time_us', 'op'].includes(name)) ? 'csv' : 'nccl-tests';
}

/** The first piece of a file, which may be far longer. */
const headOf = (path: string): string => {
  const [head = ''] = readTextPieces(path);
  return head;
};

/** Whether a file is a calibration that was made before; false for one that is not there, which reading will say. */
export const isCalibration = (path: string): boolean => pathExists(path) && kindOf(headOf(path)) === 'calibration';

/** Of a log, which is long where many ranks write them. */
const mostLogLength = 2 ** 29 - 2 ** 20;

/** Reads one file. Throws `InputError` that names it. */
export function readMeasurementFile(path: string, flags: MeasurementFlags = {}): FileReading {
  const system = flags.systemByFile === true ? basename(path, extname(path)) : flags.system;
  const { gpu, ranks, nodes, op, acceptWrong, cluster } = flags;
  const kind = kindOf(headOf(path));
  // traces are long, and need not be in memory as a whole
  if (kind === 'trace') return readTraceMeasurements(readTextPieces(path), path, { gpu, system, cluster });
  const text = readTextFile(path, mostLogLength);
  if (text.trim() === '') {
    throw new InputError('is empty', {
      file: path,
      expected: 'output of nccl-tests, CSV, or a measured trace of monta',
    });
  }
  switch (kind) {
    case 'csv': {
      const { measurements, skipped, warnings } = readMeasurementsCsv(text, path);
      if (measurements.length === 0) {
        throw new InputError(`none of its ${skipped} rows is a collective with a size and a time`, {
          file: path,
          expected: 'rows with op, size_bytes and time_us',
        });
      }
      const left = skipped === 0 ? [] : [`${path}: ${skipped} rows are no collective with a size and a time, left out`];
      return {
        measurements: measurements.map((m) => ({
          ...m,
          gpu: gpu ?? m.gpu,
          ...(m.system === '' && system !== undefined ? { system } : {}),
        })),
        warnings: [...warnings, ...left],
      };
    }
    case 'calibration':
      throw new InputError('is a calibration, not measurements', {
        file: path,
        expected: 'output of nccl-tests, CSV, or a measured trace of monta',
        hint: 'add it to what is measured here with --merge',
      });
    case 'inspector':
      return readNcclInspector(text, path, { gpu, nodes, system });
    case 'nccl-tests':
      return readNcclTests(text, path, { gpu, ranks, nodes, op, acceptWrong, system });
  }
}

/** Reads several files, one after another. */
export function readMeasurementFiles(paths: readonly string[], flags: MeasurementFlags = {}): FileReading {
  const readings = paths.map((path) => readMeasurementFile(path, flags));
  return {
    measurements: readings.flatMap((reading) => reading.measurements),
    warnings: readings.flatMap((reading) => reading.warnings),
  };
}
