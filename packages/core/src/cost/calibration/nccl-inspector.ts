/**
 * Reads the JSON lines of the NCCL Inspector, the profiler plugin that comes with NCCL (ext-profiler/inspector, formats
 * v4 and v5): one object a collective and rank, of a real job. `coll_msg_size_bytes` is the whole buffer in all_reduce
 * and broadcast, a rank's piece in all_gather and reduce_scatter, as the plugin's own bandwidths show. An all_to_all is
 * sends and receives to NCCL, which the plugin does not gather to collectives.
 */
import { InputError, isRecord } from '../../units/index.js';
import { parseOp } from './measurement.js';
import type { Measurement, MeasuredOp } from './measurement.js';
import type { NcclTestsOptions, Reading } from './nccl-tests.js';

type Json = Readonly<Record<string, unknown>>;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** One collective as one rank saw it. */
export interface InspectorRecord {
  readonly file: string;
  readonly line: number;
  /** Communicator and number of the collective on it. */
  readonly collective: string;
  readonly rank: number;
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number | null;
  readonly bytes: number;
  readonly microseconds: number;
}

/** Why records were not used, with how many. */
type Tally = Map<string, number>;

/** Whether a text holds records of the Inspector. */
export const looksLikeInspector = (head: string): boolean => /"(?:coll_perf|p2p_perf)"\s*:\s*\{/u.test(head);

export interface InspectorReading {
  readonly records: readonly InspectorRecord[];
  /** What was left out, and why. */
  readonly warnings: readonly string[];
}

/** Every collective of every rank in a file. Throws `InputError` when sizes and bandwidths contradict each other. */
export function readInspectorRecords(source: string, fileName: string): InspectorReading {
  const left: Tally = new Map();
  const records = objectsOf(source, left).flatMap(({ line, value }) => seenIn(value, line, fileName, left) ?? []);
  return { records, warnings: [...left].map(([why, count]) => `${fileName}: ${count} records left out: ${why}`) };
}

/**
 * Reads records, one object a line or spread over lines. Of the ranks of one collective the shortest time is taken: the
 * last to arrive waits for nobody. Throws `InputError` when no record is a collective with a size and a time, and when
 * sizes and bandwidths contradict each other.
 */
export function readNcclInspector(source: string, fileName: string, options: NcclTestsOptions = {}): Reading {
  const { records: seen, warnings: left } = readInspectorRecords(source, fileName);
  const warnings = [...left];
  if (seen.length === 0) {
    throw new InputError('has no collective with a size and a time', {
      file: fileName,
      expected: 'records of the NCCL Inspector with coll_perf',
      ...(warnings[0] === undefined ? {} : { hint: warnings.join('; ') }),
    });
  }
  const byCollective = new Map<string, InspectorRecord[]>();
  for (const one of seen) byCollective.set(one.collective, [...(byCollective.get(one.collective) ?? []), one]);
  const alone = [...byCollective.values()].filter((list) => new Set(list.map(({ rank }) => rank)).size === 1).length;
  if (alone > 0) {
    warnings.push(
      `${fileName}: ${alone} of ${byCollective.size} collectives are seen by one rank only: their times include ` +
        'waiting for the others',
    );
  }
  if (options.gpu === undefined) warnings.push(`${fileName}: records do not name the device; --gpu does`);
  const measurements = [...byCollective.values()].flatMap((list): Measurement[] => {
    const [first] = [...list].sort((a, b) => a.microseconds - b.microseconds);
    if (first === undefined) return [];
    const { line, op, ranks, nodes, bytes, microseconds } = first;
    return [
      {
        source: fileName,
        line,
        origin: 'nccl inspector',
        gpu: options.gpu ?? '',
        system: options.system ?? '',
        library: 'nccl',
        op,
        ranks,
        nodes: options.nodes ?? nodes,
        bytes,
        seconds: microseconds * 1e-6,
      },
    ];
  });
  return { measurements, warnings };
}

const count = (tally: Tally, why: string): undefined => {
  tally.set(why, (tally.get(why) ?? 0) + 1);
  return undefined;
};

/** Objects one after another, each on a line or over several; what was cut off is counted. */
function objectsOf(source: string, left: Tally): { line: number; value: Json }[] {
  const found: { line: number; value: Json }[] = [];
  let pending = '';
  let start = 1;
  const drop = (): void => {
    if (pending.trim() !== '') count(left, 'cut off or damaged');
    pending = '';
  };
  for (const [index, line] of source.split(/\r?\n/u).entries()) {
    if (line.startsWith('{')) drop();
    if (pending === '') start = index + 1;
    pending += `${line}\n`;
    if (!/\}\s*$/u.test(line)) continue;
    try {
      const value: unknown = JSON.parse(pending);
      if (isRecord(value)) found.push({ line: start, value });
      pending = '';
    } catch {
      // not whole yet
    }
  }
  drop();
  return found;
}

/** A record's collective; undefined for what is none, counted with its cause. */
function seenIn(record: Json, line: number, file: string, left: Tally): InspectorRecord | undefined {
  if (isRecord(record.p2p_perf)) return count(left, 'single sends and receives');
  const perf = isRecord(record.coll_perf) ? record.coll_perf : undefined;
  if (perf === undefined) return count(left, 'no coll_perf');
  const header = isRecord(record.header) ? record.header : record;
  const op = parseOp(text(perf.coll));
  if (op === undefined)
    return count(left, `${text(perf.coll) || 'a collective without a name'} is none that a calibration holds`);
  if (perf.coll_timing_source === 'collective_cpu') {
    return count(left, "coll_timing_source collective_cpu is the host's time, no duration of the collective");
  }
  const [ranks, nodes] = [Number(header.n_ranks), Number(header.nnodes)];
  const [size, microseconds] = [Number(perf.coll_msg_size_bytes), Number(perf.coll_exec_time_us)];
  if (!(ranks >= 2)) return count(left, 'fewer than two ranks');
  if (!(size > 0 && microseconds > 0)) return count(left, 'no size or no time');
  return {
    file,
    line,
    collective: `${text(header.id)}|${text(perf.coll)}|${String(perf.coll_sn)}|${size}`,
    rank: Number(header.rank),
    op,
    ranks,
    nodes: nodes >= 1 ? nodes : null,
    bytes: totalOf({ op, ranks, size, microseconds, algorithmGBs: Number(perf.coll_algobw_gbs) }, line, file),
    microseconds,
  };
}

interface Sized {
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly size: number;
  readonly microseconds: number;
  readonly algorithmGBs: number;
}

/** Share by which the bandwidth may miss size over time: times are whole microseconds. */
const rounding = 0.02;

/**
 * The total buffer: the size, or that times the ranks where it is a rank's piece. The record's own bandwidth has the
 * last word.
 */
function totalOf({ op, ranks, size, microseconds, algorithmGBs }: Sized, line: number, file: string): number {
  const piece = op === 'all_gather' || op === 'reduce_scatter';
  const usual = piece ? size * ranks : size;
  if (!(algorithmGBs > 0)) return usual;
  const shown = algorithmGBs * microseconds * 1e3;
  const slack = rounding + 1 / microseconds;
  const fits = (bytes: number): boolean => Math.abs(shown / bytes - 1) <= slack;
  if (fits(usual)) return usual;
  if (piece && fits(size)) return size;
  throw new InputError(
    `coll_msg_size_bytes ${size} in ${microseconds} us is ${(usual / microseconds / 1e3).toPrecision(4)} GB/s for ` +
      `${op} over ${ranks} ranks, ` +
      `but coll_algobw_gbs is ${algorithmGBs}`,
    { file, line, expected: 'a size, a time and a bandwidth that agree' },
  );
}
