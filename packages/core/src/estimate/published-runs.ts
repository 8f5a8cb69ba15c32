/** Tables of published training runs: one row a run, columns by name, what a source does not print left empty. */
import { csvRecords } from '../cost/calibration/csv.js';
import { InputError } from '../units/errors.js';

/** A row as printed. */
export interface PublishedRun {
  readonly file: string;
  readonly line: number;
  /** A column's text, '' where it is empty or there is no such column. */
  text(column: string): string;
  /** A column's number; undefined where none is printed (`N/A`, `-`, empty). */
  number(column: string): number | undefined;
}

const needed = ['model', 'gpu'] as const;

/** Beyond any collection; so many are priced in some seconds. */
const mostRuns = 2048;

/** Whether the text looks like such a table: its first record has columns of runs, not of collectives. */
export const looksLikeRuns = (text: string): boolean => {
  const header = text.split('\n').find((line) => line.trim() !== '' && !line.startsWith('#')) ?? '';
  const columns = header.split(',').map((column) => column.trim());
  return needed.every((column) => columns.includes(column)) && ['tp', 'gbs'].some((column) => columns.includes(column));
};

/** Reads rows. Throws `InputError` for a table without the columns that name model and GPU, and for one too long. */
export function readPublishedRuns(text: string, file: string): PublishedRun[] {
  const [header, ...records] = csvRecords(text, file);
  const names = header?.fields.map((name) => name.trim()) ?? [];
  const missing = needed.find((column) => !names.includes(column));
  if (missing !== undefined)
    throw new InputError(`no column ${missing}`, { file, expected: `columns ${needed.join(', ')}, tp, pp, gbs, …` });
  if (records.length > mostRuns)
    throw new InputError(`has ${records.length} runs`, { file, expected: `at most ${mostRuns} in one table` });
  return records.map(({ line, fields }) => {
    const get = (column: string): string => {
      const place = names.indexOf(column);
      return place < 0 ? '' : (fields[place] ?? '').trim();
    };
    return {
      file,
      line,
      text: get,
      number: (column) => {
        const value = Number(get(column).replaceAll(',', ''));
        return get(column) !== '' && Number.isFinite(value) ? value : undefined;
      },
    };
  });
}
