/** The text of a log of nccl-tests, taken apart: tables, and what is said above and below each. */
import { parseOp } from './measurement.js';
import { hasHostTimes, headerOf, rowOf, withoutPrefix } from './nccl-table.js';
import type { Columns, Heading, Table } from './nccl-table.js';

const rankLine =
  /\bRank\s+(\d+)\s+(?:Group\s+(\d+)\s+)?Pid\s+\d+\s+on\s+(\S+)\s+device\s+(\d+)\s+\[[^\]]*\]\s+(\S.*?)\s*$/u;

/** Programs of nccl-tests and rccl-tests, with what sites append to their names (`all_gather_perf_mpi`). */
const program =
  /(?<![a-z0-9])(all_?reduce|all_?gather|reduce_?scatter|all_?to_?allv?|broadcast|sendrecv|reduce|scatter|gather|hypercube)_(?:perf|test)(?:[._-]\w+)*(?![a-z0-9])/iu;

/** A line that stands for lines that were taken out. */
const ellipsis = /^\s*#?\s*(?:\.{3,}|…|\[(?:\.{3}|…)\]|<(?:snip|\.{3})>)\s*$/iu;

/** What the name of a program says: its collective, or that it is one that calibrations do not hold. */
export function programOf(text: string): Pick<Heading, 'command' | 'foreign'> {
  const name = program.exec(text)?.[1];
  if (name === undefined) return {};
  const op = parseOp(name);
  return op === undefined ? { foreign: name.toLowerCase() } : { command: op };
}

/** The tables of a log in its order, rows as printed (cut ones too). */
export function tablesOf(text: string): Table[] {
  const tables: Table[] = [];
  let heading: Heading = { devices: [] };
  let columns: Columns | undefined;
  let stale = false; // the heading belongs to a table that had rows
  for (const [index, raw] of text.split(/\r?\n/u).entries()) {
    const line = withoutPrefix(raw);
    const number = index + 1;
    const found = headerOf(line);
    if (found !== undefined) {
      columns = found;
      tables.push({ line: number, heading, rows: [], hostTimes: hasHostTimes(found) });
      continue;
    }
    const table = tables.at(-1);
    const row = columns === undefined ? undefined : rowOf(line, columns, number);
    if (row !== undefined && table !== undefined) {
      table.rows.push(row);
      stale = true;
      continue;
    }
    if (table !== undefined && stale) tables[tables.length - 1] = concluded(table, line, number);
    const next = headingWith(stale ? { devices: [], library: heading.library } : heading, heading, line, number);
    if (next !== heading) stale = false;
    heading = next;
  }
  return tables;
}

/** A table with what a line below it says of it: that results were wrong, or which program it was of. */
function concluded(table: Table, line: string, number: number): Table {
  if (table.failed === undefined && /Out of bounds values\s*:\s*\d+\s+FAILED|Test failure/iu.test(line)) {
    return { ...table, failed: number };
  }
  const { command, foreign } = table.heading;
  const name = /test concluded:\s*(\S+)/iu.exec(line)?.[1];
  if (name === undefined || command !== undefined || foreign !== undefined) return table;
  return { ...table, heading: { ...table.heading, ...programOf(name) } };
}

/** `current` with one more line said, on top of `base`; `current` itself when the line says nothing. */
function headingWith(base: Heading, current: Heading, line: string, number: number): Heading {
  if (/^#?\s*SOURCE:/u.test(line)) return current; // a person's note, not output
  const device = rankLine.exec(line);
  if (device) {
    const [, rank, group, host = '', index, gpu = ''] = device;
    const one = { line: number, rank: Number(rank), group: Number(group ?? 0), host, device: Number(index), gpu };
    return { ...base, devices: [...base.devices, one] };
  }
  if (ellipsis.test(line)) return base.devices.length > 0 ? { ...base, elided: number } : current;
  if (/concluded/iu.test(line)) return current;
  // The first line of every run: ranks that were listed before belong to the one above.
  if (/nThreads?:?\s+\d+\s+nGpus:?\s+\d+/u.test(line)) {
    const { elided: _, ...rest } = base;
    return { ...rest, devices: [] };
  }
  const library = libraryOf(line);
  if (library !== undefined) return { ...base, library };
  const { command, foreign } = programOf(line);
  if (command === undefined && foreign === undefined) {
    return /NCCL_TESTS_SPLIT\w*=/u.test(line)
      ? { ...base, settings: [...(base.settings ?? []), ...settingsOf(line)] }
      : current;
  }
  const { command: _, foreign: __, ...rest } = base;
  const settings = /^\s*#/u.test(line) ? base.settings : settingsOf(line);
  return {
    ...rest,
    ...(command === undefined ? { foreign } : { command }),
    ...(settings === undefined ? {} : { settings }),
  };
}

/** `NAME=VALUE` in a command line; a value that is quoted may hold spaces. */
const settingsOf = (line: string): string[] =>
  [...line.matchAll(/(?<![\w-])([A-Z][A-Z0-9_]+)=("[^"]*"|'[^']*'|\S*)/gu)].map(
    ([, name = '', value = '']) => `${name}=${value.replace(/^(["'])(.*)\1$/u, '$2')}`,
  );

/**
 * `nccl 2.29.3` of "NCCL version 2.29.3+cuda13.0" or of `nccl-library=22903`; RCCL's likewise. What `monta bench
 * collectives` says of other backends stands as it is.
 */
function libraryOf(line: string): string | undefined {
  const own = /\bmonta-library=(\S.*?)\s*$/u.exec(line)?.[1];
  if (own !== undefined) return own;
  const [, named, version] = /\b([NR]CCL) version\s*:?\s*(\d[\w.]*)/u.exec(line) ?? [];
  if (named !== undefined && version !== undefined) return `${named.toLowerCase()} ${version}`;
  const [, name = '', digits] = /\b([nr]ccl)-library=(\d+)/u.exec(line) ?? [];
  const code = Number(digits);
  return code >= 10000 ? `${name} ${versionOf(code)}` : undefined;
}

/** `2.29.3` of the code 22903. */
export const versionOf = (code: number): string =>
  `${Math.floor(code / 10000)}.${Math.floor(code / 100) % 100}.${code % 100}`;
