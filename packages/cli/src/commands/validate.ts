/** `monta validate`: a calibration's predictions against measurements, row by row in the JSON, in groups for people. */
import type { ErrorSummary, Validation, ValidationRow } from '@monta/core';
import { formatBytes, formatPercent, formatSeconds, InputError } from '@monta/core/units';
import { describeKey, validate } from '@monta/core/cost';
import { readTextFile } from '../files.js';
import { validateRunFiles } from './validate-runs.js';
import { readMeasurementFiles } from '../calibrate/read-measurements.js';
import type { MontaContext } from '../context.js';
import { readCalibrationFile } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import { showWarnings } from './finished-calibration.js';
import type { ValidateFlags } from './validate.flags.js';

const share = (value: number): string => (Number.isFinite(value) ? formatPercent(value) : '–');
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${formatPercent(Math.abs(value))}`;

const summaryRow = (name: string, summary: ErrorSummary): string[] => [
  name,
  String(summary.rows),
  share(summary.medianAbsoluteError),
  share(summary.p90AbsoluteError),
  share(summary.naiveMedianAbsoluteError),
  share(summary.naiveP90AbsoluteError),
];

const number = { align: 'number' } as const;
const summaryColumns = (first: string) => [
  { header: first },
  { header: 'rows', ...number },
  { header: 'median error', ...number },
  { header: '90th percentile', ...number },
  { header: 'naive median', ...number },
  { header: 'naive 90th', ...number },
];

const worstShown = 8;

function show(console: Console, result: Validation): void {
  const { style } = console;
  const table = (first: string, rows: readonly string[][]): void => {
    console.print(renderTable(summaryColumns(first), rows, { style }));
    console.print();
  };
  table('all', [
    summaryRow('all sizes', result),
    ...(result.large.rows > 0 ? [summaryRow('1 MiB and up', result.large)] : []),
    ...(result.small.rows > 0 ? [summaryRow('below 1 MiB', result.small)] : []),
    ...result.byKind.map((group) => summaryRow(`  ${group.name}`, group)),
  ]);
  table(
    'series',
    result.bySeries.map((group) => summaryRow(group.name, group)),
  );
  const worst = [...result.details].sort((a, b) => Math.abs(b.error) - Math.abs(a.error)).slice(0, worstShown);
  console.print(
    renderTable(
      [
        { header: 'farthest off' },
        { header: 'size', ...number },
        { header: 'predicted', ...number },
        { header: 'measured', ...number },
        { header: 'error', ...number },
        { header: 'naive', ...number },
        { header: 'kind' },
        { header: 'expected', ...number },
        { header: 'row' },
      ],
      worst.map(({ measurement, predictedSeconds, error, naiveError, kind, expectedError }) => [
        describeKey(measurement),
        formatBytes(measurement.bytes),
        formatSeconds(predictedSeconds),
        formatSeconds(measurement.seconds),
        signed(error),
        naiveError === undefined ? '–' : signed(naiveError),
        kind,
        formatPercent(expectedError),
        `${measurement.source}:${measurement.line}`,
      ]),
      { style },
    ),
  );
  if (result.unpriced > 0) {
    const reasons = new Map<string, number>();
    for (const { why } of result.unpricedRows) reasons.set(why, (reasons.get(why) ?? 0) + 1);
    console.print();
    console.print(
      renderFacts(
        [...reasons].slice(0, worstShown).map(([why, rows]) => [`${rows} rows unpriced`, why]),
        style,
      ),
    );
  }
}

const describeRow = ({
  measurement,
  predictedSeconds,
  error,
  naiveError,
  kind,
  expectedError,
  restsOn,
}: ValidationRow) => {
  const { source, line, gpu, system, library, op, ranks, nodes, bytes, seconds } = measurement;
  return {
    source,
    line,
    gpu,
    system,
    library,
    op,
    ranks,
    nodes,
    bytes,
    measuredSeconds: seconds,
    predictedSeconds,
    error,
    naiveError: naiveError ?? null,
    kind,
    expectedError,
    restsOn,
  };
};

/**
 * Runs the command. Throws `InputError` for bad files, for measurements that cannot be true, and when no row has a
 * prediction.
 */
export function runValidate({ console }: MontaContext, flags: ValidateFlags, ...files: string[]): void {
  if (files.length === 0)
    throw new InputError('there is nothing to compare with', { expected: 'files with measurements' });
  if (flags.calibration === undefined) {
    validateRunFiles(
      console,
      files.map((path) => ({ path, text: readTextFile(path) })),
      flags.json,
    );
    return;
  }
  const calibration = readCalibrationFile(flags.calibration);
  const { measurements, warnings } = readMeasurementFiles(files, flags);
  const wrong = measurements.find(
    (m) => !(m.bytes > 0 && m.seconds > 0 && Number.isFinite(m.bytes + m.seconds) && m.ranks >= 2),
  );
  if (wrong !== undefined) {
    throw new InputError(
      `${wrong.op} of ${wrong.bytes} bytes over ${wrong.ranks} ranks in ${wrong.seconds} s cannot be`,
      {
        file: wrong.source,
        line: wrong.line,
        expected: 'sizes and times above 0, and at least 2 ranks',
      },
    );
  }
  const result = validate(calibration, measurements);
  const { details, unpricedRows, ...summary } = result;
  if (details.length === 0) {
    throw new InputError(`none of the ${measurements.length} rows can be predicted`, {
      file: flags.calibration,
      expected: 'measurements of what the calibration knows',
      hint: unpricedRows[0]?.why,
    });
  }
  if (flags.json) {
    console.json({
      ...summary,
      unpricedRows: unpricedRows.map(({ measurement: { source, line }, why }) => ({ source, line, why })),
      warnings,
      details: details.map(describeRow),
    });
    return;
  }
  show(console, result);
  showWarnings(console, warnings);
}
