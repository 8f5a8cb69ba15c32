/** A Hugging Face model folder's weights: `model.safetensors`, or shards named by `model.safetensors.index.json`. */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { InputError, isRecord, shownValue } from '@monta/core/units';
import { lfsPointerError } from './lfs-pointer.js';
import type { TensorInfo } from './safetensors-header.js';
import { readJson, readText } from '../files/read-text.js';
import { SafetensorsFile } from './safetensors-reader.js';
import { realDisk, writeFileDurably, type Disk } from '../files/disk.js';
import { SafetensorsWriter, tensorBytes } from './safetensors-writer.js';
import type { TensorDeclaration } from './safetensors-writer.js';

const singleName = 'model.safetensors';
const indexName = 'model.safetensors.index.json';

const digits = (value: number): string => String(value).padStart(5, '0');

function readIndex(path: string): Map<string, string> {
  const expected = 'the JSON index of a sharded checkpoint';
  const pointer = lfsPointerError(path, readText(path, expected));
  if (pointer !== undefined) throw pointer;
  const parsed = readJson(path, expected);
  const map = isRecord(parsed) ? parsed['weight_map'] : undefined;
  if (!isRecord(map))
    throw new InputError('weight_map is missing', {
      file: path,
      expected: 'an object from tensor names to file names',
    });
  return new Map(
    Object.entries(map).map(([tensor, file]) => {
      if (typeof file !== 'string' || file !== basename(file) || !file.endsWith('.safetensors'))
        throw new InputError(`${shownValue(file)} is not a file of the folder`, {
          file: path,
          path: `weight_map[${JSON.stringify(tensor)}]`,
          expected: 'the name of a .safetensors file beside the index',
        });
      return [tensor, file];
    }),
  );
}

/** What is wrong with a folder that has neither one file of weights nor an index. */
function withoutWeights(folder: string): InputError {
  const shards = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  const what = shards.length === 0 ? 'holds no weights' : `holds ${shards.length} of its files, but no ${indexName}`;
  return new InputError(what, { file: folder, expected: `${singleName} or ${indexName} in it` });
}

/** Reads tensors of a folder by name, whichever file they lie in. Shards stay open until `close`. */
export class SafetensorsFolder {
  readonly #files = new Map<string, SafetensorsFile>();
  readonly #fileOf = new Map<string, SafetensorsFile>();
  /** Tensors of the shards that the index does not name. */
  readonly #unlisted = new Map<string, SafetensorsFile>();
  readonly #where: string;

  private constructor(where: string) {
    this.#where = where;
  }

  /**
   * Opens every shard and checks all headers; throws InputError when a file or tensor that the index names is missing,
   * or a shard holds a tensor that the index gives to another. Tensors that the index does not name at all are in
   * `unlisted`.
   */
  static open(folder: string): SafetensorsFolder {
    const single = join(folder, singleName);
    const index = join(folder, indexName);
    if (existsSync(index)) {
      const opened = new SafetensorsFolder(index);
      try {
        opened.#openShards(folder, readIndex(index), index);
      } catch (error) {
        opened.close();
        throw error;
      }
      return opened;
    }
    if (!existsSync(single)) throw withoutWeights(folder);
    const opened = new SafetensorsFolder(single);
    const file = SafetensorsFile.open(single);
    opened.#files.set(singleName, file);
    for (const name of file.header.tensors.keys()) opened.#fileOf.set(name, file);
    return opened;
  }

  #openShards(folder: string, map: ReadonlyMap<string, string>, index: string): void {
    for (const [tensor, fileName] of map) {
      let file = this.#files.get(fileName);
      if (file === undefined) {
        if (!existsSync(join(folder, fileName)))
          throw new InputError(`tensor ${JSON.stringify(tensor)}: its file ${JSON.stringify(fileName)} is missing`, {
            file: index,
            expected: 'every file that the index names beside it',
          });
        file = SafetensorsFile.open(join(folder, fileName));
        this.#files.set(fileName, file);
      }
      file.info(tensor);
      this.#fileOf.set(tensor, file);
    }
    for (const [fileName, file] of this.#files)
      for (const tensor of file.header.tensors.keys()) {
        if (!map.has(tensor)) this.#unlisted.set(tensor, file);
        else if (map.get(tensor) !== fileName)
          throw new InputError(`tensor ${JSON.stringify(tensor)} is not given to this file by ${basename(index)}`, {
            file: file.path,
            expected: 'index and shards of one checkpoint',
          });
      }
  }

  /** Paths of the weights' files. */
  files(): string[] {
    return [...this.#files.values()].map((file) => file.path);
  }

  names(): string[] {
    return [...this.#fileOf.keys()];
  }

  /** Tensors that lie in the shards though the index does not name them. */
  unlisted(): TensorInfo[] {
    return [...this.#unlisted].map(([name, file]) => file.info(name));
  }

  has(name: string): boolean {
    return this.#fileOf.has(name);
  }

  /** As `SafetensorsFile.info`. */
  info(name: string, shape?: readonly number[]): TensorInfo {
    return this.#file(name, shape).info(name, shape);
  }

  /** As `SafetensorsFile.readFloat32`. */
  readFloat32(name: string, out: Float32Array, first = 0): void {
    this.#file(name).readFloat32(name, out, first);
  }

  /** As `SafetensorsFile.readInt32`. */
  readInt32(name: string, out: Int32Array, first = 0): void {
    this.#file(name).readInt32(name, out, first);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
    this.#fileOf.clear();
  }

  #file(name: string, shape?: readonly number[]): SafetensorsFile {
    const file = this.#fileOf.get(name);
    if (file === undefined)
      throw new InputError(`tensor ${JSON.stringify(name)} is missing`, {
        file: this.#where,
        expected: shape === undefined ? 'it' : `it with shape [${shape.join(', ')}]`,
      });
    return file;
  }
}

/**
 * Declares a folder's weights and returns a writer for each shard with the tensors in it; one file when they fit
 * `maxShardBytes`. Tensors keep their order over the shards. The index is written at once; call `finish` on every
 * writer.
 */
export function createSafetensorsFolder({
  folder,
  tensors,
  maxShardBytes,
  metadata = {},
  disk = realDisk,
}: {
  readonly folder: string;
  readonly tensors: readonly TensorDeclaration[];
  readonly maxShardBytes: number;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly disk?: Disk;
}): { readonly file: string; readonly tensors: readonly TensorDeclaration[]; readonly writer: SafetensorsWriter }[] {
  const shards: TensorDeclaration[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = tensorBytes(tensor);
    if (bytes > 0 && bytes + size > maxShardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards[shards.length - 1].push(tensor);
    bytes += size;
  }
  const nameOf = (shard: number): string =>
    shards.length === 1 ? singleName : `model-${digits(shard + 1)}-of-${digits(shards.length)}.safetensors`;
  if (shards.length > 1) {
    const total = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    const weightMap = Object.fromEntries(shards.flatMap((shard, i) => shard.map(({ name }) => [name, nameOf(i)])));
    const index = { metadata: { total_size: total }, weight_map: weightMap };
    writeFileDurably(join(folder, indexName), `${JSON.stringify(index, null, 2)}\n`, disk);
  }
  // "format": "pt" is what transformers demands of a file that it loads
  const made: { file: string; tensors: TensorDeclaration[]; writer: SafetensorsWriter }[] = [];
  try {
    for (const [i, shard] of shards.entries()) {
      const writer = new SafetensorsWriter(join(folder, nameOf(i)), shard, { format: 'pt', ...metadata }, disk);
      made.push({ file: nameOf(i), tensors: shard, writer });
    }
  } catch (error) {
    for (const { writer } of made) writer.abandon();
    throw error;
  }
  return made;
}
