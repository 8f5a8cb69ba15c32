/**
 * The steady state of a pipeline: from some micro-batch on, everything that a micro-batch does happens a period after
 * the same happened for the one before. A simulation without randomness that is in the same state again goes on in the
 * same way, so a step of more micro-batches takes as many periods more.
 */
import type { OrderedProgram } from '../schedule/compile.js';
import type { ProgramNode } from '../schedule/schedule.js';
import { lengthOf, minOf, unionOf, type Interval } from '../units/index.js';
import { causes, type FlatProgram, type Happening } from './rank-state.js';

/** What happened in a step, by place in its world. */
export interface Steps {
  readonly happenings: readonly (readonly (Happening | undefined)[])[];
  readonly programs: readonly FlatProgram[];
  /** By place, index into `programs`. */
  readonly programOf: readonly number[];
}

/** How a step is made: micro-batches of a chunk are numbered from a multiple of all of them on. */
export interface Repetition {
  /** Of the step. */
  readonly microBatches: number;
  /** After so many the order of passes repeats. */
  readonly every: number;
}

export interface Period {
  readonly seconds: number;
  /** By program, what it is busy in a period. */
  readonly busySeconds: readonly number[];
}

/** Times in the same state differ by no more than this share of a period. */
const equal = 1e-9;
/** Whether the state is the same is asked of so many periods: all that is under way began in them. */
const compared = 2;

/**
 * The period of a step; undefined where it does not come to a steady state before its last micro-batches.
 *
 * Looked at is the time before anything that the order of passes of a longer step would not have: all that began or
 * ended in the last two periods then must have begun and ended a period earlier for earlier micro-batches, and nothing
 * else. Where the host runs ahead, and so is in no steady state, nothing afterwards may wait for it.
 */
export function periodOf(steps: Steps, { microBatches, every }: Repetition): Period | undefined {
  const { happenings, programOf } = steps;
  const places = programOf.map((which, place): Place => {
    const program = steps.programs[which]?.compiled;
    if (program === undefined) throw new RangeError(`place ${place} has no program`);
    return { which, program, list: happenings[place] ?? [], earlier: earlierNodes(program, { microBatches, every }) };
  });
  const until = minOf(places.map((place) => sameUntil(place, { microBatches, every })));
  const seconds = shiftBefore(places[0], until);
  if (!(seconds > 0)) return undefined;
  // between events, so that none lies on the end of a period
  const end = until - seconds / Math.PI / 100;
  if (!places.every((place) => repeats(place, end, seconds))) return undefined;
  if (!places.every((place) => hostKeepsUp(place, steps, end - seconds))) return undefined;
  const busySeconds = steps.programs.map((_, which) => {
    const place = places.find((one) => one.which === which);
    return place === undefined ? 0 : busyOf(place, [end - seconds, end]);
  });
  return { seconds, busySeconds };
}

interface Place {
  readonly which: number;
  readonly program: OrderedProgram;
  readonly list: readonly (Happening | undefined)[];
  /** By node, the one that does the same for an earlier micro-batch; -1 for none. */
  readonly earlier: Int32Array;
}

/** By node, the node of the same kind so many micro-batches before. */
function earlierNodes({ program: { nodes } }: OrderedProgram, { microBatches, every }: Repetition): Int32Array {
  const key = ({ template, layer, pass, part }: ProgramNode, microBatch: number): string =>
    `${template} ${layer} ${pass} ${part?.first ?? 0} ${microBatch}`;
  const byKey = new Map(nodes.map((node, index) => [key(node, node.microBatch), index]));
  return Int32Array.from(nodes, (node) =>
    node.microBatch % microBatches < every ? -1 : (byKey.get(key(node, node.microBatch - every)) ?? -1),
  );
}

/** When the first operation begins that might be another one in a longer step. */
function sameUntil({ program: { program, nodes }, list }: Place, { microBatches, every }: Repetition): number {
  const node = program.nodes.findIndex(
    ({ pass, microBatch }) => pass === 'forward' && microBatch % microBatches >= microBatches - every,
  );
  const first = nodes[node]?.first ?? 0;
  let until = Infinity;
  for (let index = first; index < list.length; index++) until = Math.min(until, list[index]?.issued ?? Infinity);
  return until;
}

/** The operation that is the same for an earlier micro-batch. */
function earlierOf({ program, list, earlier }: Place, { flat }: Happening): Happening | undefined {
  const own = program.nodes[flat.node];
  const other = program.nodes[earlier[flat.node] ?? -1];
  return own && other ? list[other.first + flat.index - own.first] : undefined;
}

/** How much later the last operation that ended before `until` did so than for the earlier micro-batch. */
function shiftBefore(place: Place | undefined, until: number): number {
  let last: Happening | undefined;
  for (const one of place?.list ?? []) if (one && one.end < until && one.end > (last?.end ?? 0)) last = one;
  const before = place && last && earlierOf(place, last);
  return last && before ? last.end - before.end : Number.NaN;
}

const within = (one: Happening, [start, end]: Interval): boolean => one.end > start && one.issued < end;

/** Whether what a place did before `end` is what it did a period before. */
function repeats(place: Place, end: number, period: number): boolean {
  const window: Interval = [end - compared * period, end];
  const same = (own: number, other: number): boolean => own > end || Math.abs(own - other - period) <= equal * period;
  let balance = 0;
  for (const one of place.list) {
    if (!one) continue;
    if (within(one, [window[0] - period, window[1] - period])) balance -= 1;
    if (!within(one, window)) continue;
    balance += 1;
    const other = earlierOf(place, one);
    const alike =
      other !== undefined &&
      same(one.issued, other.issued) &&
      same(one.ready, other.ready) &&
      same(one.through, other.through) &&
      same(one.end, other.end);
    if (!alike) return false;
  }
  return balance === 0;
}

/**
 * Whether the host of a place is in the same state a period later too: it waited for an operation in the period, or
 * nothing has waited for it since.
 */
function hostKeepsUp({ which, list }: Place, { programs }: Steps, start: number): boolean {
  const blocks = programs[which]?.blocksHost;
  const waited = list.some((one, index) => one && blocks?.[index] && one.end > start);
  return waited || !list.some((one) => one && one.issued > start && one.cause === causes.host);
}

/** Seconds of a window in which a place does anything but hand over to other stages, wait for them, or update. */
function busyOf({ program: { program }, list }: Pick<Place, 'program' | 'list'>, [start, end]: Interval): number {
  const intervals: Interval[] = [];
  for (const one of list) {
    if (!one || one.end <= start || one.ready >= end) continue;
    const { body } = one.flat.operation;
    if (isUpdate(program.nodes[one.flat.node])) continue;
    if (body.kind === 'collective' && (body.name === 'send' || body.name === 'receive')) continue;
    intervals.push([Math.max(start, one.ready), Math.min(end, one.end)]);
  }
  return lengthOf(unionOf(intervals));
}

const isUpdate = (node: ProgramNode | undefined): boolean => node?.pass === 'update';

export interface StageWork {
  /** By program: passes and reductions of gradients, without transfers to other stages and the update. */
  readonly busySeconds: readonly number[];
  /** When the last of them ended: what is left is the update. */
  readonly beforeUpdateSeconds: number;
}

/** What the stages of a step are busy with, each seen at its first place. */
export function stageWork({ happenings, programs, programOf }: Steps): StageWork {
  let beforeUpdateSeconds = 0;
  happenings.forEach((list, place) => {
    const nodes = programs[programOf[place] ?? 0]?.compiled.program.nodes ?? [];
    for (const one of list)
      if (one && one.end > beforeUpdateSeconds && !isUpdate(nodes[one.flat.node])) beforeUpdateSeconds = one.end;
  });
  const busySeconds = programs.map(({ compiled: program }, which) => {
    const place = programOf.indexOf(which);
    return place < 0 ? 0 : busyOf({ program, list: happenings[place] ?? [] }, [0, beforeUpdateSeconds]);
  });
  return { busySeconds, beforeUpdateSeconds };
}
