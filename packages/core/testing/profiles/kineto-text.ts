/** The text of a trace as PyTorch's profiler writes it. */
import type { Random } from '#core/units/random.js';
import type { ProfiledOp } from '#core/profiles/profile.js';
import { keyOf, type Group, type NameStyle, type Piece, type TraceJob } from './kineto-pieces.js';

const kernelStem: Partial<Record<ProfiledOp, string>> = {
  all_reduce: 'AllReduce',
  all_gather: 'AllGather',
  reduce_scatter: 'ReduceScatter',
  broadcast: 'Broadcast',
  all_to_all: 'SendRecv',
  send: 'SendRecv',
  receive: 'SendRecv',
  // NCCL has no kernels of its own for these
  gather: 'SendRecv',
  scatter: 'SendRecv',
  reduce: 'Reduce',
};

function kernelName(op: ProfiledOp, style: NameStyle, dtype: string): string {
  const stem = kernelStem[op] ?? 'AllReduce';
  const short = dtype === 'Float' ? 'float' : '__nv_bfloat16';
  if (style === 'before 2.8') return `nccl${stem}RingLLKernel_sum_${dtype === 'Float' ? 'f32' : 'f16'}(ncclColl)`;
  if (style === 'to 2.18') return `ncclKernel_${stem}_RING_LL_Sum_${short}(ncclDevComm*, unsigned long, ncclWork*)`;
  const sums = stem === 'AllReduce' || stem === 'Reduce' ? 'Sum_bf16_' : '';
  return stem === 'SendRecv'
    ? 'ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)'
    : `ncclDevKernel_${stem}_${sums}RING_LL(ncclDevKernelArgsStorage<4096ul>)`;
}

/** Kernels of DeepEP, which no process group announces. */
export const deepEpNames: Partial<Record<ProfiledOp, string>> = {
  dispatch: 'void deep_ep::internode::dispatch<false, 8, false, 8, 20, 12>(int4*, float*, long*)',
  combine: 'void deep_ep::internode::combine<false, 8, __nv_bfloat16, 8, 2, 16, 24>(int4*, float*)',
};

const most = 30;
const list = (values: readonly number[]): string =>
  values.length > most ? `[${values.slice(0, most).join(', ')}, ...]` : `[${values.join(', ')}]`;

/** What one rank did, and by which clock. */
export interface RankTrace {
  readonly job: TraceJob;
  readonly rank: number;
  readonly pieces: readonly Piece[];
  /** Seconds that the rank's clock is ahead. */
  readonly clockAhead: number;
  readonly random: Random;
}

/** Names of process groups, which the profiler numbers. */
class GroupNames {
  readonly groups: readonly Group[];
  readonly #keys: string[];
  readonly #of: (index: number) => string;

  constructor({ job, rank, pieces, random }: RankTrace) {
    const groups = new Map<string, Group>();
    for (const { call } of pieces) if (call !== undefined) groups.set(keyOf(call.group), call.group);
    this.groups = [...groups.values()];
    this.#keys = [...groups.keys()];
    if (job.renamedGroups) this.#keys.sort(() => random.uniform() - 0.5);
    this.#of = (index) => (job.renamedGroups ? `${1000 * rank + index}` : String(index));
  }

  of(group: Group): string {
    return this.#of(this.#keys.indexOf(keyOf(group)));
  }
}

/** What the profiler says of a collective. */
function aboutCall(job: TraceJob, call: NonNullable<Piece['call']>, names: GroupNames): Record<string, unknown> {
  const { op, operation, group, elements, splits, sequence } = call;
  const { members, label } = group;
  return {
    'Collective name': op === 'receive' ? 'recv' : operation.name,
    // ProcessGroupNCCL tells the root's buffer on every rank
    'In msg nelems': op === 'scatter' ? elements * members.length : elements,
    'Out msg nelems': op === 'gather' ? elements * members.length : elements,
    'Group size': members.length,
    dtype: operation.dtype,
    'In split size': list(splits),
    'Out split size': list(splits),
    'Process Group Name': names.of(group),
    'Process Group Description': job.renamedGroups ? 'undefined' : label,
    'Process Group Ranks': list(members),
    ...(job.numbered ? { Seq: sequence } : {}),
  };
}

/** Events of a piece: its kernel, and before it what announces a collective. */
function eventsOf({ job, rank, clockAhead }: RankTrace, piece: Piece, index: number, names: GroupNames): object[] {
  const { category, stream, startNs, endNs, call } = piece;
  const time = (ns: number): number => Number((ns / 1e3 + 5e9 + clockAhead * 1e6).toFixed(3));
  const expert = call === undefined ? undefined : deepEpNames[call.op];
  const name = call === undefined ? piece.name : (expert ?? kernelName(call.op, job.names, call.operation.dtype));
  const about = call === undefined || expert !== undefined ? {} : aboutCall(job, call, names);
  const kernel = {
    ph: 'X',
    cat: category,
    name,
    pid: rank % 8,
    tid: stream,
    ts: time(startNs),
    dur: (endNs - startNs) / 1e3,
    args: {
      'External id': index + 1,
      device: rank % 8,
      stream,
      correlation: index + 9000,
      ...(job.arguments === 'kernel' ? about : {}),
    },
  };
  if (call === undefined || job.arguments === 'kernel' || expert !== undefined) return [kernel];
  const announced = {
    ph: 'X',
    cat: 'cpu_op',
    name: 'record_param_comms',
    pid: 4000,
    tid: 4000,
    ts: time(startNs - 900),
    dur: 80,
    args: { 'External id': index + 1, ...about },
  };
  return [announced, kernel];
}

/** What stands before the events: devices, and the process groups. */
const headOf = ({ job, rank }: RankTrace, names: GroupNames): object => ({
  schemaVersion: 1,
  deviceProperties: Array.from({ length: job.ranksPerNode }, (_, id) => ({ id, name: 'NVIDIA H100 80GB HBM3' })),
  distributedInfo: {
    backend: 'nccl',
    rank,
    world_size: job.ranks,
    pg_config: names.groups.map((group) => ({
      pg_name: names.of(group),
      pg_desc: group.label,
      pg_size: group.members.length,
      ranks: group.members,
    })),
    nccl_version: '2.21.5',
  },
});

/** An event of the host that says nothing of communication. */
const hostEvent = (cat: string, name: string): object => ({ ph: 'X', cat, name, pid: 4000, tid: 4000, ts: 1, dur: 1 });

/** The text of one rank's trace. */
export function traceText(trace: RankTrace): string {
  const names = new GroupNames(trace);
  const noise = hostEvent('python_function', 'torch/nn/modules/module.py(1532): _call_impl "}]');
  const steps = Array.from({ length: trace.job.layers }, (_, step) =>
    hostEvent('user_annotation', `ProfilerStep#${step + 7}`),
  );
  const events = trace.pieces.flatMap((piece, index) => eventsOf(trace, piece, index, names));
  const body = [noise, ...steps, ...events].map((event) => JSON.stringify(event)).join(',\n  ');
  return (
    `${JSON.stringify(headOf(trace, names), null, 2).slice(0, -2)},\n  "traceEvents": [\n  ${body}\n  ],\n  ` +
    '"traceName": "x.json"\n}\n'
  );
}
