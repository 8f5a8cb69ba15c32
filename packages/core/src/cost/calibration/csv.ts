/**
 * Comma-separated measurements, one a line, columns found by name. Needed: `op`, `size_bytes` (total buffer) and
 * `time_us`, and the ranks as `gpus` or `ranks`. Used when there: `gpu`, `nodes`, `groups` (that ran at the same time),
 * `system`, `library`, `source`, `notes` (a library version in the text), `kind`. Rows of other things (DeepEP) are
 * counted and left out, those of a collective without size or time named.
 */
import { InputError } from '../../units/index.js';
import { parseOp } from './measurement.js';
import type { MeasuredOp, Measurement } from './measurement.js';
import type { Reading } from './nccl-tests.js';

export interface CsvReading extends Reading {
  /** Rows that are no collective with a size and a time. */
  readonly skipped: number;
}

/** `line` is that of its first character. */
export interface CsvRecord {
  readonly line: number;
  readonly fields: readonly string[];
}

/**
 * Splits CSV text into records; quotes as in RFC 4180; lines that start with `#` are notes. Throws
 * `InputError` for a quote that is never closed: it would swallow all records after it.
 */
export function csvRecords(text: string, fileName: string): CsvRecord[] {
  const records: { line: number; fields: string[] }[] = [];
  let fields: string[] = [];
  let field = '';
  let quoted = false;
  let line = 1;
  let start = 1;
  const endRecord = (): void => {
    fields.push(field);
    if (fields.length > 1 || field !== '') records.push({ line: start, fields });
    fields = [];
    field = '';
  };
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === '\n') line++;
    if (c === '#' && field === '' && fields.length === 0 && !quoted) {
      const end = text.indexOf('\n', i);
      i = end < 0 ? text.length : end - 1; // a note, up to the end of the line
    } else if (quoted) {
      if (c !== '"') field += c;
      else if (text.charAt(i + 1) === '"') field += text.charAt(i++);
      else quoted = false;
    } else if (c === '"' && field === '') quoted = true;
    else if (c === ',') {
      fields.push(field);
      field = '';
    } else if (c === '\n') {
      endRecord();
      start = line;
    } else if (c !== '\r') field += c;
  }
  if (quoted) {
    throw new InputError('a quote is opened and never closed', {
      file: fileName,
      line: start,
      expected: 'two quotes around a field',
      hint: 'a file that was cut off ends like this',
    });
  }
  endRecord();
  return records;
}

/** Rows that are named one by one. */
const doubtsShown = 20;

/** The names of the columns, of which those that are needed are there. Throws `InputError`. */
function columnsOf(header: CsvRecord | undefined, file: string): string[] {
  const names = header?.fields.map((name) => name.trim()) ?? [];
  const missing = ['op', 'size_bytes', 'time_us'].filter((name) => !names.includes(name));
  if (!names.includes('ranks') && !names.includes('gpus')) missing.push('ranks');
  if (missing.length > 0)
    throw new InputError(`columns ${missing.join(', ')} are missing`, {
      file,
      line: header?.line ?? 1,
      expected: 'a first line like op,ranks,nodes,gpu,size_bytes,time_us',
    });
  return names;
}

/** The text of a column in a row; empty where there is none. */
type Cells = (name: string) => string;

/** A row that claims to be a measurement. Throws `InputError` for a number that is none. */
function measurementOf(
  op: MeasuredOp,
  get: Cells,
  at: { readonly file: string; readonly line: number; readonly ranksName: 'ranks' | 'gpus' },
): Measurement {
  const { file, line, ranksName } = at;
  const number = (name: string): number => {
    const value = get(name) === '' ? Number.NaN : Number(get(name));
    if (Number.isFinite(value)) return value;
    throw new InputError(`"${get(name)}" is not a number`, { file, line, path: name, expected: 'a number' });
  };
  const version = /NCCL (\d[\w.]*)/u.exec(get('notes'))?.[1];
  const inPlace = get('in_place_us') === '' ? undefined : number('in_place_us');
  const groups = get('groups') === '' ? 1 : number('groups');
  return {
    source: file,
    line,
    origin: get('source'),
    gpu: get('gpu'),
    system: get('system'),
    library: get('library') || (version === undefined ? 'nccl' : `nccl ${version}`),
    op,
    ranks: number(ranksName),
    nodes: get('nodes') === '' ? null : number('nodes'),
    ...(groups > 1 ? { groups } : {}),
    bytes: number('size_bytes'),
    seconds: number('time_us') * 1e-6,
    ...(inPlace === undefined ? {} : { inPlaceSeconds: inPlace * 1e-6 }),
  };
}

/**
 * Reads the CSV form; warns of rows that are cut. Throws `InputError` for missing columns and, with its line, for a
 * number that is none in a row that claims to be a measurement.
 */
export function readMeasurementsCsv(text: string, fileName: string): CsvReading {
  const [header, ...records] = csvRecords(text, fileName);
  const names = columnsOf(header, fileName);
  const ranksName = names.includes('ranks') ? 'ranks' : 'gpus';
  const measurements: Measurement[] = [];
  const doubts: string[] = [];
  let skipped = 0;
  for (const { line, fields } of records) {
    const get: Cells = (name) => (fields[names.indexOf(name)] ?? '').trim();
    const op = parseOp(get('op'));
    if (op === undefined || get('size_bytes') === '' || get('time_us') === '') {
      skipped++;
      const lacks = op === undefined ? 'collective' : get('size_bytes') === '' ? 'size' : 'time';
      // a whole row of another kind of figure is no loss; a row that was cut is, and so is a collective without figures
      if (op !== undefined || fields.length < names.length) {
        doubts.push(`${fileName}:${line}: row is cut short or has no ${lacks}, left out`);
      }
      continue;
    }
    if (fields.length !== names.length) {
      doubts.push(`${fileName}:${line}: row has ${fields.length} columns, the header ${names.length}; it is used`);
    }
    measurements.push(measurementOf(op, get, { file: fileName, line, ranksName }));
  }
  const more = doubts.length - doubtsShown;
  const warnings = doubts.slice(0, doubtsShown);
  return {
    measurements,
    skipped,
    warnings: more > 0 ? [...warnings, `${fileName}: ${more} more such rows`] : warnings,
  };
}

const quote = (text: string): string => (/[",\n]/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const micro = (seconds: number | undefined): string =>
  seconds === undefined ? '' : String(+(seconds * 1e6).toPrecision(9));

/** Writes measurements in the form that `readMeasurementsCsv` reads. */
export function writeMeasurementsCsv(measurements: readonly Measurement[]): string {
  const lines = measurements.map((m) =>
    [
      m.op,
      String(m.ranks),
      m.nodes === null ? '' : String(m.nodes),
      m.groups === undefined ? '' : String(m.groups),
      m.gpu,
      m.system,
      m.library,
      String(m.bytes),
      micro(m.seconds),
      micro(m.inPlaceSeconds),
      m.origin,
    ]
      .map(quote)
      .join(','),
  );
  return ['op,ranks,nodes,groups,gpu,system,library,size_bytes,time_us,in_place_us,source', ...lines, ''].join('\n');
}
