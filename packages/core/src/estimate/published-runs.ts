/** Tables of published training runs: one row a run, columns by name, what a source does not print left empty. */
import { csvRecords } from '../cost/calibration/csv.js';
import { InputError } from '../units/errors.js';

/** A row as printed. */
export interface PublishedRun {
  readonly file: string;
  readonly line: number;
  /** A column's text, '' where it is empty or there is no such column. */
  text(column: string): string;
  /**
   * A number as tables write it (`1,024`, `TP4`, `64 GPUs`, `8k`, `1340 ms`); undefined where none is printed.
   */
  number(column: string): number | undefined;
  /** Whether a column says something that is no number, and is no way to print none (`N/A`, `-`, empty). */
  unreadable(column: string): boolean;
}

const needed = ['model', 'gpu'] as const;

/** Ways to print none. */
const none = /^(?:|[-\u2010-\u2015]+|n\/?a|nan|none|null)$/iu;

/** Units of counts, and of seconds. A sequence of 8k is one of 8,192 tokens. */
const units: Readonly<Record<string, number>> = { k: 1000, ms: 1e-3 };
const unitOf = (unit: string, column: string): number =>
  unit === 'k' && column === 'seq_len' ? 1024 : (units[unit] ?? 1);

/** A number with its column's name before it or a unit behind it. */
function numberIn(text: string, column: string): number | undefined {
  const plain = text.replaceAll(',', '').toLowerCase();
  if (plain !== '' && Number.isFinite(Number(plain))) return Number(plain);
  const own = plain.startsWith(column) ? plain.slice(column.length).replace(/^\s*[=:]?\s*/u, '') : plain;
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)\s*(k|ms|s|sec|seconds|gpus?)?$/u.exec(own) ?? [];
  return digits === undefined ? undefined : Number(digits) * unitOf(unit, column);
}

/** Beyond any collection; so many are priced in some seconds. */
const mostRuns = 2048;

/** Whether the text looks like such a table: its first record has columns of runs, not of collectives. */
export const looksLikeRuns = (text: string): boolean => {
  const header = text.split('\n').find((line) => line.trim() !== '' && !line.startsWith('#')) ?? '';
  const columns = header.split(',').map((column) => column.trim().toLowerCase());
  return needed.every((column) => columns.includes(column)) && ['tp', 'gbs'].some((column) => columns.includes(column));
};

/** Reads rows. Throws `InputError` for a table without the columns that name model and GPU, and for one too long. */
export function readPublishedRuns(text: string, file: string): PublishedRun[] {
  const [header, ...records] = csvRecords(text, file);
  const names = header?.fields.map((name) => name.trim().toLowerCase()) ?? [];
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
      number: (column) => numberIn(get(column), column),
      unreadable: (column) => !none.test(get(column)) && numberIn(get(column), column) === undefined,
    };
  });
}
