/**
 * Writes a trace as large as asked for, as PyTorch's profiler writes it, to time its reader:
 * `node scripts/large-trace.mjs large.json 320` (MB), then `/usr/bin/time -v monta trace large.json`.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import process from 'node:process';

const [, , file = 'large.json', megabytes = '320'] = process.argv;
const eventsAtOnce = 2000;

const group = {
  'Collective name': 'all_to_allv',
  'In msg nelems': 1048576,
  'Out msg nelems': 1048576,
  'Group size': 8,
  dtype: 'BFloat16',
  'In split size': '[]',
  'Out split size': '[]',
  'Process Group Name': '3',
  'Process Group Description': 'EXPERT_MODEL_PARALLEL_GROUP',
  'Process Group Ranks': '[0, 1, 2, 3, 4, 5, 6, 7]',
};

/** A call of the CPU and its kernel; every twentieth communicates. */
function eventsOf(id) {
  const exchanges = id % 20 === 0;
  const dims = {
    'Input Dims': [
      [4096, 7168],
      [7168, 2048],
    ],
    'Call stack': 'module.py(1532): _call_impl; '.repeat(3),
  };
  const call = { cat: 'cpu_op', name: `aten::op_${id % 97}`, pid: 1, tid: 1, ts: id * 10, dur: 6, args: dims };
  const kernel = {
    cat: 'kernel',
    name: exchanges ? 'ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)' : `void gemm_${id % 31}<bf16>(Params)`,
    pid: 0,
    tid: exchanges ? 20 : 7,
    ts: id * 10 + 3,
    dur: 8,
    args: { 'External id': id, ...(exchanges ? group : {}) },
  };
  return [call, kernel].map((event) => JSON.stringify({ ph: 'X', ...event })).join(',\n');
}

const out = openSync(file, 'w');
let size = writeSync(out, '{"schemaVersion": 1, "distributedInfo": {"rank": 0, "world_size": 8}, "traceEvents": [\n');
for (let id = 0; size < Number(megabytes) * 1e6; id += eventsAtOnce) {
  const events = Array.from({ length: eventsAtOnce }, (_, k) => eventsOf(id + k));
  size += writeSync(out, `${id > 0 ? ',\n' : ''}${events.join(',\n')}`);
}
writeSync(out, '\n]}\n');
closeSync(out);
