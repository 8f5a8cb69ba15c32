/** The table of docs/verify.md: what was verified of every folder on 1, 2, 4 and 8 ranks, and at which commit. */
import { parseLayout, worldSize } from '@monta/core';
import { verifiedLayouts } from '@monta/runtime';

export const ranksOf = (layout: string): number => worldSize(parseLayout(layout));

/** One folder on one layout, with every dispatcher that serves it. */
export interface VerifyRow {
  readonly folder: string;
  readonly layout: string;
  /** The last one that changed the sources of core and runtime, with a plus where they were changed since. */
  readonly commit: string;
  readonly dispatchers: number;
  /** Of all quantities, and how many of them were past their tolerance. */
  readonly quantities: number;
  readonly past: number;
  /** The largest error, as a share of its tolerance, and what it is of. */
  readonly worst: number;
  readonly of: string;
}

/** `rows` with `later` in place of those of the same folder and layout, in the order of the table. */
export function withRows(rows: readonly VerifyRow[], later: readonly VerifyRow[]): VerifyRow[] {
  const key = ({ folder, layout }: VerifyRow): string => `${folder} ${layout}`;
  const all = new Map([...rows, ...later].map((row) => [key(row), row]));
  const known = [...all.values()].filter(({ layout }) => verifiedLayouts.includes(layout));
  const place = ({ layout }: VerifyRow): number => verifiedLayouts.indexOf(layout);
  return known.sort((a, b) => (a.folder === b.folder ? place(a) - place(b) : a.folder < b.folder ? -1 : 1));
}

/** A line for every folder and number of ranks; what was not run stands there as not run. */
export function verifyTable(rows: readonly VerifyRow[]): string {
  const folders = [...new Set(rows.map(({ folder }) => folder))];
  const lines = folders.flatMap((folder) =>
    [1, 2, 4, 8].map((ranks) => {
      const of = verifiedLayouts.filter((layout) => ranksOf(layout) === ranks).length;
      const those = rows.filter((row) => row.folder === folder && ranksOf(row.layout) === ranks);
      const [first] = those;
      if (first === undefined) return `| ${folder} | ${ranks} | 0 of ${of} | 0 | not run | | |`;
      const sum = (key: 'dispatchers' | 'quantities' | 'past'): number =>
        those.reduce((total, row) => total + row[key], 0);
      const worst = those.reduce((a, b) => (b.worst > a.worst ? b : a), first);
      const commits = [...new Set(those.map(({ commit }) => commit))];
      return (
        `| ${folder} | ${ranks} | ${those.length} of ${of} | ${sum('dispatchers')} | ` +
        `${sum('quantities') - sum('past')} of ${sum('quantities')} | ` +
        `${(100 * worst.worst).toPrecision(2)} % (${worst.of}, \`${worst.layout}\`) | ${commits.join(', ')} |`
      );
    }),
  );
  return [
    '| folder | ranks | layouts | dispatchers run | within tolerance | largest error, of its tolerance | commit |',
    '|---|--:|--:|--:|--:|---|---|',
    ...lines,
  ].join('\n');
}
