/**
 * Writes traces as PyTorch's profiler does, of a job whose truth is known: what each rank sent, when it waited for
 * whom, and how long it communicated beside nothing. Time is counted in whole nanoseconds; the truth is found by
 * walking over all moments at which something begins or ends, in another way than the reader does it.
 */
import { Random } from '#core/units/random.js';
import type { ProfiledOp } from '#core/profiles/profile.js';
import { maxOf } from '#core/units/index.js';
import { keyOf, type Group, type Operation, type Piece, type TraceJob } from './kineto-pieces.js';
import { deepEpNames, traceText } from './kineto-text.js';

export type { NameStyle, TraceJob } from './kineto-pieces.js';

export const plainJob: TraceJob = {
  ranks: 8,
  ranksPerNode: 8,
  expertParallel: 8,
  layers: 4,
  seed: 1,
  names: 'since 2.19',
  arguments: 'kernel',
  renamedGroups: false,
  clockOffset: 0,
  numbered: false,
  missed: 0,
  deepEp: false,
};

/** What is true of one kernel. */
export interface TrueCall {
  readonly op: ProfiledOp;
  readonly members: readonly number[];
  readonly sentBytes: number | undefined;
  /** The whole buffer, as nccl-tests counts it; undefined where the kernel tells none. */
  readonly bytes: number | undefined;
  readonly startNs: number;
  readonly readyNs: number;
  readonly endNs: number;
}

export interface TrueRank {
  readonly rank: number;
  readonly calls: readonly TrueCall[];
  readonly exposedNs: number;
  readonly communicationNs: number;
  readonly computeNs: number;
  /** Seconds by which its clock is ahead. */
  readonly clockAhead: number;
}

export interface GeneratedTrace {
  readonly text: string;
  readonly truth: TrueRank;
}

const bytesOfType = { BFloat16: 2, Float: 4 } as const;

const blocks = (ranks: number, size: number): number[][] =>
  Array.from({ length: ranks / size }, (_, block) => Array.from({ length: size }, (__, place) => block * size + place));

const strided = (ranks: number, size: number): number[][] =>
  Array.from({ length: ranks / size }, (_, first) =>
    Array.from({ length: size }, (__, place) => first + (place * ranks) / size),
  );

/** Operations of one layer, in issue order. */
function layerOperations({ ranks, expertParallel, deepEp }: TraceJob, random: Random): Operation[] {
  const world: Group[] = [{ label: 'default_pg', members: Array.from({ length: ranks }, (_, rank) => rank) }];
  const half = Math.max(1, ranks / 2);
  const tensor = blocks(ranks, half >= 2 ? 2 : 1).map((members): Group => ({
    label: 'TENSOR_MODEL_PARALLEL_GROUP',
    members,
  }));
  const expert = blocks(ranks, expertParallel).map((members): Group => ({
    label: 'EXPERT_MODEL_PARALLEL_GROUP',
    members,
  }));
  const data = strided(ranks, half).map((members): Group => ({ label: 'DATA_PARALLEL_GROUP_WITH_CP', members }));
  const elements = (): number => 1024 * (1 + Math.floor(random.uniform() * 4000));
  const one = (op: ProfiledOp, name: string, groups: readonly Group[], more: Partial<Operation> = {}): Operation => ({
    op,
    name,
    groups: groups.filter(({ members }) => members.length > 1),
    elements: elements(),
    dtype: 'BFloat16',
    uneven: false,
    beside: false,
    ...more,
  });
  return [
    one('all_gather', '_allgather_base', tensor),
    one(deepEp ? 'dispatch' : 'all_to_all', 'all_to_allv', expert, { uneven: true }),
    one('all_reduce', 'allreduce', data, { dtype: 'Float', beside: true }),
    one(deepEp ? 'combine' : 'all_to_all', 'all_to_allv', expert, { uneven: true, beside: true }),
    one('reduce_scatter', '_reduce_scatter_base', tensor, { beside: true }),
    one('broadcast', 'broadcast', world, { dtype: 'Float' }),
    one('reduce', 'reduce', world, { dtype: 'Float', beside: true }),
    one('gather', 'gather', data),
    one('scatter', 'scatter', data, { beside: true }),
    ...(ranks > 1 ? [one('send', 'send', [{ label: 'PIPELINE_MODEL_PARALLEL_GROUP', members: [0, ranks - 1] }])] : []),
  ];
}

interface RankState {
  computeNs: number;
  communicationNs: number;
  readonly pieces: Piece[];
  readonly calls: TrueCall[];
  readonly counters: Map<string, number>;
}

/** Bytes that a rank hands to others at least, by the definition of each collective. */
function sentBytes(op: ProfiledOp, bytes: number, size: number): number | undefined {
  if (op === 'all_reduce') return (2 * bytes * (size - 1)) / size;
  if (op === 'all_gather') return bytes * (size - 1);
  if (op === 'reduce_scatter' || op === 'all_to_all') return (bytes * (size - 1)) / size;
  if (op === 'send') return bytes;
  return op === 'receive' ? 0 : undefined;
}

/** The whole buffer of a collective that takes `bytes` of every rank, or gives them. */
const wholeBytes = (op: ProfiledOp, bytes: number, size: number): number =>
  op === 'all_gather' || op === 'gather' || op === 'scatter' ? bytes * size : bytes;

/** Rows to each member, adding up to `rows`. */
function drawSplits(random: Random, rows: number, size: number): number[] {
  const splits = Array.from({ length: size }, () => Math.floor((random.uniform() * rows) / size));
  splits[0] = (splits[0] ?? 0) + rows - splits.reduce((sum, one) => sum + one, 0);
  return splits;
}

const rowElements = 64;
const launchGapNs = 1500;

function runOperation(operation: Operation, states: readonly RankState[], random: Random): void {
  for (const group of operation.groups) {
    const starts = group.members.map((rank) => {
      const state = states[rank];
      if (state === undefined) throw new RangeError(`rank ${rank}`);
      if (!operation.beside) state.communicationNs = Math.max(state.communicationNs, state.computeNs);
      return state.communicationNs + Math.floor(random.uniform() * 40_000);
    });
    const readyNs = maxOf(starts);
    const endNs = readyNs + 20_000 + Math.floor((operation.elements * 2) / 100);
    for (const [place, rank] of group.members.entries()) {
      const state = states[rank];
      if (state === undefined) continue;
      const op = operation.op === 'send' && place === 1 ? 'receive' : operation.op;
      const rows = operation.elements / rowElements;
      const splits = operation.uneven ? drawSplits(random, rows, group.members.length) : [];
      const bytes = operation.elements * bytesOfType[operation.dtype];
      const sent =
        operation.uneven && op === 'all_to_all'
          ? bytes - (splits[place] ?? 0) * rowElements * bytesOfType[operation.dtype]
          : sentBytes(op, bytes, group.members.length);
      const key = keyOf(group);
      const sequence = (state.counters.get(key) ?? 0) + 1;
      state.counters.set(key, sequence);
      const startNs = starts[place] ?? readyNs;
      state.pieces.push({
        name: '',
        category: 'kernel',
        stream: 20 + (operation.beside ? 4 : 0),
        startNs,
        endNs,
        call: { operation, group, op, splits, elements: operation.elements, sequence },
      });
      const whole = deepEpNames[op] === undefined ? wholeBytes(op, bytes, group.members.length) : undefined;
      state.calls.push({ op, members: group.members, sentBytes: sent, bytes: whole, startNs, readyNs, endNs });
      state.communicationNs = endNs + launchGapNs;
      if (!operation.beside) state.computeNs = Math.max(state.computeNs, endNs);
    }
  }
}

function compute(state: RankState, random: Random): void {
  for (let k = 0; k < 6; k++) {
    const startNs = state.computeNs + Math.floor(random.uniform() * 3000);
    const endNs = startNs + 5000 + Math.floor(random.uniform() * 60_000);
    state.pieces.push({
      name: 'void cutlass::Kernel<cutlass_80_tensorop_bf16>(cutlass::Params)',
      category: 'kernel',
      stream: 7,
      startNs,
      endNs,
    });
    state.computeNs = endNs;
  }
  state.pieces.push({
    name: 'Memcpy DtoD (Device -> Device)',
    category: 'gpu_memcpy',
    stream: 7,
    startNs: state.computeNs,
    endNs: state.computeNs + 2000,
  });
  state.computeNs += 2000;
}

/** Walks over all moments at which something begins or ends. */
function measured(pieces: readonly Piece[]): Pick<TrueRank, 'exposedNs' | 'communicationNs' | 'computeNs'> {
  const changes = pieces.flatMap(({ category, call, startNs, endNs }) => {
    const kind = call !== undefined ? 'communication' : category === 'kernel' ? 'compute' : 'copy';
    return [
      { at: startNs, kind, by: 1 },
      { at: endNs, kind, by: -1 },
    ];
  });
  changes.sort((a, b) => a.at - b.at);
  const active = { communication: 0, compute: 0, copy: 0 };
  const total = { exposedNs: 0, communicationNs: 0, computeNs: 0 };
  let before = changes[0]?.at ?? 0;
  for (const { at, kind, by } of changes) {
    const passed = at - before;
    if (active.communication > 0) total.communicationNs += passed;
    if (active.compute > 0) total.computeNs += passed;
    if (active.communication > 0 && active.compute === 0) total.exposedNs += passed;
    active[kind as keyof typeof active] += by;
    before = at;
  }
  return total;
}

/**
 * Traces of all ranks of a job, with what is true of them. Collectives that a rank's profiler missed are in neither.
 */
export function generateTraces(job: TraceJob): GeneratedTrace[] {
  const random = new Random(job.seed);
  const states = Array.from({ length: job.ranks }, (): RankState => ({
    computeNs: 0,
    communicationNs: 0,
    pieces: [],
    calls: [],
    counters: new Map(),
  }));
  for (let layer = 0; layer < job.layers; layer++)
    for (const operation of layerOperations(job, random)) {
      for (const state of states) compute(state, random);
      runOperation(operation, states, random);
    }
  return states.map((state, rank) => {
    const missing = Math.floor(random.uniform() * (job.missed + 1));
    const fromNs = missing === 0 ? -Infinity : (state.calls[missing - 1]?.endNs ?? 0);
    const pieces = state.pieces.filter(({ startNs }) => startNs >= fromNs);
    const calls = state.calls.filter(({ startNs }) => startNs >= fromNs);
    const clockAhead = rank === 0 ? 0 : (random.uniform() - 0.5) * 2 * job.clockOffset;
    return {
      text: traceText({ job, rank, pieces, clockAhead, random }),
      truth: { rank, calls, ...measured(pieces), clockAhead },
    };
  });
}
