/**
 * Models of attention, state-space (Mamba-2) and expert blocks, each block a layer with one norm and one residual sum.
 * The programs of `schedule/` have no state-space layers, so these models can be estimated and not simulated.
 */
import { completeModel, type MoeModel } from '../model/model.js';

/** Mamba-2 (arXiv 2405.21060). */
export interface MambaShape {
  readonly heads: number;
  readonly headDim: number;
  readonly state: number;
  readonly groups: number;
}

export interface HybridModel extends MoeModel {
  /** A letter a block, as NVIDIA's `hybrid_override_pattern`: M state-space, * attention, E experts, - feed-forward. */
  readonly blocks: string;
  readonly mamba: MambaShape;
  /** Width that rows are projected to before they travel to experts, and that experts work in; absent: hiddenSize. */
  readonly latentSize?: number;
}

export const isHybrid = (model: MoeModel): model is HybridModel => 'blocks' in model;

/** Width of the rows that experts receive. */
export const rowWidth = (model: MoeModel): number =>
  (isHybrid(model) ? model.latentSize : undefined) ?? model.hiddenSize;

interface NemotronSize {
  readonly name: string;
  readonly hiddenSize: number;
  readonly blocks: string;
  readonly mambaHeads: number;
  readonly experts: number;
  readonly topK: number;
  readonly expertFfn: number;
  readonly sharedExpertFfn: number;
  readonly latentSize?: number;
  readonly multiTokenLayers?: number;
}

/** What Nemotron 3 has in common: two key-value heads of 128, squared ReLU without a gate, vocabulary of 131,072. */
function nemotron({ blocks, mambaHeads, latentSize, ...size }: NemotronSize): HybridModel {
  const model = completeModel({
    ...size,
    family: 'nemotron',
    layers: blocks.length,
    attentionHeads: 32,
    keyValueHeads: 2,
    headDim: 128,
    vocabSize: 131_072,
    gated: false,
    activation: 'relu2',
    scoring: 'sigmoid',
    denseFfn: size.sharedExpertFfn,
    moeLayers: Array.from(blocks, (block) => block === 'E'),
  });
  const mamba = { heads: mambaHeads, headDim: 64, state: 128, groups: 8 };
  return { ...model, blocks, mamba, ...(latentSize === undefined ? {} : { latentSize }) };
}

const nano = {
  hiddenSize: 2688,
  blocks: 'MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME',
  mambaHeads: 64,
  experts: 128,
  topK: 6,
  expertFfn: 1856,
  sharedExpertFfn: 3712,
};

/**
 * Nemotron 3 Nano and Super by the `config.json` of nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B and -Super-120B-A12B.
 * Nemotron 3.5 Lightning is taken as Nano with two modules of multi-token prediction (pattern `…/*E/*E`).
 * FLOPs of all three are within 8 % of those that published rows imply (a test compares).
 */
const models: readonly (readonly [RegExp, HybridModel])[] = [
  [/3[._ -]?5[_ -]?lightning/iu, nemotron({ ...nano, name: 'nemotron-3.5-lightning', multiTokenLayers: 2 })],
  [/(?:3|v3)[_ -]?nano(?!.*\b4b)/iu, nemotron({ ...nano, name: 'nemotron-3-nano' })],
  [
    /(?:3|v3)[_ -]?super/iu,
    nemotron({
      name: 'nemotron-3-super',
      hiddenSize: 4096,
      blocks: 'MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME',
      mambaHeads: 128,
      experts: 512,
      topK: 22,
      expertFfn: 2688,
      sharedExpertFfn: 5376,
      latentSize: 1024,
      multiTokenLayers: 1,
    }),
  ],
];

/** A hybrid model by what tables call it. */
export const hybridModel = (text: string): HybridModel | undefined =>
  /nemotron/iu.test(text) ? models.find(([pattern]) => pattern.test(text))?.[1] : undefined;
