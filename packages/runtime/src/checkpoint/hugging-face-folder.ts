/** Reads a Hugging Face model folder as a source of a model's parameters; strict about names, shapes and types. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '@monta/core/units';
import { readHfConfig } from '@monta/core/model';
import type { MoeModel, Parameter } from '@monta/core';
import { checkSupported } from '../transformer/index.js';
import { readText } from '../files/read-text.js';
import { noFolder } from './no-folder.js';
import { configuredType, torchNames, type WeightType } from './hugging-face-config.js';
import { tensorPlaces, type TensorPlace } from './hugging-face-names.js';
import { readPlaced } from './placed-tensor.js';
import { applyScales, blockSizeOf, scaleShape, scalesOf, type BlockSize } from './block-scales.js';
import { lfsPointerError } from './lfs-pointer.js';
import { SafetensorsFolder } from './safetensors-folder.js';
import type { TensorInfo } from './safetensors-header.js';
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
  /**
   * Tensors that do not belong to the model: by default those beside it (`mtp.*`) are left, and listed in `surplus`,
   * but one that bears a name of the model's own parts is refused; `name` lists them all.
   */
  readonly surplus?: 'leave' | 'name';
}

/** Types that weights are stored in. */
export type StoredType = WeightType | 'F8_E4M3';

/** Names that only the decoder's own tensors bear. */
const isOwnPart = (name: string): boolean => name.startsWith('model.') || name.startsWith('lm_head.');

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
  /** Tensors that do not belong to the model and are left. */
  readonly surplus: readonly string[];
  readonly #weights: SafetensorsFolder;
  readonly #places = new Map<string, TensorPlace>();
  readonly #blocks: BlockSize | undefined;
  /** By tensor, read once. */
  readonly #scales = new Map<string, Float32Array>();
  #half: WeightType | undefined;
  #last: { readonly name: string; readonly values: Float32Array } | undefined;

  private constructor(
    folder: string,
    {
      config,
      model,
      weights,
    }: { readonly config: string; readonly model: MoeModel; readonly weights: SafetensorsFolder },
    options: OpenOptions,
  ) {
    this.folder = folder;
    this.config = config;
    this.model = model;
    this.#weights = weights;
    this.#blocks = blockSizeOf(config, join(folder, 'config.json'));
    const verify = options.verify ?? true;
    this.sealed = verify ? weights.files().filter(checkSeal).length === weights.files().length : undefined;
    this.surplus = this.#locate(options.surplus ?? 'leave');
  }

  /**
   * Opens a folder and checks everything but the numbers: all parameters of the model there, each with its shape and in
   * F32, BF16, F16 or block-scaled F8_E4M3, nothing besides. Weights have the type that their file says, whatever the
   * config says (`typeNote`). Throws InputError that names the tensor or the file.
   */
  static open(folder: string, options: OpenOptions = {}): HuggingFaceFolder {
    const file = join(folder, 'config.json');
    const config = readConfig(folder);
    const model = readHfConfig(config, file);
    checkComputed(model, file);
    const weights = SafetensorsFolder.open(folder);
    try {
      return new HuggingFaceFolder(folder, { config, model, weights }, options);
    } catch (error) {
      weights.close();
      throw error;
    }
  }

  /** Types of the weights, most frequent first. */
  storedTypes(): StoredType[] {
    const counts = new Map<StoredType, number>();
    for (const { tensor } of this.#places.values()) {
      const { type } = this.#weights.info(tensor);
      if (isWeightType(type) || type === 'F8_E4M3') counts.set(type, (counts.get(type) ?? 0) + 1);
    }
    return [...counts].sort(([, a], [, b]) => b - a).map(([type]) => type);
  }

  /**
   * Types to write the weights in that lose nothing of what config and files mean: 8-bit floats come with a type to
   * compute in.
   */
  weightTypes(): WeightType[] {
    const stored = this.storedTypes();
    const plain = stored.filter((type) => type !== 'F8_E4M3');
    if (!stored.includes('F8_E4M3')) return plain;
    const type = configuredType(this.config) ?? 'BF16';
    return [type, ...plain.filter((one) => one !== type)];
  }

  /** What is odd about the types, in words; undefined when config and files agree. */
  typeNote(): string | undefined {
    const configured = configuredType(this.config);
    const plain = this.storedTypes().filter((type) => type !== 'F8_E4M3');
    // Some tensors are F32 in files of half precision.
    const stored = plain.find((type) => type !== 'F32') ?? plain[0];
    if (configured === undefined || stored === undefined || stored === configured) return undefined;
    return (
      `config.json says ${torchNames[configured]}, the files hold ${stored}: they are read as ${stored}; ` +
      'monta convert writes a config that agrees'
    );
  }

  readBlock(parameter: Parameter, kind: StateKind, block: Block, out: Float32Array): void {
    const place = this.#places.get(parameter.name);
    if (place === undefined) throw new Error(`the folder's model has no parameter ${parameter.name}`);
    if (kind !== 'weight') throw new Error(`a model folder holds no ${kind}`);
    if (place.strides !== undefined) {
      readMatrixBlock(
        (target, first) => target.set(this.#picked(parameter, place).subarray(first, first + target.length)),
        parameterColumns(parameter),
        block,
        out,
      );
      return;
    }
    const scales = this.#scalesOf(place);
    const read = (target: Float32Array, first: number): void => {
      this.#weights.readFloat32(place.tensor, target, place.first + first);
      if (scales !== undefined && this.#blocks !== undefined)
        applyScales({
          values: target,
          first: place.first + first,
          width: place.shape[1] ?? 1,
          scales,
          block: this.#blocks,
        });
    };
    readMatrixBlock(read, parameterColumns(parameter), block, out);
  }

  /**
   * A parameter that lies scattered in its tensor; the last one asked for is kept, as it is asked for block by block.
   */
  #picked(parameter: Parameter, place: TensorPlace): Float32Array {
    if (this.#last?.name !== parameter.name) {
      const read = (tensor: string, target: Float32Array, first: number): void =>
        this.#weights.readFloat32(tensor, target, first);
      this.#last = { name: parameter.name, values: readPlaced(read, place, parameter) };
    }
    return this.#last.values;
  }

  close(): void {
    this.#weights.close();
  }

  #locate(surplus: 'leave' | 'name'): string[] {
    const used = new Set<string>();
    for (const parameter of modelParameters(this.model)) {
      const places = tensorPlaces(parameter, this.model);
      const place = places.find(({ tensor }) => this.#weights.has(tensor)) ?? places[0];
      this.#checkType(place);
      this.#places.set(parameter.name, place);
      used.add(place.tensor);
      if (this.#weights.info(place.tensor).type === 'F8_E4M3') used.add(scalesOf(place.tensor));
    }
    const others = [
      ...this.#weights.names().filter((name) => !used.has(name)),
      ...this.#weights.unlisted().map(({ name }) => name),
    ];
    if (surplus === 'leave') for (const name of others.filter(isOwnPart)) this.#checkSurplus(name);
    return others.filter((name) => !this.#isOutputAgain(name));
  }

  /** The half types have one size: files that hold both can't be right. */
  #checkType(place: TensorPlace): void {
    const { type } = this.#typed(place);
    const bad = (expected: string): InputError =>
      new InputError(`tensor ${JSON.stringify(place.tensor)} is of type ${type}`, { file: this.folder, expected });
    if (type === 'F8_E4M3') {
      this.#checkScales(place);
      return;
    }
    if (!isWeightType(type)) throw bad('F32, BF16, F16, or F8_E4M3 with scales');
    if (type === 'F32') return;
    this.#half ??= type;
    if (type !== this.#half) throw bad(`${this.#half} (or F32), as the tensors before it`);
  }

  /** A missing output matrix has one likely cause. */
  #typed(place: TensorPlace): TensorInfo {
    if (place.tensor === 'lm_head.weight' && !this.#weights.has(place.tensor))
      throw new InputError(`tensor "lm_head.weight" is missing`, {
        file: this.folder,
        expected: `it with shape [${place.shape.join(', ')}]: config.json does not tie it to the embedding`,
        hint: 'if it is, config.json needs "tie_word_embeddings": true',
      });
    return this.#weights.info(place.tensor, place.shape);
  }

  #checkScales({ tensor, shape: [rows = 1, columns = 1] }: TensorPlace): void {
    if (this.#blocks === undefined)
      throw new InputError(
        `tensor ${JSON.stringify(tensor)} is of type F8_E4M3, and config.json does not say how it is scaled`,
        {
          file: this.folder,
          expected: 'quantization_config with weight_block_size',
        },
      );
    this.#weights.info(scalesOf(tensor), scaleShape([rows, columns], this.#blocks));
  }

  #scalesOf({ tensor }: TensorPlace): Float32Array | undefined {
    if (this.#weights.info(tensor).type !== 'F8_E4M3') return undefined;
    let scales = this.#scales.get(tensor);
    if (scales === undefined) {
      scales = new Float32Array(this.#weights.info(scalesOf(tensor)).elements);
      this.#weights.readFloat32(scalesOf(tensor), scales);
      this.#scales.set(tensor, scales);
    }
    return scales;
  }

  #isOutputAgain = (name: string): boolean => name === 'lm_head.weight' && this.model.tieEmbeddings;

  /** With tied embeddings some writers store the output matrix again; anything else does not belong to the model. */
  #checkSurplus(name: string): void {
    const embedding = modelParameters(this.model)[0];
    const shape = (this.#weights.has(name) ? [this.#weights.info(name)] : this.#weights.unlisted())
      .filter((one) => one.name === name)
      .flatMap((one) => one.shape);
    if (!this.#isOutputAgain(name))
      throw new InputError(
        `tensor ${JSON.stringify(name)} of shape [${shape.join(', ')}] does not belong to the model`,
        {
          file: this.folder,
          expected:
            `the tensors of a ${this.model.family} model of ${this.model.layers} layers and ` +
            `${this.model.experts} experts only`,
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

/** Throws InputError for a model whose folders nothing here computes with, naming `file`. */
export function checkComputed(model: MoeModel, file: string): void {
  try {
    checkSupported(model);
  } catch (error) {
    throw error instanceof InputError ? error.at({ file }) : error;
  }
}

/** The text of a folder's `config.json`. Throws InputError. */
export function readConfig(folder: string): string {
  const file = join(folder, 'config.json');
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw noFolder(folder, 'a Hugging Face model folder');
  const text = readText(file, 'the config.json of a Hugging Face model');
  const pointer = lfsPointerError(file, text);
  if (pointer !== undefined) throw pointer;
  return text;
}
