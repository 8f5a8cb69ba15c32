/**
 * Writes Hugging Face model folders, one tensor or a few of its rows at a time; the folder appears when it is complete.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '@monta/core/units';
import type { MoeModel, Parameter } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { ParameterStore } from '../execute/index.js';
import { copyFileDurably, realDisk, writeFileDurably, type Disk } from '../files/disk.js';
import { SaveError } from './save-error.js';
import { asHuggingFace, huggingFaceConfig, withWeightType, type WeightType } from './hugging-face-config.js';
import { abandonFolder, beginFolder, commitFolder } from './saved-folder.js';
import { createSafetensorsFolder } from './safetensors-folder.js';
import type { SafetensorsWriter } from './safetensors-writer.js';
import { sealFile, unsealed } from './seal.js';
import {
  blockElements,
  modelParameters,
  parameterColumns,
  parameterRows,
  rowPieces,
  type TensorSource,
} from './tensor-source.js';

export interface HuggingFaceOutput {
  /** Must not exist, or be empty. */
  readonly folder: string;
  readonly model: MoeModel;
  readonly type: WeightType;
  /**
   * Weights are cut into files of at most this many bytes of data (a larger tensor has its own). Default: 5 GB, as in
   * transformers.
   */
  readonly maxShardBytes?: number;
  /**
   * The folder that the model came from: its `config.json` is kept (but for the type), its tokenizer files come along.
   */
  readonly origin?: { readonly folder: string; readonly config: string };
  readonly disk?: Disk;
}

const defaultShardBytes = 5e9;

/** What tells of the model besides config and weights, and belongs to it. */
const companion =
  /^(?:tokenizer.*|vocab.*|merges\.txt|added_tokens\.json|special_tokens_map\.json|generation_config\.json|chat_template.*|LICENSE.*)$/u;

/** A folder being written: `write` every parameter in full, then `finish`; `abandon` after an error. */
class HuggingFaceWriter {
  readonly #output: HuggingFaceOutput;
  readonly #disk: Disk;
  readonly #aside: string;
  readonly #shards: readonly { readonly file: string; readonly writer: SafetensorsWriter }[];
  /** By parameter of the model as it is known here: the exported name and its shard. */
  readonly #places = new Map<string, { readonly tensor: string; readonly writer: SafetensorsWriter }>();

  /**
   * Throws InputError when the folder holds something or no family describes the model, SaveError when the disk
   * refuses.
   */
  constructor(output: HuggingFaceOutput) {
    const { folder, model, type, maxShardBytes = defaultShardBytes, origin, disk = realDisk } = output;
    const exported = asHuggingFace(model);
    checkFree(folder);
    this.#output = output;
    this.#disk = disk;
    try {
      this.#aside = beginFolder(folder);
      const config = origin === undefined ? huggingFaceConfig(model, type) : withWeightType(origin.config, type);
      writeFileDurably(join(this.#aside, 'config.json'), config, disk);
      const list = modelParameters(exported);
      const declared = list.map(({ name, shape }) => ({ name, type, shape }));
      const shards = createSafetensorsFolder({
        folder: this.#aside,
        tensors: declared,
        maxShardBytes,
        metadata: unsealed,
        disk,
      });
      this.#shards = shards;
      const writers = new Map(
        shards.flatMap(({ tensors, writer }) => tensors.map(({ name }) => [name, writer] as const)),
      );
      modelParameters(model).forEach(({ name }, i) => {
        const tensor = list[i].name;
        const writer = writers.get(tensor);
        if (writer !== undefined) this.#places.set(name, { tensor, writer });
      });
    } catch (error) {
      abandonFolder(folder);
      throw this.#failure(error);
    }
  }

  /** Elements of a parameter from `first` on, converted to the folder's type. */
  write(parameter: string, values: Float32Array, first = 0): void {
    const place = this.#places.get(parameter);
    if (place === undefined) throw new Error(`the model has no parameter ${parameter}`);
    this.#guarded(() => {
      if (this.#output.type === 'F16') checkHalfRange(place.tensor, values);
      place.writer.write(place.tensor, values, first);
    });
  }

  /** Flushes, adds digests, and gives the folder its name. */
  finish(): void {
    const { folder, origin } = this.#output;
    this.#guarded(() => {
      for (const { file, writer } of this.#shards) {
        writer.finish();
        sealFile(join(this.#aside, file), this.#disk);
      }
      if (origin !== undefined)
        for (const name of readdirSync(origin.folder).filter((file) => companion.test(file)))
          copyFileDurably(join(origin.folder, name), join(this.#aside, name), this.#disk);
      commitFolder(folder, this.#disk);
    });
  }

  abandon(): void {
    for (const { writer } of this.#shards) writer.abandon();
    abandonFolder(this.#output.folder);
  }

  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.abandon();
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): unknown {
    const code = (error as NodeJS.ErrnoException | null)?.code;
    return code === undefined
      ? error
      : new SaveError(`model folder ${this.#output.folder} was not written`, error, 'Nothing of it is left');
  }
}

/** From here on float16 rounds to infinity. */
const halfLimit = 65520;

function checkHalfRange(tensor: string, values: Float32Array): void {
  const large = values.find((value) => Math.abs(value) >= halfLimit && Number.isFinite(value));
  if (large !== undefined)
    throw new InputError(`tensor "${tensor}" holds ${large}, which float16 can't`, {
      expected: `values below ${halfLimit}`,
      hint: 'write bf16 or f32 instead',
    });
}

function checkFree(folder: string): void {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat !== undefined && (!stat.isDirectory() || readdirSync(folder).length > 0))
    throw new InputError('exists already', { file: folder, expected: 'a new folder', hint: 'choose another name' });
}

/** Writes the weights of any source, a few rows at a time. */
export function exportModel(source: TensorSource, output: Omit<HuggingFaceOutput, 'model'>): void {
  const writer = new HuggingFaceWriter({ ...output, model: source.model });
  try {
    for (const parameter of modelParameters(source.model)) writePieces(writer, source, parameter);
  } catch (error) {
    writer.abandon();
    throw error;
  }
  writer.finish();
}

function writePieces(writer: HuggingFaceWriter, source: TensorSource, parameter: Parameter): void {
  const columns = parameterColumns(parameter);
  const whole = { firstRow: 0, endRow: parameterRows(parameter), firstColumn: 0, endColumn: columns };
  for (const piece of rowPieces(whole)) {
    const values = new Float32Array(blockElements(piece));
    source.readBlock(parameter, 'weight', piece, values);
    writer.write(parameter.name, values, piece.firstRow * columns);
  }
}

/** Writes the weights of a job; every rank calls it, rank 0 writes. One tensor is put together at a time. */
export function exportRanks(store: ParameterStore, endpoint: Endpoint, output: Omit<HuggingFaceOutput, 'model'>): void {
  const writer = store.rank === 0 ? new HuggingFaceWriter({ ...output, model: store.step.model }) : undefined;
  try {
    for (const { name } of store.list) {
      for (const full of store.gather([name], 'weight', endpoint).values()) writer?.write(name, full);
    }
  } catch (error) {
    writer?.abandon();
    throw error;
  }
  writer?.finish();
}
