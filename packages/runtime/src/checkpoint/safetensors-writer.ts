/**
 * Writes one safetensors file tensor by tensor; tensors are declared first and then written in any order and in any
 * pieces.
 */
import { closeSync, openSync } from 'node:fs';
import { realDisk, type Disk } from '../files/disk.js';
import { encode, safetensorsBytes } from './safetensors-types.js';
import type { SafetensorsType } from './safetensors-types.js';

export interface TensorDeclaration {
  readonly name: string;
  readonly type: SafetensorsType;
  readonly shape: readonly number[];
}

const elementsOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Bytes of a tensor's data. */
export function tensorBytes({ type, shape }: TensorDeclaration): number {
  return elementsOf(shape) * safetensorsBytes[type];
}

interface Placed extends TensorDeclaration {
  readonly begin: number;
  written: number;
}

/** Conversion goes through a buffer of this many elements. */
const pieceElements = 1 << 17;

export class SafetensorsWriter {
  readonly #descriptor: number;
  readonly #dataStart: number;
  readonly #placed = new Map<string, Placed>();
  readonly #disk: Disk;
  #open = true;

  /**
   * Creates the file (fails when it exists) and writes its header. Data is ordered by falling element size and then
   * name, as the reference implementation does, so that every tensor is aligned to its elements. Errors of the file
   * system are thrown as they are.
   */
  constructor(
    path: string,
    tensors: readonly TensorDeclaration[],
    metadata: Readonly<Record<string, string>> = {},
    disk: Disk = realDisk,
  ) {
    this.#disk = disk;
    const header: Record<string, unknown> = {};
    if (Object.keys(metadata).length > 0) header['__metadata__'] = metadata;
    const ordered = [...tensors].sort(
      (a, b) => safetensorsBytes[b.type] - safetensorsBytes[a.type] || (a.name < b.name ? -1 : 1),
    );
    let begin = 0;
    for (const tensor of ordered) {
      if (this.#placed.has(tensor.name) || tensor.name === '__metadata__')
        throw new RangeError(
          `tensor ${tensor.name} can't be declared ${tensor.name === '__metadata__' ? '' : 'twice'}`,
        );
      this.#placed.set(tensor.name, { ...tensor, begin, written: 0 });
      const end = begin + tensorBytes(tensor);
      header[tensor.name] = { dtype: tensor.type, shape: tensor.shape, data_offsets: [begin, end] };
      begin = end;
    }
    let json = JSON.stringify(header);
    json += ' '.repeat((8 - (Buffer.byteLength(json) % 8)) % 8);
    const bytes = Buffer.alloc(8 + Buffer.byteLength(json));
    bytes.writeBigUInt64LE(BigInt(bytes.length - 8));
    bytes.write(json, 8);
    this.#dataStart = bytes.length;
    this.#descriptor = openSync(path, 'wx');
    try {
      this.#writeAll(bytes, 0);
    } catch (error) {
      closeSync(this.#descriptor);
      throw error;
    }
  }

  /** Writes `values` at element `first` of a tensor, converted to its type. */
  write(name: string, values: Float32Array | Int32Array, first = 0): void {
    const tensor = this.#placed.get(name);
    if (tensor === undefined) throw new RangeError(`tensor ${name} was not declared`);
    if (first < 0 || first + values.length > elementsOf(tensor.shape))
      throw new RangeError(
        `tensor ${name}: elements ${first}..${first + values.length} of ${elementsOf(tensor.shape)}`,
      );
    const size = safetensorsBytes[tensor.type];
    for (let at = 0; at < values.length; at += pieceElements) {
      const piece = values.subarray(at, at + pieceElements);
      const bytes = new Uint8Array(piece.length * size);
      encode(tensor.type, piece, bytes);
      this.#writeAll(bytes, this.#dataStart + tensor.begin + (first + at) * size);
    }
    tensor.written += values.length;
  }

  /** Flushes to the disk and closes. Throws when a tensor was not written in full. */
  finish(): void {
    for (const { name, shape, written } of this.#placed.values())
      if (written !== elementsOf(shape)) {
        this.abandon();
        throw new RangeError(`tensor ${name}: ${written} of ${elementsOf(shape)} elements were written`);
      }
    try {
      this.#disk.sync(this.#descriptor);
    } finally {
      this.abandon();
    }
  }

  /** Closes without the checks of `finish`, after an error; the file is incomplete. Does nothing to a closed file. */
  abandon(): void {
    if (this.#open) closeSync(this.#descriptor);
    this.#open = false;
  }

  #writeAll(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length;)
      done += this.#disk.write(this.#descriptor, bytes, done, bytes.length - done, position + done);
  }
}
