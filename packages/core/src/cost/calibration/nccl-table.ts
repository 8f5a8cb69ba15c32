/** Tables of nccl-tests and their lines: prefixes, headers by column names, and rows. */
import type { MeasuredOp } from './measurement.js';

/** A line "Rank ... device" above a table. */
export interface RankLine {
  readonly line: number;
  readonly rank: number;
  /** Colour of the communicator that the rank belongs to; 0 unless NCCL_TESTS_SPLIT is set. */
  readonly group: number;
  readonly host: string;
  /** Number of the device on its host. */
  readonly device: number;
  readonly gpu: string;
}

/** What was said above a table. */
export interface Heading {
  /** The collective that the program measures. */
  readonly command?: MeasuredOp;
  /** A program of nccl-tests whose collective calibrations do not hold (`reduce_perf`). */
  readonly foreign?: string;
  /** As `nccl 2.29.2`. */
  readonly library?: string;
  readonly devices: readonly RankLine[];
  /** Line of a "..." among the rank lines. */
  readonly elided?: number;
  /** `NAME=VALUE` of the command line, by which runs of one log differ. */
  readonly settings?: readonly string[];
}

export interface Table {
  readonly line: number;
  readonly heading: Heading;
  readonly rows: Row[];
  /** The times are those of the host's launches (`-C`), not of the collective. */
  readonly hostTimes: boolean;
  /** Line below the table that says that results were wrong. */
  readonly failed?: number;
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
  /** Old builds: the largest difference from the right result, rounding included. */
  readonly error: string | undefined;
}

export interface Row {
  readonly line: number;
  readonly bytes: number;
  readonly count: number | undefined;
  readonly elementBytes: number | undefined;
  /** `sum`, `max` ...; undefined for none. */
  readonly reduction: string | undefined;
  readonly groups: readonly (ResultGroup | undefined)[];
  /** No numbers in its first group of results. */
  readonly cut: boolean;
  /** Ends before its last group of results is complete. */
  readonly partial: boolean;
}

export const elementSizes: ReadonlyMap<string, number> = new Map([
  ['int8', 1],
  ['uint8', 1],
  ['f8e4m3', 1],
  ['f8e5m2', 1],
  ['fp8_e4m3', 1],
  ['fp8_e5m2', 1],
  ['half', 2],
  ['bfloat16', 2],
  ['int32', 4],
  ['uint32', 4],
  ['float', 4],
  ['int64', 8],
  ['uint64', 8],
  ['double', 8],
]);

/**
 * What launchers put before a line: `[1,0]<stdout>:`, `[host:rank]:`, MPICH's `[0]`, and pdsh's or kubectl's `host: `
 * before a table line.
 */
const prefixes = [
  /^\s*(\[\d+,\d+\]<std(?:out|err)>:)\s?/u,
  /^\s*(\[[\w.-]+[,:]\d+\](?:<\w+>)?:)\s?/u,
  /^\s*(\[\d+\])\s/u,
  /^([\w.-]+:)\s+(?=#|\d+\s+\d+\s+\w)/u,
];

/**
 * Takes off what a launcher puts before every line. A row that the program writes in pieces has the same text before
 * each piece (MPICH): there it is taken out of the middle too.
 */
export function withoutPrefix(line: string): string {
  let rest = line;
  for (const pattern of prefixes) {
    const found = pattern.exec(rest);
    const [whole, text = ''] = found ?? [];
    if (whole === undefined) continue;
    rest = rest.slice(whole.length);
    if (/^\s*\d/u.test(rest)) rest = rest.replaceAll(text, ' ');
  }
  return rest;
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
  if (!names.some(isTime)) return undefined;
  // what a scheduler puts before every line is no column
  return { names: separator === 'space' ? names.slice(names.indexOf('size')) : names, separator };
}

const isTime = (name: string): boolean => name === 'time' || name === 'cputime';

/** Whether the durations in these columns are of the host's launches. */
export const hasHostTimes = ({ names }: Columns): boolean => names.find(isTime) === 'cputime';

/** Sum, max, none ...: a word where a number could stand. */
const word = /^[a-z]\w*$/iu;
const integer = /^-?\d+$/u;

/** Size, count and type of a row, after whatever a scheduler put before them (a time, a pod's name). */
const rowStart = new RegExp(`\\b\\d+\\s+\\d+\\s+(?:${[...elementSizes.keys()].join('|')})\\b`, 'iu');

/**
 * A row of a table, or undefined when the line is none. A row starts with a size and holds numbers; `redop` and `root`,
 * which old tables leave blank in some collectives, are told from times by being a word and an integer. A line that
 * starts like a row but ends before its first group of results, or has no numbers there, is a row that was cut.
 */
export function rowOf(line: string, columns: Columns, number: number): Row | undefined {
  const spacedOut = columns.separator === 'space';
  const start = spacedOut ? (rowStart.exec(line)?.index ?? 0) : 0;
  const values = spacedOut ? line.slice(start).trim().split(/\s+/u) : commas(line);
  const bytes = parseSize(values[0] ?? '');
  if (bytes === undefined) return undefined;
  const names = spacedOut ? writtenNames(columns.names, values) : columns.names;
  const at = (name: string): string | undefined => {
    const index = names.indexOf(name);
    return index < 0 ? undefined : values[index];
  };
  const starts = names.flatMap((name, i) => (isTime(name) ? [i] : []));
  const groups = starts.map((first, i) => groupAt(names, values, first, starts[i + 1] ?? names.length));
  const cut = groups[0] === undefined;
  if (cut && !startsRow(names, values)) return undefined;
  const count = Number(at('count'));
  const redop = at('redop');
  return {
    line: number,
    bytes,
    count: Number.isFinite(count) ? count : undefined,
    elementBytes: elementSizes.get(at('type') ?? ''),
    reduction: redop === undefined || redop === '' || redop === 'none' ? undefined : redop,
    groups,
    cut,
    partial: groups.includes(undefined) && values.length < names.length,
  };
}

/** The names of the columns that a row has values for. */
function writtenNames(names: readonly string[], values: readonly string[]): readonly string[] {
  const blank = (list: readonly string[], name: string, pattern: RegExp): readonly string[] => {
    const value = values[list.indexOf(name)];
    return value === undefined || pattern.test(value) ? list : list.filter((one) => one !== name);
  };
  return blank(blank(names, 'redop', word), 'root', integer);
}

/** Whether the first values could be those of a row: numbers for size and count, a known type; as many as there are. */
function startsRow(names: readonly string[], values: readonly string[]): boolean {
  return ['size', 'count', 'type'].every((name) => {
    const value = values[names.indexOf(name)];
    if (value === undefined || value === '') return true;
    if (name !== 'type') return parseSize(value) !== undefined;
    // cut within the word, or with other output glued to it
    return [...elementSizes.keys()].some((type) => type.startsWith(value) || value.startsWith(type));
  });
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
  return { microseconds, algorithmGBs, busGBs, wrong: value('wrong'), error: value('error') };
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
