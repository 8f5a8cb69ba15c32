/** The part of docs/accuracy.md on steps in closed form: published training runs against the estimate. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  constantPriors,
  formatPercent,
  leaveFamiliesOut,
  type PricedRun,
  readPublishedRuns,
  type RunErrors,
  stepConstants,
  summariseErrors,
  validateRuns,
} from '@monta/core';

const name = 'published-runs.csv';
const heldOut = 'held-out-runs.csv';
const fixture = (file: string): string =>
  fileURLToPath(new URL(`../../../core/src/estimate/fixtures/${file}`, import.meta.url));
const runsOf = (file: string) => readPublishedRuns(readFileSync(fixture(file), 'utf8'), file);

/** Published runs kept in the repository. */
export const publishedRuns = () => runsOf(name);

const row = (...cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

const errorRow = (label: string, { rows, medianAbsoluteError, p90AbsoluteError }: RunErrors): string =>
  row(label, String(rows), formatPercent(medianAbsoluteError), formatPercent(p90AbsoluteError));

const isMoe = ({ setting }: Pick<PricedRun, 'setting'>): boolean => setting.model.experts > 0;

function constantsTable(): string {
  const lines = Object.entries(constantPriors).map(([constant, { middle, of, factor, source }]) => {
    const fitted = stepConstants[constant as keyof typeof constantPriors];
    return row(
      `\`${constant}\``,
      fitted.toPrecision(3),
      `${middle.toPrecision(3)}${of === undefined ? '' : ` of \`${of}\``}`,
      `${factor}x`,
      source,
    );
  });
  return [row('constant', 'fitted', 'known before', 'one deviation', 'source'), '|---|--:|--:|--:|---|', ...lines].join(
    '\n',
  );
}

/** Runs of a source that no constant was fitted on, by GPU and precision. */
function heldOutTable(): string {
  const { details } = validateRuns(runsOf(heldOut));
  const kinds = new Map<string, number[]>();
  for (const { setting, error } of details) {
    const kind = `${setting.cluster.device.name}, ${setting.precision}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), error]);
  }
  const all = errorRow('all', summariseErrors(details.map(({ error }) => error)));
  const lines = [...kinds].map(([kind, errors]) => errorRow(kind, summariseErrors(errors)));
  return [
    row('runs of PyTorch FSDP', 'rows', 'median error', '90th percentile'),
    '|---|--:|--:|--:|',
    all,
    ...lines,
  ].join('\n');
}

/** Words and table of the runs that no constant was fitted on. */
const heldOutPart = (): string => `Runs that no constant was fitted on (\`${heldOut}\`: tables of \
mosaicml/llm-foundry, dense models of 1.3 to 30 billion parameters on 8 to 64 GPUs, not all of its rows). They were \
read when constants and form stood. One thing was mended after the first look: its kernels are PyTorch's own. Taken \
for Transformer Engine's they were off by 21 % in the median.

${heldOutTable()}`;

/** The section, with every model family predicted from the others. */
export function estimatePage(): string {
  const result = validateRuns(publishedRuns());
  const { details, pairs, spearman } = result;
  const errorsOf = (runs: readonly PricedRun[]): RunErrors => summariseErrors(runs.map(({ error }) => error));
  const families = leaveFamiliesOut(details);
  const left = (moe: boolean): RunErrors =>
    summariseErrors(families.filter((one) => one.moe === moe).flatMap(({ errors }) => errors));
  const fitted = Object.keys(constantPriors).length;
  return `## Steps in closed form

Published training runs (\`packages/core/src/estimate/fixtures/${name}\`, each row with its source) against the \
estimate that searches rank layouts by: \`monta validate ${name}\`. ${result.rows} of ${result.read} rows say enough \
to be priced; the others are named with the reason. ${fitted} constants are fitted to these rows (\`npm run \
fit:steps\`), the same for all sources, models and layouts; each is held near what is known of it. How near, and the \
form, were chosen looking at all families, so that families left out of the fit are no rows kept back. Rows of one \
configuration differ by 2 to 4 % in the median and 10 to 38 % in one of ten between software releases.

${row('steps', 'rows', 'median error', '90th percentile')}
|---|--:|--:|--:|
${errorRow('all', result)}
${errorRow('dense models', errorsOf(details.filter((run) => !isMoe(run))))}
${errorRow('models with experts', errorsOf(details.filter(isMoe)))}
${errorRow('dense, the family left out of the fit', left(false))}
${errorRow('with experts, the family left out', left(true))}

${row('family left out', 'rows', 'median error', '90th percentile')}
|---|--:|--:|--:|
${families.map((one) => errorRow(one.family, one)).join('\n')}

Layouts of one workload on the same GPUs whose measured times differ by over 5 %: ${pairs.right} of ${pairs.compared} \
pairs are in the right order. Rank correlation of FLOP/s a GPU: \
${spearman.map(({ gpu, value, rows }) => `${gpu} ${value.toFixed(2)} (${rows} rows)`).join(', ')}.

${heldOutPart()}

${constantsTable()}

What these rows do not print is assumed: \`docs/planning.md\` lists it.
`;
}
