/** Reads one safetensors file tensor by tensor; never holds more than the header and what was asked for. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { InputError } from '@monta/core/units';
import { describeCause } from '../files/errno.js';
import { lfsPointerError } from './lfs-pointer.js';
import { maxHeaderBytes, parseHeader } from './safetensors-header.js';
import type { SafetensorsHeader, TensorInfo } from './safetensors-header.js';
import { decodeToFloat32, decodeToInt32, safetensorsBytes } from './safetensors-types.js';

/** Conversion goes through a buffer of this many bytes. */
const pieceBytes = 1 << 20;

export class SafetensorsFile {
  readonly path: string;
  readonly header: SafetensorsHeader;
  readonly #descriptor: number;
  readonly #dataStart: number;

  private constructor(path: string, descriptor: number, header: SafetensorsHeader, dataStart: number) {
    this.path = path;
    this.header = header;
    this.#descriptor = descriptor;
    this.#dataStart = dataStart;
  }

  /**
   * Opens and checks the header. Throws InputError for unreadable, truncated and malformed files. Close it afterwards.
   */
  static open(path: string): SafetensorsFile {
    let descriptor: number;
    try {
      descriptor = openSync(path, 'r');
    } catch (error) {
      throw new InputError(`can't be opened: ${describeCause(error)}`, {
        file: path,
        expected: 'a readable safetensors file',
      });
    }
    try {
      const stat = fstatSync(descriptor);
      if (!stat.isFile()) throw new InputError('is not a file', { file: path, expected: 'a safetensors file' });
      const { size } = stat;
      if (size < 8)
        throw new InputError(`has ${size} bytes, too few for a header length: it is truncated`, {
          file: path,
          expected: 'a safetensors file',
        });
      const prefix = readFully({ file: path, descriptor, position: 0, length: 8, what: 'header length' });
      const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
      if (length > BigInt(maxHeaderBytes)) refusePointer(path, descriptor, size);
      if (length > BigInt(maxHeaderBytes))
        throw new InputError(`the header's length is ${length} bytes`, {
          file: path,
          expected: `at most ${maxHeaderBytes}: is this a safetensors file?`,
        });
      const headerBytes = Number(length);
      if (8 + headerBytes > size)
        throw new InputError(`the header takes ${headerBytes} bytes, the file has ${size}: it is truncated`, {
          file: path,
          expected: 'a complete file',
        });
      const json = readFully({ file: path, descriptor, position: 8, length: headerBytes, what: 'header' });
      const header = parseHeader(path, json, size - 8 - headerBytes);
      return new SafetensorsFile(path, descriptor, header, 8 + headerBytes);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Throws InputError when there is no such tensor, or its shape is not the one expected. */
  info(name: string, shape?: readonly number[]): TensorInfo {
    const info = this.header.tensors.get(name);
    if (info === undefined)
      throw new InputError(`tensor ${JSON.stringify(name)} is missing`, {
        file: this.path,
        expected: shape === undefined ? 'it' : `it with shape [${shape.join(', ')}]`,
      });
    if (shape !== undefined && (shape.length !== info.shape.length || shape.some((size, i) => size !== info.shape[i])))
      throw new InputError(`tensor ${JSON.stringify(name)} has shape [${info.shape.join(', ')}]`, {
        file: this.path,
        expected: `[${shape.join(', ')}]`,
      });
    return info;
  }

  /**
   * `count` elements from element `first` of the flattened F32, BF16, F16 or F8_E4M3 tensor; `out` may be a part of a
   * larger array.
   */
  readFloat32(name: string, out: Float32Array, first = 0): void {
    this.#read(name, out.length, first, (info, bytes, at, count) => {
      decodeToFloat32(info.type, bytes, out.subarray(at, at + count));
    });
  }

  /** The same for I32 and I64 tensors. */
  readInt32(name: string, out: Int32Array, first = 0): void {
    this.#read(name, out.length, first, (info, bytes, at, count) => {
      decodeToInt32(info.type, bytes, out.subarray(at, at + count));
    });
  }

  #read(
    name: string,
    count: number,
    first: number,
    decode: (info: TensorInfo, bytes: Uint8Array, at: number, count: number) => void,
  ): void {
    const info = this.info(name);
    if (first < 0 || first + count > info.elements)
      throw new RangeError(`tensor ${name}: elements ${first}..${first + count} of ${info.elements}`);
    const size = safetensorsBytes[info.type];
    for (let at = 0; at < count; at += pieceBytes / size) {
      const piece = Math.min(count - at, pieceBytes / size);
      const position = this.#dataStart + info.begin + (first + at) * size;
      const bytes = readFully({
        file: this.path,
        descriptor: this.#descriptor,
        position,
        length: piece * size,
        what: `tensor ${JSON.stringify(name)}`,
      });
      try {
        decode(info, bytes, at, piece);
      } catch (error) {
        throw new InputError(`tensor ${JSON.stringify(name)}: ${describeCause(error)}`, { file: this.path });
      }
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** Longer than any pointer. */
const pointerBytes = 1024;

function refusePointer(path: string, descriptor: number, size: number): void {
  const start = readFully({ file: path, descriptor, position: 0, length: Math.min(size, pointerBytes), what: 'start' });
  const pointer = lfsPointerError(path, new TextDecoder().decode(start));
  if (pointer !== undefined) throw pointer;
}

function readFully({
  file,
  descriptor,
  position,
  length,
  what,
}: {
  readonly file: string;
  readonly descriptor: number;
  readonly position: number;
  readonly length: number;
  readonly what: string;
}): Uint8Array {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    let got: number;
    try {
      got = readSync(descriptor, bytes, done, length - done, position + done);
    } catch (error) {
      throw new InputError(`${what} can't be read: ${describeCause(error)}`, { file });
    }
    if (got === 0)
      throw new InputError(`${what} ends after ${done} of ${length} bytes: the file is truncated`, { file });
    done += got;
  }
  return bytes;
}
