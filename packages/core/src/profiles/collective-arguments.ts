/**
 * What PyTorch writes of a collective into a Kineto trace (torch/csrc/distributed/c10d/ParamCommsUtils and
 * torch/csrc/profiler/util.cpp): elements in and out, their type, the splits of an uneven exchange, and the group.
 * Lists are cut behind 30 entries.
 */
import { isRecord } from '../units/index.js';
import type { ProfiledGroup, ProfiledOp } from './profile.js';

/** A group as the head of a trace lists it (distributedInfo.pg_config). */
export interface ListedGroup {
  readonly name: string;
  readonly description: string;
  readonly size: number;
  readonly ranks?: readonly number[];
}

/** Bytes of an element by PyTorch's name of the type (c10::ScalarType). */
const elementBytes: Readonly<Record<string, number>> = {
  byte: 1,
  char: 1,
  bool: 1,
  short: 2,
  half: 2,
  bfloat16: 2,
  int: 4,
  float: 4,
  long: 8,
  double: 8,
  complexhalf: 4,
  complexfloat: 8,
  complexdouble: 16,
  float8_e4m3fn: 1,
  float8_e5m2: 1,
  float8_e4m3fnuz: 1,
  float8_e5m2fnuz: 1,
  float8_e8m0fnu: 1,
};

const operations: readonly (readonly [RegExp, ProfiledOp])[] = [
  [/all_?reduce/u, 'all_reduce'],
  [/reduce_?scatter/u, 'reduce_scatter'],
  [/all_?gather/u, 'all_gather'],
  [/all_?to_?all/u, 'all_to_all'],
  [/broadcast/u, 'broadcast'],
  [/barrier/u, 'barrier'],
  [/^(?:nccl:)?send/u, 'send'],
  [/^(?:nccl:)?recv/u, 'receive'],
  [/scatter/u, 'scatter'],
  [/gather/u, 'gather'],
  [/reduce/u, 'reduce'],
];

/** The operation by PyTorch's name, as `_allgather_base` or `all_to_allv`. */
export const operationNamed = (name: string): ProfiledOp | undefined =>
  operations.find(([pattern]) => pattern.test(name.toLowerCase()))?.[1];

interface NumberList {
  readonly values: readonly number[];
  /** Entries were left out at its end. */
  readonly cut: boolean;
}

/** `[1, 2, ...]` as text or as a list. */
function numberList(value: unknown): NumberList | undefined {
  const text = Array.isArray(value) ? value.join(',') : value;
  if (typeof text !== 'string') return undefined;
  const parts = text
    .replaceAll(/[[\]"\s]/gu, '')
    .split(',')
    .filter((part) => part !== '');
  const cut = parts.some((part) => part.startsWith('...'));
  const values = parts.filter((part) => !part.startsWith('...')).map(Number);
  return values.length === 0 || values.some((one) => !Number.isInteger(one)) ? undefined : { values, cut };
}

const integer = (value: unknown): number | undefined => {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : undefined;
};

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Descriptions that PyTorch makes up itself say nothing. */
const meaningful = (description: string): string =>
  /^(?:undefined|default_pg)?$/u.test(description) ? '' : description;

/**
 * The group that a collective's arguments name; ranks come from the list itself, from start and stride, or from the
 * head of the trace.
 */
export function groupOf(
  args: Readonly<Record<string, unknown>>,
  listed: ReadonlyMap<string, ListedGroup>,
): ProfiledGroup | undefined {
  const known = listed.get(text(args['Process Group Name']));
  const size = integer(args['Group size']) ?? known?.size;
  if (size === undefined || size < 1) return undefined;
  const label = meaningful(text(args['Process Group Description']) || (known?.description ?? ''));
  const written = numberList(args['Process Group Ranks']);
  const start = integer(args['Global rank start']);
  const stride = integer(args['Global rank stride']);
  let ranks: readonly number[] | undefined;
  if (written !== undefined && !written.cut && written.values.length === size) ranks = written.values;
  else if (known?.ranks?.length === size) ranks = known.ranks;
  else if (start !== undefined && stride !== undefined && stride > 0)
    ranks = Array.from({ length: size }, (_, place) => start + place * stride);
  return { size, label, ...(ranks === undefined ? {} : { ranks }) };
}

export interface CollectiveBytes {
  readonly bytes?: number;
  readonly sentBytes?: number;
  readonly even?: boolean;
  /** The splits were cut, so what stays on the own rank is not known. */
  readonly splitsCut?: boolean;
}

const allButOwn = (bytes: number, ranks: number): number => (bytes * (ranks - 1)) / ranks;

/**
 * Least bytes that a rank hands on, of the whole buffer and the ranks of the group; operations with a root have no one
 * answer.
 */
const sentOf: Partial<Record<ProfiledOp, (bytes: number, ranks: number) => number>> = {
  all_reduce: (bytes, ranks) => 2 * allButOwn(bytes, ranks),
  all_gather: allButOwn,
  reduce_scatter: allButOwn,
  all_to_all: allButOwn,
  send: (bytes) => bytes,
  receive: () => 0,
};

/** Bytes of a call by its arguments; `rank` is the own one. Nothing where elements or their type are not told. */
export function bytesOf(
  op: ProfiledOp,
  args: Readonly<Record<string, unknown>>,
  group: ProfiledGroup | undefined,
  rank: number,
): CollectiveBytes {
  const type = elementBytes[text(args['dtype']).toLowerCase()];
  const inElements = integer(args['In msg nelems']);
  const outElements = integer(args['Out msg nelems']);
  if (type === undefined || inElements === undefined || group === undefined) return {};
  const gathers = op === 'all_gather' || op === 'gather';
  const whole = gathers ? inElements * group.size : op === 'receive' ? (outElements ?? inElements) : inElements;
  const bytes = whole * type;
  if (op === 'all_to_all') {
    const splits = numberList(args['In split size']);
    if (splits !== undefined) return { bytes, ...unevenExchange(splits, bytes, group, rank) };
  }
  const sentBytes = sentOf[op]?.(bytes, group.size);
  return { bytes, even: true, ...(sentBytes === undefined ? {} : { sentBytes }) };
}

/** Splits count rows; the own rank's rows stay where they are. */
function unevenExchange(splits: NumberList, bytes: number, group: ProfiledGroup, rank: number): CollectiveBytes {
  const own = group.ranks?.indexOf(rank) ?? -1;
  const first = splits.values[0];
  const even = splits.values.every((one) => one === first);
  if (splits.cut || splits.values.length !== group.size) return { splitsCut: true, even };
  const rows = splits.values.reduce((sum, one) => sum + one, 0);
  const mine = splits.values[own];
  if (mine === undefined) return { even };
  return { even, sentBytes: rows === 0 ? 0 : bytes - (bytes * mine) / rows };
}

/** Groups that the head of a trace lists. */
export function listedGroups(distributedInfo: unknown): Map<string, ListedGroup> {
  const groups = new Map<string, ListedGroup>();
  const config = isRecord(distributedInfo) ? distributedInfo['pg_config'] : undefined;
  const entries = Array.isArray(config) ? config : isRecord(config) ? Object.values(config) : [];
  for (const entry of entries) {
    if (!isRecord(entry)) continue;
    const name = text(entry['pg_name']);
    const ranks = numberList(entry['ranks']);
    const size = integer(entry['pg_size']) ?? ranks?.values.length;
    if (size === undefined) continue;
    const whole = ranks !== undefined && !ranks.cut && ranks.values.length === size;
    groups.set(name, { name, description: text(entry['pg_desc']), size, ...(whole ? { ranks: ranks.values } : {}) });
  }
  return groups;
}
