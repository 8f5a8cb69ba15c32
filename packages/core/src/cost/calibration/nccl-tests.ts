/**
 * Reads what nccl-tests (and its forks) print. Shapes differ by version: `error` or `#wrong`, with or without redop and root, with
 * per-iteration columns, out-of-place and in-place or one group alone, `--tag-output` prefixes of mpirun, comma-separated with up to three
 * rows of header, several tables one after another, or the JSON report of newer builds. Columns are found by their names; what a table is of comes from, in this order, the
 * caller, the command above it, the file's name, and the rows themselves (bus bandwidth over algorithm bandwidth betrays the collective).
 */
import { InputError, median } from '../../units/index.js';
import { gpuIn } from './gpus.js';
import { busFactor, parseOp } from './measurement.js';
import type { Measurement, MeasuredOp } from './measurement.js';
import { groupsOf, headerOf, rowOf, withoutPrefix } from './nccl-table.js';
import type { Columns, Heading, ResultGroup, Row, Table } from './nccl-table.js';
import { jsonTable } from './nccl-json.js';

export interface NcclTestsOptions {
  readonly op?: MeasuredOp;
  readonly gpu?: string;
  readonly ranks?: number;
  readonly nodes?: number;
  readonly system?: string;
}

export interface Reading {
  readonly measurements: readonly Measurement[];
  /** Contradictions and guesses, in words, with their place. */
  readonly warnings: readonly string[];
}

const rankLine =
  /\bRank\s+(\d+)\s+(?:Group\s+\d+\s+)?Pid\s+\d+\s+on\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s+(\S.*?)\s*$/u;
const commandWord =
  /\b(all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|alltoall|broadcast|sendrecv)(?:_perf\b|_test\b)/iu;

/**
 * Reads a log. `fileName` names it in messages and may tell the collective, the GPU and the number of ranks
 * (`a100_1node_8gpu_alltoall.txt`).
 * Throws `InputError` when there is no table, when devices of one table differ, or when the collective or the number of ranks
 * cannot be told.
 */
export function readNcclTests(text: string, fileName: string, options: NcclTestsOptions = {}): Reading {
  const warnings: string[] = [];
  const found = /^\s*\{/u.test(text) ? [jsonTable(text, fileName)] : tablesOf(text);
  const tables = whole(found, fileName, warnings);
  if (tables.length === 0) {
    const empty = found.length > 0;
    throw new InputError(empty ? 'has a table of nccl-tests without a whole row' : 'has no table of nccl-tests', {
      file: fileName,
      ...(empty ? { line: found[0]?.line } : {}),
      expected: 'a header with size, time, algbw and busbw, and rows below it',
    });
  }
  const measurements = tables.flatMap((table) => measurementsOf(table, text, fileName, options, warnings));
  return { measurements, warnings };
}

function tablesOf(text: string): Table[] {
  const tables: Table[] = [];
  let heading: Heading = { devices: [] };
  let columns: Columns | undefined;
  let table: Table | undefined;
  let stale = false; // the heading belongs to a table that had rows
  for (const [index, raw] of text.split(/\r?\n/u).entries()) {
    const line = withoutPrefix(raw);
    const found = headerOf(line);
    if (found !== undefined) {
      columns = found;
      table = { line: index + 1, heading, rows: [] };
      tables.push(table);
      continue;
    }
    const row = columns === undefined ? undefined : rowOf(line, columns, index + 1);
    if (row !== undefined && table !== undefined) {
      table.rows.push(row);
      stale = true;
      continue;
    }
    const next = headingWith(heading, line, stale);
    if (next !== heading) stale = false;
    heading = next;
    // A concluding line names the test that the table above came from.
    const concluded = /test concluded:\s*(\S+)/iu.exec(line)?.[1];
    const op = concluded === undefined ? undefined : parseOp(concluded);
    if (op !== undefined && table !== undefined && table.heading.command === undefined) {
      tables[tables.length - 1] = { ...table, heading: { ...table.heading, command: op } };
    }
  }
  return tables;
}

/** Takes out rows without size or results and says so, and tables without any others. */
function whole(tables: readonly Table[], file: string, warnings: string[]): Table[] {
  return tables.flatMap((table) => {
    const rows = table.rows.filter((row) => {
      const at = `${file}:${row.line}: row`;
      if (row.partial && !row.cut) warnings.push(`${at} ends early, its first times are used`);
      if (!row.cut && row.bytes >= 0) return true;
      // nccl-tests prints rows of size 0 where a size is too small for its ranks
      if (row.bytes !== 0) warnings.push(`${at} is cut short or has no size and time, left out`);
      return false;
    });
    return rows.length === 0 ? [] : [{ ...table, rows }];
  });
}

/** The heading with one more line said. After a table, the first line that says something new starts a fresh one. */
function headingWith(heading: Heading, line: string, afterTable: boolean): Heading {
  if (/^#?\s*SOURCE:/u.test(line)) return heading; // a person's note, not output
  const base: Heading = afterTable ? { devices: [], version: heading.version } : heading;
  const device = rankLine.exec(line);
  if (device) {
    const [, rank = '', host = '', gpu = ''] = device;
    return { ...base, devices: [...base.devices, { rank: Number(rank), host, gpu }] };
  }
  if (/concluded/iu.test(line)) return heading;
  // The first line of every run: what was said before belongs to the one above.
  if (/nThreads?:?\s+\d+\s+nGpus:?\s+\d+/u.test(line)) return { ...base };
  const version = /NCCL version\s+(\d[\w.]*)/u.exec(line)?.[1] ?? libraryOf(line);
  if (version !== undefined) return { ...base, version };
  const command = commandWord.exec(line)?.[1];
  const op = command === undefined ? undefined : parseOp(command);
  return op === undefined ? heading : { ...base, command: op };
}

/** `nccl-library=22903` is 2.29.3. */
function libraryOf(line: string): string | undefined {
  const code = Number(/nccl-library=(\d+)/u.exec(line)?.[1]);
  if (!(code >= 10000)) return undefined;
  return `${Math.floor(code / 10000)}.${Math.floor(code / 100) % 100}.${code % 100}`;
}

function measurementsOf(
  table: Table,
  text: string,
  file: string,
  options: NcclTestsOptions,
  warnings: string[],
): Measurement[] {
  const at = { file, line: table.line };
  const gpu = options.gpu ?? gpuOf(table, text, file, warnings);
  const rows = table.rows.filter((row) => row.bytes > 0);
  const factor = median(rows.map(factorOf).filter((f) => f !== undefined));
  const ranks = options.ranks ?? ranksOf(table, rows, factor, file);
  const op = opOf(table, rows, factor, ranks, file, options, warnings);
  if (op === undefined) {
    throw new InputError('cannot tell which collective this table is of', {
      ...at,
      expected: 'a command line above it (all_gather_perf ...), or its name in the file name',
      hint: 'give the collective, as --op all_gather',
    });
  }
  if (ranks === undefined) {
    throw new InputError('cannot tell how many ranks took part', {
      ...at,
      expected: 'lines "# Rank 0 ..." above the table, or the number in the file name (2node_16gpu)',
      hint: 'give the number, as --ranks 16',
    });
  }
  checkFactors(rows, op, ranks, file, warnings);
  const hosts = new Set(table.heading.devices.map((d) => d.host)).size;
  const named = Number(/(\d+)[ _-]?nodes?(?![a-z])/iu.exec(file)?.[1]);
  const nodes =
    options.nodes ?? (hosts > 0 && table.heading.devices.length >= ranks ? hosts : named > 0 ? named : null);
  const version = table.heading.version;
  return rows.flatMap((row) => {
    const [first, second] = groupsOf(row);
    if (first === undefined) return [];
    return {
      source: file,
      line: row.line,
      origin: table.heading.command === undefined ? '' : `${table.heading.command}_perf`,
      gpu,
      system: options.system ?? '',
      library: version === undefined ? 'nccl' : `nccl ${version}`,
      op,
      ranks,
      nodes,
      bytes: row.bytes,
      seconds: first.microseconds * 1e-6,
      ...(second === undefined ? {} : { inPlaceSeconds: second.microseconds * 1e-6 }),
    };
  });
}

function gpuOf(table: Table, text: string, file: string, warnings: string[]): string {
  const kinds = new Map(table.heading.devices.map((d) => [d.gpu, d] as const));
  if (kinds.size > 1) {
    const list = [...kinds.values()].map((d) => `rank ${d.rank} on ${d.host}: ${d.gpu}`).join('; ');
    throw new InputError(`ranks of one table ran on different devices (${list})`, {
      file,
      line: table.line,
      expected: 'one kind of device per table',
      hint: 'measure each kind alone: a mixed run says nothing about either',
    });
  }
  const [name] = kinds.keys();
  if (name !== undefined) return name;
  const comments = text.split(/\r?\n/u).filter((line) => /^\s*#/u.test(line));
  const guess = gpuIn(file) ?? gpuIn(comments.join('\n'));
  if (guess !== undefined) {
    warnings.push(`${file}:${table.line}: no "Rank ... device" lines; GPU ${guess} taken from the name or comments`);
  }
  return guess ?? '';
}

/** Bus bandwidth over algorithm bandwidth of a row, where both have enough digits. */
function factorOf(row: Row): number | undefined {
  const group = groupsOf(row)[0];
  if (group === undefined || !(group.algorithmGBs >= 5)) return undefined;
  return group.busGBs / group.algorithmGBs;
}

function ranksOf(table: Table, rows: readonly Row[], factor: number, file: string): number | undefined {
  const { devices } = table.heading;
  if (devices.length > 0) return new Set(devices.map((d) => d.rank)).size;
  const named = Number(/(\d+)[ _-]?(?:gpus?|ranks?)(?![a-z])/iu.exec(file)?.[1]);
  if (named > 0) return named;
  // all_gather, reduce_scatter and all_to_all print the elements of a piece: bytes / element / count is the number of ranks.
  const pieces = rows.filter((r) => r.elementBytes !== undefined && r.count !== undefined && r.count > 0);
  const ratios = pieces.map((r) => r.bytes / (r.elementBytes ?? 1) / (r.count ?? 1));
  const ratio = Math.round(median(ratios));
  if (ratio > 1) return ratio;
  // all_reduce: factor = 2(n-1)/n.
  const fromFactor = factor > 1 ? Math.round(2 / (2 - factor)) : Math.round(1 / (1 - factor));
  return Number.isFinite(fromFactor) && fromFactor > 1 ? fromFactor : undefined;
}

const close = (a: number, b: number): boolean => Math.abs(a / b - 1) < 0.015;

function opOf(
  table: Table,
  rows: readonly Row[],
  factor: number,
  ranks: number | undefined,
  file: string,
  options: NcclTestsOptions,
  warnings: string[],
): MeasuredOp | undefined {
  if (options.op !== undefined) return options.op;
  const base = file.replace(/^.*[/\\]/u, '').replace(/\.\w+$/u, '');
  const named = /(all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast|sendrecv)/iu.exec(base)?.[1];
  const fromName = named === undefined ? undefined : parseOp(named);
  const { command } = table.heading;
  const fits = (op: MeasuredOp | undefined): boolean =>
    op === undefined || ranks === undefined || Number.isNaN(factor) || close(factor, busFactor(op, ranks));
  if (command !== undefined && fits(command)) return command;
  const fromRows = ranks === undefined ? undefined : opOfRows(rows, factor, ranks);
  const chosen = fromName !== undefined && fits(fromName) ? fromName : (fromRows ?? fromName ?? command);
  if (command !== undefined && chosen !== command) {
    warnings.push(
      `${file}:${table.line}: the command says ${command}, but busbw / algbw is ${factor.toFixed(4)}, which over ` +
        `${ranks ?? '?'} ranks is that of all_gather, reduce_scatter or all_to_all; read as ${chosen ?? 'unknown'}`,
    );
  } else if (fromName === undefined && fromRows !== undefined) {
    warnings.push(`${file}:${table.line}: no command or name tells the collective; read as ${fromRows} from its rows`);
  }
  return chosen;
}

/** What the rows alone tell: all_reduce by its factor, reduce_scatter by its redop, all_to_all by in-place rows that are not checked. */
function opOfRows(rows: readonly Row[], factor: number, ranks: number): MeasuredOp | undefined {
  if (ranks > 2 && close(factor, busFactor('all_reduce', ranks))) return 'all_reduce';
  if (!close(factor, (ranks - 1) / ranks)) return undefined;
  if (rows.some((row) => row.reduction !== undefined)) return 'reduce_scatter';
  const unchecked = rows.every((row) => {
    const [first, second] = groupsOf(row);
    return first?.wrong === '0' && second?.wrong === 'N/A';
  });
  return unchecked ? 'all_to_all' : undefined;
}

/**
 * Every row must obey algbw = bytes / time and busbw = factor x algbw, up to the digits that are printed. Early builds of all_gather print both
 * bandwidths over the bytes that a rank receives, (n-1)/n of the total; that is said once.
 */
function checkFactors(rows: readonly Row[], op: MeasuredOp, ranks: number, file: string, warnings: string[]): void {
  const found: string[] = [];
  let older = 0;
  for (const row of rows) {
    for (const { algorithmGBs, busGBs, microseconds } of groupsOf(row)) {
      if (!(algorithmGBs > 0.05 && microseconds > 0)) continue;
      const rounding = 0.011 / algorithmGBs + 0.011 / Math.max(busGBs, 1e-9) + 0.006;
      const fits = (value: number, expected: number): boolean => Math.abs(value / expected - 1) <= rounding;
      const whole = (row.bytes / microseconds) * 1e-3;
      const factor = busFactor(op, ranks);
      if (op !== 'all_reduce' && fits(algorithmGBs, whole * factor) && fits(busGBs, algorithmGBs)) older++;
      else if (!fits(algorithmGBs, whole)) {
        found.push(`${file}:${row.line}: algbw ${algorithmGBs} is not size / time (${whole.toFixed(2)} GB/s)`);
      } else if (!fits(busGBs, algorithmGBs * factor)) {
        const printed = (busGBs / algorithmGBs).toFixed(4);
        const right = `${factor.toFixed(4)} for ${op} over ${ranks} ranks`;
        found.push(`${file}:${row.line}: busbw / algbw is ${printed}, but ${right}`);
      }
    }
  }
  // With many ranks and small bandwidths the two readings cannot be told apart: then nothing is older.
  if (
    older > found.length &&
    busFactor(op, ranks) < 0.97 &&
    rows.every((row) => groupsOf(row).every((g) => fitsOlder(g)))
  ) {
    warnings.push(
      `${file}:${rows[0]?.line ?? 1}: bandwidths are over the bytes received, as older builds print; times are used`,
    );
  }
  const shown = 4;
  warnings.push(...found.slice(0, shown));
  if (found.length > shown) warnings.push(`${file}: ${found.length - shown} more rows like these`);
}

const fitsOlder = ({ algorithmGBs, busGBs }: ResultGroup): boolean => Math.abs(algorithmGBs - busGBs) < 0.011;
