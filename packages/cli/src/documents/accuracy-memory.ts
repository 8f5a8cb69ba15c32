/** The part of docs/accuracy.md on memory: published peaks, and families left out of choosing the rules. */
import { formatPercent } from '@monta/core';
import { leaveRulesOut, predictPublished } from '@monta/core/memory';
import { quantile } from '@monta/core/units';

const row = (...cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;

/** Runs, and quantiles of their absolute errors. */
function errorCells(errors: readonly number[]): readonly (string | number)[] {
  const sizes = errors.map(Math.abs).toSorted((a, b) => a - b);
  return [sizes.length, ...[0.5, 0.9, 1].map((share) => formatPercent(quantile(sizes, share)))];
}

export function memoryAccuracy(): string {
  const all = predictPublished().flatMap(({ row: { microBatches }, error }) => microBatches.map(() => error));
  const families = leaveRulesOut();
  const lines = families.map(({ family, without, errors }) =>
    row(family, ...errorCells(errors), without.length === 0 ? 'none' : without.join(', ')),
  );
  return `## Memory

Peaks that others published beside \`monta memory\` ([each row](memory.md)). No number is fitted. What Megatron-Core \
keeps is five rules of yes and no (\`packages/core/src/memory/convention.ts\`), each with the source line that does \
it. Some were looked for where rows were off. So each family of models is left out in turn: the others alone decide \
which rules hold, source lines set aside, by the least mean error of all 32 choices; then the family is predicted.

${row('memory', 'runs', 'median error', '90th percentile', 'worst')}
|---|--:|--:|--:|--:|
${row('as the source lines say', ...errorCells(all))}
${row('the family left out of choosing rules', ...errorCells(families.flatMap(({ errors }) => errors)))}

${row('family left out', 'runs', 'median error', '90th percentile', 'worst', 'rules that the others decide against')}
|---|--:|--:|--:|--:|---|
${lines.join('\n')}
`;
}
