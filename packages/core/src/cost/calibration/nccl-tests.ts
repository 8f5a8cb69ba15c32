/**
 * Reads what nccl-tests (and its forks) print. Shapes differ by version: `error` or `#wrong`, with or without redop and
 * root, with per-iteration columns, out-of-place and in-place or one group alone, prefixes of launchers,
 * comma-separated with up to three rows of header, several tables one after another, or the JSON report of newer
 * builds. Columns are found by their names; `nccl-log.ts` takes the text apart, `nccl-group.ts` weighs what says which
 * ranks and which collective a table is of.
 */
import { InputError, appendAll } from '../../units/index.js';
import { gpuIn } from './gpus.js';
import { busFactor } from './measurement.js';
import type { Measurement } from './measurement.js';
import { groupOf } from './nccl-group.js';
import type { GroupOptions, RankGroup } from './nccl-group.js';
import { jsonTable } from './nccl-json.js';
import { tablesOf } from './nccl-log.js';
import { groupsOf } from './nccl-table.js';
import type { ResultGroup, Row, Table } from './nccl-table.js';

export interface NcclTestsOptions extends GroupOptions {
  readonly gpu?: string;
  readonly system?: string;
  /** Take tables whose results were wrong, too. */
  readonly acceptWrong?: boolean;
}

export interface Reading {
  readonly measurements: readonly Measurement[];
  /** Contradictions and guesses, in words, with their place. */
  readonly warnings: readonly string[];
}

/**
 * Reads a log. `fileName` names it in messages and may tell the collective, the GPU and the number of ranks
 * (`a100_1node_8gpu_alltoall.txt`). A table that is not needed (reduce, scatter, gather), has wrong results or the
 * host's launch times is left out with a warning. Throws `InputError` when no table is left, when devices of one table
 * differ, and when what a log says contradicts itself.
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
  const read: TableReading[] = [];
  const refused: InputError[] = [];
  for (const table of tables) {
    const one = unfit(table, fileName, options) ?? readTable({ table, text, file: fileName, options, warnings });
    if (one instanceof InputError) refused.push(one);
    else read.push(one);
  }
  const [why] = refused;
  if (read.length === 0 && why !== undefined) throw why;
  appendAll(
    warnings,
    refused.map((error) => `${fileName}:${error.line ?? 1}: ${error.message}; this table is left out`),
  );
  return { measurements: namedRuns(read), warnings };
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

/** Why nobody should fit this table; undefined when there is nothing against it. */
function unfit(table: Table, file: string, options: NcclTestsOptions): InputError | undefined {
  const { heading, line, failed } = table;
  if (heading.foreign !== undefined && options.op === undefined) {
    return new InputError(`${heading.foreign} is no collective that a calibration holds`, {
      file,
      line,
      expected: 'all_to_all, all_gather, reduce_scatter, all_reduce, broadcast or sendrecv',
    });
  }
  if (table.hostTimes) {
    return new InputError("the column cputime is the host's time to launch, no duration of the collective", {
      file,
      line,
      expected: 'a column time',
      hint: 'measure without -C (--report_cputime)',
    });
  }
  if (options.acceptWrong === true) return undefined;
  const wrong = table.rows.find((row) => groupsOf(row).some((group) => Number(group.wrong) > 0));
  if (wrong === undefined && failed === undefined) return undefined;
  const count = wrong === undefined ? undefined : groupsOf(wrong).find((group) => Number(group.wrong) > 0)?.wrong;
  const parts = [
    ...(wrong === undefined ? [] : [`#wrong is ${count ?? ''} in line ${wrong.line}`]),
    ...(failed === undefined ? [] : [`line ${failed} says that the test failed`]),
  ];
  return new InputError(`its results were wrong: ${parts.join(', and ')}`, {
    file,
    line: wrong?.line ?? line,
    expected: 'right results: what moved wrong data says little of right ones',
    hint: '--accept-wrong fits it all the same',
  });
}

interface TableReading {
  readonly table: Table;
  readonly group: RankGroup;
  readonly measurements: readonly Measurement[];
}

function readTable({
  table,
  text,
  file,
  options,
  warnings,
}: {
  readonly table: Table;
  readonly text: string;
  readonly file: string;
  readonly options: NcclTestsOptions;
  readonly warnings: string[];
}): TableReading | InputError {
  const gpu = options.gpu ?? gpuOf(table, text, file, warnings);
  const rows = table.rows.filter((row) => row.bytes > 0);
  const group = groupOf({ table, rows, file, options, warnings });
  if (group instanceof InputError) return group;
  checkBandwidths(rows, group, file, warnings);
  const { op, ranks, nodes, groups } = group;
  if (groups > 1) {
    warnings.push(
      `${file}:${table.line}: ${groups} groups of ${ranks} ranks at the same time; what they share, each had a part of`,
    );
  }
  const measurements = rows.flatMap((row) => {
    const [first, second] = groupsOf(row);
    if (first === undefined) return [];
    return {
      source: file,
      line: row.line,
      origin: table.heading.command === undefined ? '' : `${table.heading.command}_perf`,
      gpu,
      system: options.system ?? '',
      library: table.heading.library ?? 'nccl',
      op,
      ranks,
      nodes,
      ...(groups > 1 ? { groups } : {}),
      bytes: row.bytes,
      seconds: first.microseconds * 1e-6,
      ...(second === undefined ? {} : { inPlaceSeconds: second.microseconds * 1e-6 }),
    };
  });
  return { table, group, measurements };
}

/** Tells runs of one collective over the same group apart, by their number and by the settings in which they differ. */
function namedRuns(read: readonly TableReading[]): Measurement[] {
  const key = ({ op, ranks, nodes, groups }: RankGroup): string => [op, ranks, nodes, groups].join('|');
  return read.flatMap((one) => {
    const runs = read.filter((other) => key(other.group) === key(one.group));
    if (runs.length === 1) return one.measurements;
    const settings = one.table.heading.settings ?? [];
    const common = settings.filter((s) => runs.every((run) => run.table.heading.settings?.includes(s) === true));
    const own = settings.filter((s) => !common.includes(s)).join(' ');
    const name = `run ${runs.indexOf(one) + 1} of ${runs.length}${own === '' ? '' : `, ${own}`}`;
    return one.measurements.map((m) => ({ ...m, origin: m.origin === '' ? name : `${m.origin}, ${name}` }));
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

/** Printed bandwidths below this have too few digits to be compared, GB/s. */
const comparable = 0.05;

/**
 * Every row must obey algbw = bytes / time and busbw = factor x algbw, up to the digits that are printed. Early builds
 * of all_gather print both bandwidths over the bytes that a rank receives, (n-1)/n of the total; that is said once.
 * Single rows that do not are named; where most of them do not, sizes or times are not what they seem: `InputError`.
 */
function checkBandwidths(rows: readonly Row[], { op, ranks }: RankGroup, file: string, warnings: string[]): void {
  const found: string[] = [];
  let older = 0;
  let compared = 0;
  const factor = busFactor(op, ranks);
  for (const row of rows.filter(({ partial }) => !partial)) {
    for (const { algorithmGBs, busGBs, microseconds } of groupsOf(row)) {
      if (!(algorithmGBs > comparable && microseconds > 0)) continue;
      compared++;
      const rounding = 0.011 / algorithmGBs + 0.011 / Math.max(busGBs, 1e-9) + 0.006;
      const fits = (value: number, expected: number): boolean => Math.abs(value / expected - 1) <= rounding;
      const total = (row.bytes / microseconds) * 1e-3;
      if (op !== 'all_reduce' && fits(algorithmGBs, total * factor) && fits(busGBs, algorithmGBs)) older++;
      else if (!fits(algorithmGBs, total)) {
        found.push(`${file}:${row.line}: algbw ${algorithmGBs} is not size / time (${total.toFixed(2)} GB/s)`);
      } else if (!fits(busGBs, algorithmGBs * factor)) {
        const printed = (busGBs / algorithmGBs).toFixed(4);
        const right = `${factor.toFixed(4)} for ${op} over ${ranks} ranks`;
        found.push(`${file}:${row.line}: busbw / algbw is ${printed}, but ${right}`);
      }
    }
  }
  // With many ranks and small bandwidths the two readings cannot be told apart: then nothing is older.
  if (older > found.length && factor < 0.97 && rows.every((row) => groupsOf(row).every((g) => fitsOlder(g)))) {
    warnings.push(
      `${file}:${rows[0]?.line ?? 1}: bandwidths are over the bytes received, as older builds print; times are used`,
    );
  }
  const [first] = found;
  if (first !== undefined && found.length > compared / 2) {
    throw new InputError(`${found.length} of ${compared} results contradict their own bandwidths: ${first}`, {
      file,
      line: rows[0]?.line,
      expected: 'algbw = size / time, busbw = algbw x factor, sizes in bytes and times in microseconds',
      hint: 'check that columns were not exchanged and that the command above is of this table',
    });
  }
  const shown = 4;
  appendAll(warnings, found.slice(0, shown));
  if (found.length > shown) warnings.push(`${file}: ${found.length - shown} more rows like these`);
}

const fitsOlder = ({ algorithmGBs, busGBs }: ResultGroup): boolean => Math.abs(algorithmGBs - busGBs) < 0.011;
