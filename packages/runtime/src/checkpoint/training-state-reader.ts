/**
 * Reads a training state under any layout: puts blocks of parameters together from the shards of the ranks that wrote
 * it.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError, isRecord, shownValue } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import type { MoeModel, Parameter } from '@monta/core';
import type { OpenOptions } from './hugging-face-folder.js';
import { checkManifest, type Manifest } from './manifest.js';
import { readText } from '../files/read-text.js';
import { SafetensorsFile } from './safetensors-reader.js';
import {
  modelParameters,
  parameterColumns,
  parameterRows,
  readMatrixBlock,
  type Block,
  type StateKind,
  type TensorSource,
} from './tensor-source.js';
import {
  blockShape,
  parseState,
  rankFileName,
  stateName,
  stateTensorName,
  type TrainingState,
} from './training-state.js';

interface Piece {
  readonly file: SafetensorsFile;
  readonly block: Block;
}

/** Versions before this one wrote the text of the run into it. */
const mostStateBytes = 2 ** 28;

const sameShape = (shape: unknown, expected: readonly number[]): boolean =>
  Array.isArray(shape) && shape.length === expected.length && expected.every((size, i) => shape[i] === size);

const isRange = (value: unknown): value is [number, number] =>
  Array.isArray(value) && value.length === 2 && value.every((end) => Number.isSafeInteger(end) && Number(end) >= 0);

/** A complete training state. Close it after use. */
export class TrainingStateFolder implements TensorSource {
  readonly folder: string;
  readonly state: TrainingState;
  readonly model: MoeModel;
  readonly kinds: readonly StateKind[];
  readonly manifest: Manifest;
  readonly #files: SafetensorsFile[] = [];
  readonly #pieces = new Map<string, Piece[]>();

  private constructor(folder: string, manifest: Manifest) {
    this.folder = folder;
    this.manifest = manifest;
    const file = join(folder, stateName);
    if (!manifest.has(stateName)) throw new InputError('is missing from the checkpoint', { file, expected: 'it' });
    this.state = parseState(readText(file, 'a training state', mostStateBytes), file);
    this.model = this.state.model;
    this.kinds = this.state.states;
    try {
      this.#openFiles();
      this.#checkCoverage();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Opens a step folder; refuses incomplete and damaged ones with an InputError that names the file or the tensor. */
  static open(folder: string, { verify = true }: OpenOptions = {}): TrainingStateFolder {
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
      throw new InputError('there is no such folder', { file: folder, expected: 'a training state' });
    return new TrainingStateFolder(folder, checkManifest(folder, verify));
  }

  readBlock(parameter: Parameter, kind: StateKind, block: Block, out: Float32Array): void {
    const tensor = stateTensorName(kind, parameter.name);
    const pieces = this.#pieces.get(tensor);
    if (pieces === undefined) throw new Error(`the state holds no ${tensor}`);
    const columns = block.endColumn - block.firstColumn;
    for (const piece of pieces) {
      const common = intersection(block, piece.block);
      if (common === undefined) continue;
      const width = piece.block.endColumn - piece.block.firstColumn;
      const inside: Block = {
        firstRow: common.firstRow - piece.block.firstRow,
        endRow: common.endRow - piece.block.firstRow,
        firstColumn: common.firstColumn - piece.block.firstColumn,
        endColumn: common.endColumn - piece.block.firstColumn,
      };
      const read = (target: Float32Array, first: number): void => piece.file.readFloat32(tensor, target, first);
      const rows = common.endRow - common.firstRow;
      const commonColumns = common.endColumn - common.firstColumn;
      const at = (common.firstRow - block.firstRow) * columns;
      if (commonColumns === columns) {
        readMatrixBlock(read, width, inside, out.subarray(at, at + rows * columns));
        continue;
      }
      const values = new Float32Array(rows * commonColumns);
      readMatrixBlock(read, width, inside, values);
      for (let row = 0; row < rows; row++)
        out.set(
          values.subarray(row * commonColumns, (row + 1) * commonColumns),
          at + row * columns + common.firstColumn - block.firstColumn,
        );
    }
  }

  close(): void {
    for (const file of this.#files) file.close();
    this.#files.length = 0;
  }

  #openFiles(): void {
    const byName = new Map(modelParameters(this.model).map((parameter) => [parameter.name, parameter]));
    const ranks = worldSize(this.state.layout);
    for (let rank = 0; rank < ranks; rank++) {
      const name = rankFileName(rank, ranks);
      const path = join(this.folder, name);
      if (!this.manifest.has(name))
        throw new InputError('is missing from the checkpoint', { file: path, expected: 'it' });
      const file = SafetensorsFile.open(path);
      this.#files.push(file);
      const slices = readSlices(file, byName);
      for (const [tensor, info] of file.header.tensors) {
        const slash = tensor.indexOf('/');
        const kind = this.kinds.find((known) => known === tensor.slice(0, slash));
        const parameter = byName.get(tensor.slice(slash + 1));
        const block = slices.get(tensor.slice(slash + 1));
        if (kind === undefined || parameter === undefined || block === undefined)
          throw new InputError(`tensor ${JSON.stringify(tensor)} does not belong to the state`, {
            file: path,
            expected: `${this.kinds.join(', ')} of the model's parameters, with a slice in the header`,
          });
        file.info(tensor, blockShape(parameter, block));
        if (info.type !== 'F32')
          throw new InputError(`tensor ${JSON.stringify(tensor)} is of type ${info.type}`, {
            file: path,
            expected: 'F32',
          });
        const pieces = this.#pieces.get(tensor) ?? [];
        pieces.push({ file, block });
        this.#pieces.set(tensor, pieces);
      }
    }
  }

  /** The shards of every tensor must cover it without holes and overlaps: in rows or in columns, one after another. */
  #checkCoverage(): void {
    for (const parameter of modelParameters(this.model))
      for (const kind of this.kinds) {
        const tensor = stateTensorName(kind, parameter.name);
        const pieces = this.#pieces.get(tensor);
        if (pieces === undefined)
          throw new InputError(`tensor ${JSON.stringify(tensor)} is missing`, {
            file: this.folder,
            expected: `it with shape [${parameter.shape.join(', ')}]`,
          });
        const [rows, columns] = [parameterRows(parameter), parameterColumns(parameter)];
        const covered = (
          first: keyof Block,
          end: keyof Block,
          length: number,
          whole: (block: Block) => boolean,
        ): boolean => {
          let at = 0;
          for (const { block } of [...pieces].sort((a, b) => a.block[first] - b.block[first])) {
            if (!whole(block) || block[first] !== at) return false;
            at = block[end];
          }
          return at === length;
        };
        const byRows = covered('firstRow', 'endRow', rows, (b) => b.firstColumn === 0 && b.endColumn === columns);
        if (!byRows && !covered('firstColumn', 'endColumn', columns, (b) => b.firstRow === 0 && b.endRow === rows))
          throw new InputError(`tensor ${JSON.stringify(tensor)}: its shards do not cover it once`, {
            file: this.folder,
            expected: `shards that make up shape [${parameter.shape.join(', ')}]`,
          });
      }
  }
}

function intersection(a: Block, b: Block): Block | undefined {
  const common: Block = {
    firstRow: Math.max(a.firstRow, b.firstRow),
    endRow: Math.min(a.endRow, b.endRow),
    firstColumn: Math.max(a.firstColumn, b.firstColumn),
    endColumn: Math.min(a.endColumn, b.endColumn),
  };
  return common.firstRow < common.endRow && common.firstColumn < common.endColumn ? common : undefined;
}

/** Where the shards of a file lie in their full tensors. */
function readSlices(file: SafetensorsFile, byName: ReadonlyMap<string, Parameter>): Map<string, Block> {
  const bad = (message: string): InputError =>
    new InputError(message, {
      file: file.path,
      expected: 'slices in the metadata of its header, as docs/checkpoints.md says',
    });
  let parsed: unknown;
  try {
    parsed = JSON.parse(file.header.metadata['slices'] ?? '');
  } catch {
    throw bad('has no slices');
  }
  if (!isRecord(parsed)) throw bad('has no slices');
  const slices = new Map<string, Block>();
  for (const [name, slice] of Object.entries(parsed)) {
    const parameter = byName.get(name);
    const { shape, rows, columns } = isRecord(slice) ? slice : {};
    if (parameter === undefined || !sameShape(shape, parameter.shape))
      throw bad(
        `tensor ${JSON.stringify(name)} of shape ${shownValue(shape)} is not the model's: ` +
          (parameter === undefined ? 'it has none' : `[${parameter.shape.join(', ')}]`),
      );
    if (!isRange(rows) || !isRange(columns) || rows[0] > rows[1] || columns[0] > columns[1])
      throw bad(`tensor ${JSON.stringify(name)} has no range of rows and columns`);
    slices.set(name, { firstRow: rows[0], endRow: rows[1], firstColumn: columns[0], endColumn: columns[1] });
  }
  return slices;
}
