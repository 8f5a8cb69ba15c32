/** Writes docs/choices.md, which way wins where: `npm run docs:choices`. Everything is simulated, and says so. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formatInteger, type OverlapKind } from '@monta/core';
import { choiceAt, mapRows, modelRows, type Won } from './choice-maps.js';

const overlapWords: Readonly<Record<OverlapKind, string>> = {
  chunks: 'chunks',
  experts: 'experts',
  shared: 'shared experts',
  weightGradients: 'weight gradients',
};

/** `deduplicated 4/4, 12 % over gathered`, a tie in brackets. */
function wonText({ name, chunks, apart, over, margin, tie }: Won): string {
  const off = apart.length === 0 ? '' : `, ${apart.map((kind) => overlapWords[kind]).join(' and ')} apart`;
  const own = `${name}${chunks === '' ? '' : ` ${chunks}`}${off}`;
  if (over === undefined) return `**${own}**`;
  const share = `${(margin * 100).toFixed(margin < 0.1 ? 1 : 0)} %`;
  return tie ? `${own} ≈ ${over} (${share})` : `**${own}**, ${share} over ${over}`;
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [
    `| ${head.join(' | ')} |`,
    `|${head.map(() => '---').join('|')}|`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');

const models = modelRows().map(({ model, layout, cluster, points }) => [
  `## ${model}\n\n${cluster}, \`${layout}\` unless said.\n`,
  table(
    ['what is varied', 'value', 'wins'],
    points.map(({ varied, value, point }) => [varied, value, wonText(choiceAt(point))]),
  ),
]);

const map = mapRows();
const introduction = [
  '# Which way wins where',
  'Written by `npm run docs:choices`; every answer on this page is **simulated**: one MoE layer, forward and ' +
    'backward, in 1 or 4 chunks a pass, with datasheet links at the rates that they reach. A winner in bold is ahead ' +
    "of the best of another kind by more than the model's own error; `≈` is a tie, which only a measurement decides. " +
    'A kind is a pair of halves ([dispatchers](dispatchers.md)), with its etp and ep where etp is below tp. ' +
    '`scattered 4/1`: four chunks forward, one backward. What runs beside what is chosen too: `chunks apart` where ' +
    'stages of a chunk are better not beside those of its neighbours, `weight gradients apart` and so on.',
  'Two nodes of eight, so that the network carries half of what an even exchange sends. Skewed routing is the median ' +
    'of three draws.',
].join('\n\n');

const text = `${introduction}

${models.map((parts) => parts.join('\n')).join('\n\n')}

## Experts and picks

${map.what}

${table(
  ['experts', ...map.topKs.map((k) => `top-${k}`)],
  map.rows.map(({ experts, points }) => [formatInteger(experts), ...points.map((point) => wonText(choiceAt(point)))]),
)}
`;

writeFileSync(fileURLToPath(new URL('../../../../docs/choices.md', import.meta.url)), text);
