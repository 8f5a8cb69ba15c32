/** Reads a Hugging Face model folder as a source of a model's parameters; strict about names, shapes and types. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError, readHfConfig, type MoeModel, type Parameter } from '@monta/core';
import { checkSupported } from '../transformer/index.js';
import { readText } from '../files/read-text.js';
import { noFolder } from './no-folder.js';
import { configuredType, torchNames, type WeightType } from './hugging-face-config.js';
import { tensorPlaces, type TensorPlace } from './hugging-face-names.js';
import { SafetensorsFolder } from './safetensors-folder.js';
import { checkSeal } from './seal.js';
import {
  modelParameters,
  parameterElements,
  pieceElements,
  readMatrixBlock,
  parameterColumns,
  type Block,
  type StateKind,
  type TensorSource,
} from './tensor-source.js';

export interface OpenOptions {
  /** Whether to compare files with the digests that they carry, which reads them whole. Default: true. */
  readonly verify?: boolean;
}

const isWeightType = (type: string): type is WeightType => Object.hasOwn(torchNames, type);

/** A model folder: `config.json` and weights in one file or in shards with an index. Close it after use. */
export class HuggingFaceFolder implements TensorSource {
  readonly folder: string;
  readonly model: MoeModel;
  /** The text of `config.json`. */
  readonly config: string;
  readonly kinds: readonly StateKind[] = ['weight'];
  /** Whether all files carry a digest that they match; undefined when that was not looked at. */
  readonly sealed: boolean | undefined;
  readonly #weights: SafetensorsFolder;
  readonly #places = new Map<string, TensorPlace>();
  #half: WeightType | undefined;

  private constructor(folder: string, config: string, model: MoeModel, weights: SafetensorsFolder, verify: boolean) {
    this.folder = folder;
    this.config = config;
    this.model = model;
    this.#weights = weights;
    this.sealed = verify ? weights.files().filter(checkSeal).length === weights.files().length : undefined;
    this.#locate();
  }

  /**
   * Opens a folder and checks everything but the numbers: all parameters of the model there, each with its shape and in F32, BF16 or F16,
   * nothing besides. Throws InputError that names the tensor or the file.
   */
  static open(folder: string, { verify = true }: OpenOptions = {}): HuggingFaceFolder {
    const file = join(folder, 'config.json');
    const config = readConfig(folder);
    const model = readHfConfig(config, file);
    checkSupported(model);
    if (model.attentionBias !== 'none')
      throw new InputError('the model has biases in attention', {
        file,
        expected: 'a model without: attention_bias false',
      });
    const weights = SafetensorsFolder.open(folder);
    try {
      return new HuggingFaceFolder(folder, config, model, weights, verify);
    } catch (error) {
      weights.close();
      throw error;
    }
  }

  /** Types of the weights, most frequent first. */
  weightTypes(): WeightType[] {
    const counts = new Map<WeightType, number>();
    for (const { tensor } of this.#places.values()) {
      const { type } = this.#weights.info(tensor);
      if (isWeightType(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
    }
    return [...counts].sort(([, a], [, b]) => b - a).map(([type]) => type);
  }

  readBlock(parameter: Parameter, kind: StateKind, block: Block, out: Float32Array): void {
    const place = this.#places.get(parameter.name);
    if (place === undefined) throw new Error(`the folder's model has no parameter ${parameter.name}`);
    if (kind !== 'weight') throw new Error(`a model folder holds no ${kind}`);
    const read = (target: Float32Array, first: number): void =>
      this.#weights.readFloat32(place.tensor, target, place.first + first);
    readMatrixBlock(read, parameterColumns(parameter), block, out);
  }

  close(): void {
    this.#weights.close();
  }

  #locate(): void {
    const used = new Set<string>();
    for (const parameter of modelParameters(this.model)) {
      const places = tensorPlaces(parameter, this.model);
      const place = places.find(({ tensor }) => this.#weights.has(tensor)) ?? places[0];
      this.#checkType(place);
      this.#places.set(parameter.name, place);
      used.add(place.tensor);
    }
    for (const name of this.#weights.names()) if (!used.has(name)) this.#checkSurplus(name);
  }

  /** The half types have one size: a file that says one and a config that says the other can't both be right. */
  #checkType(place: TensorPlace): void {
    const { type } = this.#weights.info(place.tensor, place.shape);
    const bad = (expected: string): InputError =>
      new InputError(`tensor ${JSON.stringify(place.tensor)} is of type ${type}`, { file: this.folder, expected });
    if (!isWeightType(type)) throw bad('F32, BF16 or F16');
    if (type === 'F32') return;
    const configured = configuredType(this.config);
    this.#half ??= configured === undefined || configured === 'F32' ? type : configured;
    if (type !== this.#half)
      throw bad(
        `${this.#half} (or F32), as ${this.#half === configured ? 'config.json says' : 'the tensors before it'}`,
      );
  }

  /** With tied embeddings some writers store the output matrix again; anything else does not belong to the model. */
  #checkSurplus(name: string): void {
    const embedding = modelParameters(this.model)[0];
    const { shape } = this.#weights.info(name);
    if (name !== 'lm_head.weight' || !this.model.tieEmbeddings)
      throw new InputError(
        `tensor ${JSON.stringify(name)} of shape [${shape.join(', ')}] does not belong to the model`,
        {
          file: this.folder,
          expected: `the tensors of a ${this.model.family} model of ${this.model.layers} layers and ${this.model.experts} experts only`,
        },
      );
    this.#weights.info(name, embedding.shape);
    const elements = parameterElements(embedding);
    for (let first = 0; first < elements; first += pieceElements) {
      const [a, b] = [embedding.name, name].map((tensor) => {
        const piece = new Float32Array(Math.min(pieceElements, elements - first));
        this.#weights.readFloat32(tensor, piece, first);
        return piece;
      });
      if (a.some((value, i) => !Object.is(value, b[i])))
        throw new InputError(`tensor "${name}" differs from "${embedding.name}"`, {
          file: this.folder,
          expected: 'equal tensors: config.json says tie_word_embeddings',
        });
    }
  }
}

/** The text of a folder's `config.json`. Throws InputError. */
export function readConfig(folder: string): string {
  const file = join(folder, 'config.json');
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw noFolder(folder, 'a Hugging Face model folder');
  return readText(file, 'the config.json of a Hugging Face model');
}
