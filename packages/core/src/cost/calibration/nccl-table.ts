/** Tables of nccl-tests and their lines: prefixes, headers by column names, and rows. */
import type { MeasuredOp } from './measurement.js';

/** A line "Rank ... device" above a table. */
export interface RankLine {
  readonly rank: number;
  readonly host: string;
  readonly gpu: string;
}

/** What was said above a table. */
export interface Heading {
  readonly command?: MeasuredOp;
  readonly version?: string;
  readonly devices: readonly RankLine[];
}

export interface Table {
  readonly line: number;
  readonly heading: Heading;
  readonly rows: Row[];
}

/** Columns of a table, by position. */
export interface Columns {
  readonly names: readonly string[];
  readonly separator: 'space' | 'comma';
}

/** One group of result columns, out-of-place or in-place. */
export interface ResultGroup {
  readonly microseconds: number;
  readonly algorithmGBs: number;
  readonly busGBs: number;
  /** `0`, a count of wrong elements, or `N/A`; undefined when there is no such column. */
  readonly wrong: string | undefined;
}

export interface Row {
  readonly line: number;
  readonly bytes: number;
  readonly count: number | undefined;
  readonly elementBytes: number | undefined;
  /** `sum`, `max` ...; undefined for none. */
  readonly reduction: string | undefined;
  readonly groups: readonly (ResultGroup | undefined)[];
  /** Fewer values than columns. */
  readonly cut: boolean;
}

export const elementSizes: ReadonlyMap<string, number> = new Map([
  ['int8', 1],
  ['uint8', 1],
  ['f8e4m3', 1],
  ['f8e5m2', 1],
  ['half', 2],
  ['bfloat16', 2],
  ['int32', 4],
  ['uint32', 4],
  ['float', 4],
  ['int64', 8],
  ['uint64', 8],
  ['double', 8],
]);

/** Takes off what mpirun puts before every line (`[1,0]<stdout>:`, `[host:rank]`), and pdsh's or kubectl's `host: ` before a table line. */
export function withoutPrefix(line: string): string {
  return line
    .replace(/^\s*\[\d+,\d+\]<std(?:out|err)>:\s?/u, '')
    .replace(/^\s*\[[\w.-]+[,:]\d+\](?:<\w+>)?:\s?/u, '')
    .replace(/^[\w.-]+:\s+(?=#|\d+\s+\d+\s+\w)/u, '');
}

const spaced = (line: string): string[] =>
  line
    .replaceAll('#wrong', ' wrong ')
    .replaceAll('#', ' ')
    .trim()
    .split(/\s+/u)
    .filter((word) => word !== '');

const commas = (line: string): string[] => line.split(',').map((word) => word.trim().replace(/^"(.*)"$/u, '$1'));

/** Column names when `line` is a row of names (size ... time ... busbw), else undefined. */
export function headerOf(line: string): Columns | undefined {
  if (!/\bsize\b/iu.test(line) || !/\bbusbw\b/iu.test(line)) return undefined;
  const separator = (line.match(/,/gu)?.length ?? 0) >= 4 ? 'comma' : 'space';
  const words = separator === 'comma' ? commas(line) : spaced(line);
  const names = words.map((word) =>
    word
      .toLowerCase()
      .replace(/^#\s*/u, '')
      .replace(/\s*\(.*\)$/u, ''),
  );
  return names.some((n) => n === 'time' || n === 'cputime') ? { names, separator } : undefined;
}

/**
 * A row of a table, or undefined when the line is none. A row starts with a size and holds numbers; names without a value (redop is blank in
 * old all_to_all tables) are skipped when the values are fewer.
 */
export function rowOf(line: string, columns: Columns, number: number): Row | undefined {
  const values = columns.separator === 'comma' ? commas(line) : line.trim().split(/\s+/u);
  const bytes = parseSize(values[0] ?? '');
  if (bytes === undefined || values.length < 4) return undefined;
  let { names } = columns;
  if (columns.separator === 'space') {
    for (const optional of ['root', 'redop']) {
      if (values.length < names.length) names = names.filter((name) => name !== optional);
    }
    // A last column of time stamps has a blank between date and time.
  }
  const first = names.findIndex((name) => name === 'time' || name === 'cputime');
  if (first < 0) return undefined;
  const at = (name: string): string | undefined => {
    const index = names.indexOf(name);
    return index < 0 ? undefined : values[index];
  };
  const starts = names.flatMap((name, i) => (name === 'time' || name === 'cputime' ? [i] : []));
  const groups = starts.map((start, i) => groupAt(names, values, start, starts[i + 1] ?? names.length));
  const count = Number(at('count'));
  const redop = at('redop');
  return {
    line: number,
    bytes,
    count: Number.isFinite(count) ? count : undefined,
    elementBytes: elementSizes.get(at('type') ?? ''),
    reduction: redop === undefined || redop === '' || redop === 'none' ? undefined : redop,
    groups,
    cut: groups[0] === undefined || values.length < (starts[1] ?? names.length) - 1,
  };
}

function groupAt(
  names: readonly string[],
  values: readonly string[],
  start: number,
  end: number,
): ResultGroup | undefined {
  const value = (name: string): string | undefined => {
    const index = names.indexOf(name, start);
    return index < 0 || index >= end ? undefined : values[index];
  };
  const microseconds = Number(values[start] === '' ? Number.NaN : values[start]);
  const algorithmGBs = Number(value('algbw'));
  const busGBs = Number(value('busbw'));
  if (![microseconds, algorithmGBs, busGBs].every(Number.isFinite)) return undefined;
  return { microseconds, algorithmGBs, busGBs, wrong: value('wrong') ?? value('error') };
}

/** The groups of a row that have values. */
export const groupsOf = (row: Row): ResultGroup[] => row.groups.filter((group) => group !== undefined);

/** `8388608`, `8M`, `1.5G`: powers of 1024, as nccl-tests takes them. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)i?B?$/iu.exec(text);
  if (!match) return undefined;
  const power = ['', 'K', 'M', 'G', 'T'].indexOf((match[2] ?? '').toUpperCase());
  return Number(match[1]) * 1024 ** power;
}
