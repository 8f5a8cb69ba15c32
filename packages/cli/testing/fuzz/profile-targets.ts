/** Targets of the fuzzer that come from other programs: profilers' traces, configurations of DeepSpeed, plans. */
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { writeNsysReport } from './nsys-report.js';
import { exportPlan, exportTargets, InputError } from '@monta/core';
import { readProfileMeasurements } from '#cli/calibrate/read-profile-measurements.js';
import { readExportPlan } from '#cli/commands/export.js';
import { runTrace } from '#cli/commands/trace.js';
import { Console } from '#cli/output/console.js';
import type { Target } from './targets.js';

const ranks = Array.from({ length: 8 }, (_, rank) => rank);

const group = {
  'Process Group Name': '0',
  'Process Group Description': 'default_pg',
  'Process Group Ranks': JSON.stringify(ranks),
};

/** A call of a collective and its kernel, as PyTorch's profiler writes them. */
function collective(id: number, name: string, kernel: string): object[] {
  const said = { 'Collective name': name, 'In msg nelems': 4096, 'Out msg nelems': 32768, dtype: 'BFloat16' };
  const args = { 'External id': id, ...said, 'Group size': 8, ...group };
  return [
    { ph: 'X', cat: 'cpu_op', name: 'record_param_comms', pid: 1, tid: 1, ts: 100 * id, dur: 5, args },
    {
      ph: 'X',
      cat: 'kernel',
      name: kernel,
      pid: 0,
      tid: 20,
      ts: 100 * id + 10,
      dur: 40.5,
      args: { ...args, device: 0, stream: 20, correlation: id },
    },
  ];
}

const kineto = JSON.stringify(
  {
    schemaVersion: 1,
    deviceProperties: [{ id: 0, name: 'NVIDIA H100 80GB HBM3', numSms: 132 }],
    distributedInfo: {
      backend: 'nccl',
      rank: 1,
      world_size: 8,
      pg_count: 1,
      pg_config: [{ pg_name: '0', pg_desc: 'default_pg', backend_config: 'cuda:nccl', pg_size: 8, ranks }],
      nccl_version: '2.21.5',
    },
    traceEvents: [
      ...collective(1, 'allreduce', 'ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)'),
      ...collective(2, '_allgather_base', 'ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)'),
      ...collective(3, 'all_to_allv', 'ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)'),
      {
        ph: 'X',
        cat: 'kernel',
        name: 'cutlass_gemm',
        pid: 0,
        tid: 7,
        ts: 120,
        dur: 300,
        args: { device: 0, stream: 7 },
      },
      { ph: 'X', cat: 'gpu_memcpy', name: 'Memcpy DtoD', pid: 0, tid: 7, ts: 430, dur: 8, args: { device: 0 } },
    ],
  },
  null,
  1,
);

const deepspeed = `{
  "train_batch_size": 256,
  "train_micro_batch_size_per_gpu": 2,
  "gradient_accumulation_steps": 16,
  "bf16": { "enabled": true },
  "gradient_clipping": 1.0,
  "zero_optimization": {
    "stage": 2,
    "overlap_comm": true,
    "reduce_bucket_size": 5e8,
    "allgather_bucket_size": 5e8,
    "offload_optimizer": { "device": "none" }
  },
  "tensor_parallel": { "autotp_size": 2 },
  "expert_parallel": { "enabled": true, "autoep_size": 4, "preset_model": "mixtral" }
}
`;

const plan = `{
  "cluster": "a800-2x8",
  "model": "2x70b",
  "layout": "tp=8,dp=2,ep=2",
  "sequence": 4096,
  "sequences": 1,
  "microBatches": 4,
  "dtype": "bf16",
  "capacityFactor": 1.25,
  "recompute": ["core_attn", "moe"],
  "best": {
    "layout": "tp=8,dp=2,ep=2",
    "strategy": { "dispatch": "sliced", "combine": "scattered", "chunks": { "forward": 4, "backward": 2 } }
  }
}
`;

const silent = { isTTY: false, write: (): boolean => true };

/** What `monta trace` prints of a file, and what `monta calibrate` measures in it. */
async function profile(path: string): Promise<void> {
  const env = {};
  const context = { process: { stdout: silent, stderr: silent }, console: new Console(silent, silent, env), env };
  await runTrace(context, { json: true }, path);
  try {
    await readProfileMeasurements([path], {});
  } catch (error) {
    // One rank's trace says too little of most collectives.
    if (!(error instanceof InputError)) throw error;
  }
}

/** Every framework's words for a plan, or why there are none. */
function exported(path: string): void {
  const read = readExportPlan(path, {});
  for (const target of exportTargets) {
    try {
      exportPlan(read, target);
    } catch (error) {
      // What a framework cannot run is an answer.
      if (!(error instanceof InputError)) throw error;
    }
  }
}

/** Writes the samples into a folder. `lint` checks a file as `monta lint` does. */
export function profileTargets(folder: string, lint: Target['read']): Target[] {
  const file = (name: string, content: string | Buffer): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  return [
    { name: 'kineto', sample: file('kineto.json', kineto), read: profile },
    { name: 'kineto, packed', sample: file('kineto.json.gz', gzipSync(kineto)), read: profile },
    { name: 'nsys', sample: writeNsysReport(join(folder, 'report.sqlite')), read: profile },
    { name: 'deepspeed', sample: file('ds_config.json', deepspeed), read: lint },
    { name: 'plan', sample: file('plan.json', plan), read: exported },
  ];
}
