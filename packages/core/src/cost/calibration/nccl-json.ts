/** The JSON report of newer nccl-tests (`-J file`): one table, with its command line, devices and results. */
import { InputError, isRecord, limits } from '../../units/index.js';
import { programOf, versionOf } from './nccl-log.js';
import { elementSizes } from './nccl-table.js';
import type { Heading, RankLine, ResultGroup, Row, Table } from './nccl-table.js';

type Json = Readonly<Record<string, unknown>>;

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/**
 * Reads a report. Rows get the number of their result as their line, counted from 1. Throws `InputError` for text that
 * is no JSON and for a document without results.
 */
export function jsonTable(source: string, fileName: string): Table {
  let top: unknown;
  try {
    top = JSON.parse(source);
  } catch (error) {
    throw new InputError(`cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}`, {
      file: fileName,
      expected: 'the report that nccl-tests writes with -J',
    });
  }
  const results = isRecord(top) ? list(top.results).filter(isRecord) : [];
  if (!isRecord(top) || results.length === 0) {
    throw new InputError('has no results of nccl-tests', {
      file: fileName,
      path: 'results',
      expected: 'a list of results',
    });
  }
  const rows = results.map((result, i) => rowOf(result, i + 1));
  const hostTimes = results.every((result) => hasOnlyHostTime(result.out_of_place));
  return { line: 1, heading: headingOf(top, fileName), rows, hostTimes };
}

const hasOnlyHostTime = (value: unknown): boolean =>
  isRecord(value) && value.time === undefined && value.cpu_time !== undefined;

function headingOf(top: Json, fileName: string): Heading {
  const config = isRecord(top.config) ? top.config : {};
  const perProcess = (Number(config.nthreads) || 1) * (Number(config.ngpus) || 1);
  const listed = list(config.devices).filter(isRecord);
  if (!Number.isSafeInteger(perProcess) || perProcess < 1 || perProcess * listed.length > limits.ranks)
    throw new InputError(`${listed.length} processes of ${perProcess} devices`, {
      file: fileName,
      path: 'config',
      expected: `at most ${limits.ranks} devices`,
    });
  // The report lists the first device of every process only.
  const firstOnly = listed.every((d) => Number(d.rank) % perProcess === 0);
  const devices = listed.flatMap((d): RankLine[] =>
    Array.from({ length: firstOnly ? perProcess : 1 }, (_, i) => ({
      line: 1,
      rank: Number(d.rank) + i,
      group: Number(d.group) || 0,
      device: (Number(d.device) || 0) + i,
      host: text(d.hostname),
      gpu: text(d.device_info),
    })),
  );
  const [program = ''] = list(top.args).map(text);
  const code = Number(top.nccl_version);
  return {
    ...programOf(program.replace(/^.*\//u, '')),
    devices,
    ...(code >= 10000 ? { library: `nccl ${versionOf(code)}` } : {}),
  };
}

function rowOf(result: Json, line: number): Row {
  const redop = text(result.redop);
  const groups = [groupOf(result.out_of_place), groupOf(result.in_place)];
  return {
    line,
    bytes: typeof result.size === 'number' ? result.size : Number.NaN,
    count: Number(result.count),
    elementBytes: elementSizes.get(text(result.type)),
    reduction: redop === '' || redop === 'none' ? undefined : redop,
    groups,
    cut: groups.every((group) => group === undefined),
    partial: false,
  };
}

function groupOf(value: unknown): ResultGroup | undefined {
  if (!isRecord(value)) return undefined;
  const microseconds = Number(value.time ?? value.cpu_time);
  const algorithmGBs = Number(value.alg_bw);
  const busGBs = Number(value.bus_bw);
  if (![microseconds, algorithmGBs, busGBs].every(Number.isFinite)) return undefined;
  const wrong = typeof value.nwrong === 'number' ? String(value.nwrong) : 'N/A';
  return { microseconds, algorithmGBs, busGBs, wrong, error: undefined };
}
