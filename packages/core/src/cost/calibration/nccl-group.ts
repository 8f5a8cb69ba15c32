/**
 * Which group of ranks a table is of, and which collective: what its rank lines, its counts (size / element / count is
 * the number of ranks where every rank holds a piece), its bandwidths (bus over algorithm) and its command say. They
 * are witnesses of one fact: where two of them contradict each other nobody knows which one lies, and the table is
 * refused.
 */
import { InputError, median, maxOf } from '../../units/index.js';
import { busFactor, parseOp } from './measurement.js';
import type { MeasuredOp } from './measurement.js';
import { groupsOf } from './nccl-table.js';
import type { RankLine, Row, Table } from './nccl-table.js';

/** What a person says of logs that do not. */
export interface GroupOptions {
  readonly op?: MeasuredOp;
  readonly ranks?: number;
  readonly nodes?: number;
}

export interface RankGroup {
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number | null;
  /** Groups at the same time. */
  readonly groups: number;
}

/** One witness of the number of ranks. */
interface Witness {
  readonly ranks: number;
  /** What says so, with its line. */
  readonly says: string;
}

/** What the list of ranks shows. */
interface Listing {
  /** Ranks of each group; undefined when lines are missing. */
  readonly perGroup: number | undefined;
  /** Where lines are missing: at least so many ranks there are. */
  readonly atLeast: number;
  /** Where lines are missing before the last one only: the ranks that there are if that is the last rank. */
  readonly throughLast?: number;
  readonly nodes: number | null;
  readonly groups: number;
  readonly says: string;
}

const pieceOps: readonly MeasuredOp[] = ['all_gather', 'reduce_scatter', 'all_to_all'];

/**
 * Collective, ranks, nodes and number of groups of a table; guesses go to `warnings`. Throws `InputError` that names
 * both sides of a contradiction; what cannot be told gives an `InputError` to hand on or to leave the table out with.
 */
export function groupOf({
  table,
  rows,
  file,
  options,
  warnings,
}: {
  readonly table: Table;
  readonly rows: readonly Row[];
  readonly file: string;
  readonly options: GroupOptions;
  readonly warnings: string[];
}): RankGroup | InputError {
  const listing = listingOf(table, file);
  const bandwidths = bandwidthsOf(rows);
  const base = file.replace(/^.*[/\\]/u, '').replace(/\.\w+$/u, '');
  const fileName = nameWitness(base);
  const ops = namedOps(table, base, options.op);
  const tried = ops.map((op) => ({
    op,
    verdict: ranksFor(op.op, { rows, listing, bandwidths, fileName, options }),
  }));
  const fitting = tried.find(({ verdict }) => typeof verdict === 'number' || verdict === undefined);
  const [first] = tried;
  const at = { file, line: table.line };
  if (fitting === undefined && first !== undefined)
    throw contradiction(typeof first.verdict === 'string' ? first.verdict : '', at);
  const ranks = typeof fitting?.verdict === 'number' ? fitting.verdict : undefined;
  const op =
    fitting?.op.op ?? opOfRows({ table, rows, evidence: { listing, bandwidths, fileName, options }, file, warnings });
  if (op === undefined) return unknownCollective(at);
  const found = ranks ?? asNumber(ranksFor(op, { rows, listing, bandwidths, fileName, options }));
  if (found === undefined) return unknownRanks(listing, at);
  if (first !== undefined && fitting !== undefined && first !== fitting) {
    warnings.push(
      `${file}:${table.line}: ${first.op.says} says ${first.op.op}, but ${String(first.verdict)}; read as ${op}, ` +
        `as ${fitting.op.says} says`,
    );
  }
  if (listing !== undefined && listing.perGroup === undefined) {
    warnings.push(`${file}:${table.line}: ${listing.says}; ${found} ranks as its rows say`);
  }
  const nodes = options.nodes ?? nodesOf(listing, found, fileName.nodes);
  return { op, ranks: found, nodes, groups: listing?.groups ?? 1 };
}

interface At {
  readonly file: string;
  readonly line: number;
}

const contradiction = (conflict: string, at: At): InputError =>
  new InputError(`contradicts itself: ${conflict}`, {
    ...at,
    expected: 'rank lines, size / count, busbw / algbw and command that agree',
    hint: 'say which is right with --ranks and --nodes, or --op, if lines were taken out or pasted from another run',
  });

const unknownCollective = (at: At): InputError =>
  new InputError('cannot tell which collective this table is of', {
    ...at,
    expected: 'a command line above it (all_gather_perf ...), or its name in the file name',
    hint: 'give the collective, as --op all_gather',
  });

const unknownRanks = (listing: Listing | undefined, at: At): InputError =>
  new InputError(`cannot tell how many ranks took part${listing === undefined ? '' : `: ${listing.says}`}`, {
    ...at,
    expected: 'all lines "# Rank 0 ..." above the table, or the number in the file name (2node_16gpu)',
    hint: 'give the number, as --ranks 16',
  });

const asNumber = (verdict: number | string | undefined): number | undefined =>
  typeof verdict === 'number' ? verdict : undefined;

interface Evidence {
  readonly table: Table;
  readonly rows: readonly Row[];
  readonly listing: Listing | undefined;
  readonly bandwidths: Bandwidths;
  readonly fileName: { readonly ranks: number | undefined; readonly nodes: number | undefined };
  readonly options: GroupOptions;
}

/** Collectives that somebody names, the most trusted first. */
function namedOps(table: Table, base: string, given: MeasuredOp | undefined): { op: MeasuredOp; says: string }[] {
  if (given !== undefined) return [{ op: given, says: `--op ${given}` }];
  const { command } = table.heading;
  const word = /(all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast|sendrecv)/iu.exec(base)?.[1];
  const named = word === undefined ? undefined : parseOp(word);
  return [
    ...(command === undefined ? [] : [{ op: command, says: 'the command' }]),
    ...(named === undefined || named === command ? [] : [{ op: named, says: "the file's name" }]),
  ];
}

/** The number of ranks if the collective is `op`; undefined when nothing tells; a contradiction in words. */
function ranksFor(op: MeasuredOp, evidence: Omit<Evidence, 'table'>): number | string | undefined {
  const { rows, listing, bandwidths, fileName, options } = evidence;
  const counted = countWitness(rows);
  if (counted !== undefined && !pieceOps.includes(op)) {
    return (
      `it is said to be ${op}, whose ranks hold the whole buffer, but ${counted.says} (pieces, as in ` +
      'all_gather, reduce_scatter or all_to_all)'
    );
  }
  const witnesses: Witness[] = [
    ...(options.ranks === undefined ? [] : [{ ranks: options.ranks, says: `--ranks says ${options.ranks} ranks` }]),
    // what the person says stands over a list of ranks, which may be of another run
    ...(options.ranks !== undefined || listing?.perGroup === undefined
      ? []
      : [{ ranks: listing.perGroup, says: listing.says }]),
    ...(counted === undefined ? [] : [counted]),
  ];
  const [known] = witnesses;
  const other = witnesses.find((w) => w.ranks !== known?.ranks);
  if (known !== undefined && other !== undefined) return `${known.says}, but ${other.says}`;
  // the last line of a list that lines were taken from the middle of counts, unless the bandwidths are against it
  const ranks = known?.ranks ?? fileName.ranks ?? ranksOfBandwidths(op, bandwidths) ?? listing?.throughLast;
  if (ranks === undefined) return undefined;
  const odd = misfit(op, ranks, bandwidths);
  if (odd !== undefined) {
    const expected = `busbw / algbw of ${op} would be ${busFactor(op, ranks).toFixed(4)}`;
    return (
      `${known?.says ?? `of ${ranks} ranks`}, where ${expected}, but it is ${odd.value.toFixed(4)} (line ` +
      `${odd.line})`
    );
  }
  if (listing !== undefined && listing.perGroup === undefined && options.ranks === undefined && ranks < listing.atLeast)
    return `${listing.says}, but its rows are of ${ranks} ranks`;
  return ranks;
}

/** The rows where they print the elements of a piece: bytes / element / count is then the number of ranks. */
function countWitness(rows: readonly Row[]): Witness | undefined {
  const ratios = rows.flatMap((row) => {
    const { bytes, elementBytes, count } = row;
    if (elementBytes === undefined || count === undefined || !(count > 0)) return [];
    const ratio = bytes / elementBytes / count;
    return Number.isInteger(ratio) ? [{ ratio, line: row.line }] : [];
  });
  const middle = median(ratios.map(({ ratio }) => ratio));
  const typical = ratios.find(({ ratio }) => ratio === middle);
  if (typical === undefined || typical.ratio < 2) return undefined;
  return { ranks: typical.ratio, says: `size / count is of ${typical.ratio} ranks (line ${typical.line})` };
}

/** Bus bandwidth over algorithm bandwidth of the rows that print enough digits, the most exact first. */
type Bandwidths = readonly {
  readonly value: number;
  /** Share by which rounding may have moved it. */
  readonly rounding: number;
  readonly line: number;
}[];

/** Digits after the point that a number is printed with, at least. */
const lastDigit = 0.005;
/** Beside the last digit: bandwidths are computed from times with more digits than are printed. */
const slack = 2e-3;
/** Below this a printed bandwidth says too little, GB/s. */
const comparable = 0.2;

function bandwidthsOf(rows: readonly Row[]): Bandwidths {
  return rows
    .flatMap((row) => {
      const [group] = groupsOf(row);
      // the last number of a row that was cut off may have lost digits
      if (row.partial || group === undefined || !(Math.min(group.algorithmGBs, group.busGBs) >= comparable)) return [];
      const rounding = lastDigit / group.algorithmGBs + lastDigit / group.busGBs + slack;
      return [{ value: group.busGBs / group.algorithmGBs, rounding, line: row.line }];
    })
    .sort((a, b) => a.rounding - b.rounding);
}

/**
 * The first row that `op` over so many ranks does not explain, if most of them are like it. Old builds of all_gather
 * print both bandwidths over the bytes that a rank receives: their ratio is 1.
 */
function misfit(op: MeasuredOp, ranks: number, bandwidths: Bandwidths): Bandwidths[number] | undefined {
  const wrong = bandwidths.filter(
    ({ value, rounding }) =>
      Math.abs(value / busFactor(op, ranks) - 1) > rounding &&
      !(pieceOps.includes(op) && Math.abs(value - 1) <= rounding),
  );
  return wrong.length > bandwidths.length / 2 ? wrong[0] : undefined;
}

/** Ranks that the ratios are of if the collective is `op`; undefined when none or, with many ranks, several fit. */
function ranksOfBandwidths(op: MeasuredOp, bandwidths: Bandwidths): number | undefined {
  if (bandwidths.length === 0 || busFactor(op, 2) === busFactor(op, 4)) return undefined;
  const exact = bandwidths.slice(0, Math.ceil(bandwidths.length / 2));
  const value = median(exact.map((one) => one.value));
  const ranks = Math.round(1 / (op === 'all_reduce' ? 1 - value / 2 : 1 - value));
  if (!(ranks >= 2 && Number.isFinite(ranks))) return undefined;
  const fits = (n: number): boolean => exact.some((one) => Math.abs(value / busFactor(op, n) - 1) <= one.rounding);
  return fits(ranks) && !fits(ranks + 1) && (ranks === 2 || !fits(ranks - 1)) ? ranks : undefined;
}

const nameWitness = (base: string): Evidence['fileName'] => {
  const number = (pattern: RegExp): number | undefined => {
    const value = Number(pattern.exec(base)?.[1]);
    return value > 0 ? value : undefined;
  };
  return {
    ranks: number(/(\d+)[ _-]?(?:gpus?|ranks?)(?![a-z])/iu),
    nodes: number(/(\d+)[ _-]?nodes?(?![a-z])/iu),
  };
};

function listingOf({ heading }: Table, file: string): Listing | undefined {
  const { devices, elided } = heading;
  if (devices.length === 0) return undefined;
  const ranks = new Set(devices.map((d) => d.rank));
  const most = maxOf(ranks) + 1;
  const range = `lines ${devices[0]?.line ?? 0}-${devices.at(-1)?.line ?? 0}`;
  if (ranks.size === 1 && most === 1 && devices.length > 1 && new Set(devices.map((d) => d.group)).size === 1)
    throw new InputError(`${devices.length} processes are all rank 0 (${range}): each of them ran alone`, {
      file,
      line: devices[0]?.line,
      expected: 'ranks that are numbered through',
      hint: 'build nccl-tests with MPI=1, and start it with the MPI that it was built with',
    });
  const perHost = maxOf(devices.map((d) => d.device)) + 1;
  if (elided !== undefined || ranks.size !== most) {
    const regular = devices.every((d) => d.device === d.rank % perHost) && most % perHost === 0;
    const cause =
      elided === undefined ? 'ranks are missing from the list' : `"..." at line ${elided} stands for some of them`;
    return {
      perGroup: undefined,
      atLeast: most,
      ...(elided !== undefined && elided < (devices.at(-1)?.line ?? 0) ? { throughLast: most } : {}),
      nodes: regular ? most / perHost : null,
      groups: 1,
      says: `${ranks.size} rank lines (${range}) are not all: ${cause}, the last is rank ${most - 1}`,
    };
  }
  const colours = colourOf(heading.settings ?? [], devices);
  const members = new Map<number, RankLine[]>();
  for (const device of devices) {
    const colour = colours(device);
    members.set(colour, [...(members.get(colour) ?? []), device]);
  }
  const sizes = new Set([...members.values()].map((list) => new Set(list.map((d) => d.rank)).size));
  const [size, another] = sizes;
  if (another !== undefined) {
    throw new InputError(`groups of ${[...sizes].join(' and ')} ranks ran at the same time (${range})`, {
      file,
      line: devices[0]?.line,
      expected: 'groups of one size',
      hint: 'measure them one after another: one row of the table says nothing of either',
    });
  }
  const hosts = new Set([...members.values()].map((list) => new Set(list.map((d) => d.host)).size));
  const says =
    members.size === 1
      ? `there are ${ranks.size} rank lines (${range})`
      : `there are ${ranks.size} rank lines in ${members.size} groups of ${size ?? 0} (${range})`;
  return {
    perGroup: size,
    atLeast: size ?? most,
    nodes: hosts.size === 1 ? ([...hosts][0] ?? null) : null,
    groups: members.size,
    says,
  };
}

/** Colours as printed; where all are 0 and the command line splits (NCCL_TESTS_SPLIT), as nccl-tests computes them. */
function colourOf(settings: readonly string[], devices: readonly RankLine[]): (device: RankLine) => number {
  const [first] = devices;
  const given = settings.map((one) => /^NCCL_TESTS_SPLIT(_MASK)?=(.*)$/u.exec(one)).find((one) => one !== null);
  if (given === undefined || devices.some((d) => d.group !== first?.group)) return (device) => device.group;
  const [, mask, text = ''] = given;
  const [, word = 'AND', digits = ''] = /^\s*(AND|OR|MOD|DIV|[&|%/])?\s*(0x[\da-f]+|\d+)\s*$/iu.exec(text) ?? [];
  const value = Number(digits === '' ? Number.NaN : digits);
  if (!Number.isInteger(value)) return (device) => device.group;
  const operations: Readonly<Record<string, (rank: number) => number>> = {
    AND: (rank) => rank & value,
    '&': (rank) => rank & value,
    OR: (rank) => rank | value,
    '|': (rank) => rank | value,
    MOD: (rank) => rank % value,
    '%': (rank) => rank % value,
    DIV: (rank) => Math.floor(rank / value),
    '/': (rank) => Math.floor(rank / value),
  };
  const operation = mask === undefined ? operations[word.toUpperCase()] : operations.AND;
  return (device) => operation?.(device.rank) ?? device.group;
}

function nodesOf(listing: Listing | undefined, ranks: number, named: number | undefined): number | null {
  if (listing?.nodes != null && (listing.perGroup === undefined ? listing.atLeast : listing.perGroup) === ranks) {
    return listing.nodes;
  }
  return named ?? null;
}

/**
 * What the rows alone tell: all_reduce by its factor, reduce_scatter by its redop, all_to_all by in-place rows that are
 * not checked.
 */
function opOfRows({
  table,
  rows,
  evidence,
  file,
  warnings,
}: {
  readonly table: Table;
  readonly rows: readonly Row[];
  readonly evidence: Omit<Evidence, 'table' | 'rows'>;
  readonly file: string;
  readonly warnings: string[];
}): MeasuredOp | undefined {
  const fits = (op: MeasuredOp): boolean => {
    const ranks = ranksFor(op, { rows, ...evidence });
    return typeof ranks === 'number' && evidence.bandwidths.length > 0;
  };
  const reduced = rows.some((row) => row.reduction !== undefined);
  const unchecked = rows.every((row) => {
    const [first, second] = groupsOf(row);
    return first?.wrong === '0' && second?.wrong === 'N/A';
  });
  const known =
    evidence.listing?.perGroup ?? evidence.options.ranks ?? evidence.fileName.ranks ?? countWitness(rows)?.ranks;
  if (known === undefined) return undefined;
  const op =
    known > 2 && fits('all_reduce')
      ? 'all_reduce'
      : reduced && fits('reduce_scatter')
        ? 'reduce_scatter'
        : unchecked && !reduced && fits('all_to_all')
          ? 'all_to_all'
          : undefined;
  if (op !== undefined) {
    warnings.push(`${file}:${table.line}: no command or name tells the collective; read as ${op} from its rows`);
  }
  return op;
}
