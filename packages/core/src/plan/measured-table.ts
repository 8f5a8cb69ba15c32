/** Tables of measured layers and steps: CSV with named columns, notes in lines that start with #. */
import { csvRecords } from '../cost/calibration/csv.js';
import { InputError } from '../units/errors.js';

export interface TableRow {
  text(column: string): string;
  /** Throws `InputError` where the field is no number. */
  number(column: string): number;
}

/**
 * Rows of a table by the names of its first line. Throws `InputError` for a row that is cut and for a column that is
 * missing.
 */
export function tableRows(text: string, fileName: string): TableRow[] {
  const [header, ...records] = csvRecords(text, fileName);
  const names = header?.fields ?? [];
  return records.map(({ line, fields }) => {
    if (fields.length !== names.length)
      throw new InputError(`${fields.length} fields`, {
        file: fileName,
        line,
        expected: `${names.length}: ${names.join(', ')}`,
      });
    const get = (column: string): string => {
      const place = names.indexOf(column);
      if (place < 0) throw new InputError(`no column ${column}`, { file: fileName, expected: names.join(', ') });
      return fields[place] ?? '';
    };
    return {
      text: get,
      number: (column) => {
        const value = get(column) === '' ? Number.NaN : Number(get(column));
        if (Number.isFinite(value)) return value;
        throw new InputError(`"${get(column)}" is not a number`, {
          file: fileName,
          line,
          path: column,
          expected: 'a number',
        });
      },
    };
  });
}
