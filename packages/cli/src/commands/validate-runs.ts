/** `monta validate` on published training runs: estimated steps against measured ones. */
import type { PricedRun, PublishedRun, RunErrors, RunsValidation } from '@monta/core';
import { formatPercent, formatSeconds, InputError } from '@monta/core/units';
import { looksLikeRuns, readPublishedRuns, validateRuns } from '@monta/core/estimate';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';

const number = { align: 'number' } as const;
const worstShown = 8;

/** What rows are called by: their own number where they have one, else their line. */
const nameOf = (row: PublishedRun): string => (row.text('id') === '' ? `line ${row.line}` : `row ${row.text('id')}`);

const summaryRow = (name: string, { rows, medianAbsoluteError, p90AbsoluteError }: RunErrors): string[] => [
  name,
  String(rows),
  formatPercent(medianAbsoluteError),
  formatPercent(p90AbsoluteError),
];

const errorColumns = [
  { header: 'rows', ...number },
  { header: 'median error', ...number },
  { header: '90th percentile', ...number },
];

/** Reasons with their rows, the most frequent first. */
function reasons({ unpriced }: RunsValidation): [why: string, rows: number][] {
  const counts = new Map<string, number>();
  for (const { why } of unpriced) counts.set(why, (counts.get(why) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a);
}

function show(console: Console, result: RunsValidation): void {
  const { style } = console;
  const { pairs, spearman, byModel, details } = result;
  console.print(
    renderTable(
      [{ header: 'steps' }, ...errorColumns],
      [summaryRow(`priced, of ${result.read} rows`, result), ...byModel.map((one) => summaryRow(`  ${one.name}`, one))],
      { style },
    ),
  );
  console.print();
  console.print(
    renderTable(
      [{ header: 'order' }, { header: 'rows', ...number }, { header: 'rank correlation', ...number }],
      spearman.map(({ gpu, rows, value }) => [`FLOP/s of ${gpu}`, String(rows), value.toFixed(3)]),
      { style },
    ),
  );
  console.print();
  const worst = [...details].sort((a, b) => Math.abs(b.error) - Math.abs(a.error)).slice(0, worstShown);
  console.print(
    renderTable(
      [
        { header: 'farthest off' },
        { header: 'predicted', ...number },
        { header: 'measured', ...number },
        { header: 'row' },
      ],
      worst.map(({ row, setting, predictedSeconds, measuredSeconds }) => [
        `${setting.model.name} on ${setting.cluster.name}`,
        formatSeconds(predictedSeconds),
        formatSeconds(measuredSeconds),
        nameOf(row),
      ]),
      { style },
    ),
  );
  console.print();
  console.print(
    renderFacts(
      [
        ['layouts', `${pairs.right} of ${pairs.compared} pairs over 5 % apart in the right order`],
        ...reasons(result)
          .slice(0, worstShown)
          .map(([why, rows]): [string, string] => [`${rows} unpriced`, why]),
      ],
      style,
    ),
  );
}

const describeRun = ({ row, setting, ...figures }: PricedRun) => ({
  source: row.file,
  line: row.line,
  id: row.text('id'),
  model: setting.model.name,
  cluster: setting.cluster.name,
  layout: setting.layout,
  virtualStages: setting.virtualStages,
  precision: setting.precision,
  stack: setting.stack,
  recompute: setting.recompute,
  ...figures,
});

/** Throws `InputError` for a file of something else, and when no row can be priced. */
export function validateRunFiles(
  console: Console,
  files: readonly { readonly path: string; readonly text: string }[],
  json: boolean,
): void {
  const other = files.find(({ text }) => !looksLikeRuns(text));
  if (other !== undefined)
    throw new InputError('is no table of training runs, and without --calibration only those can be compared', {
      file: other.path,
      expected: 'CSV with columns model, gpu, gbs, tp and others',
      hint: 'collectives are compared with a calibration: --calibration file',
    });
  const result = validateRuns(files.flatMap(({ path, text }) => readPublishedRuns(text, path)));
  if (result.rows === 0)
    throw new InputError(`none of the ${result.read} rows can be priced`, {
      file: files[0]?.path,
      expected: 'rows with model, gpu, gpus, seq_len, gbs, mbs, tp, pp and step_time_s',
      hint: result.unpriced[0]?.why,
    });
  if (!json) {
    show(console, result);
    return;
  }
  const { details, unpriced, ...summary } = result;
  console.json({
    ...summary,
    unpriced: unpriced.map(({ row, why }) => ({ source: row.file, line: row.line, id: row.text('id'), why })),
    details: details.map(describeRun),
  });
}
