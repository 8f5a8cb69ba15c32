/**
 * What the tests of checkpoints share: a small model, tensors in memory, and a reader of safetensors that shares no
 * code with ours.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  completeModel,
  Random,
  resolveLayout,
  type Layout,
  type MoeModel,
  type PartialLayout,
  type StepShape,
} from '@monta/core';
import {
  blockElements,
  modelParameters,
  parameterColumns,
  parameterElements,
  stateKinds,
  type StateKind,
  type TensorSource,
} from '#runtime/checkpoint/tensor-source.js';

export const smallModel: MoeModel = completeModel({
  name: 'small',
  family: 'qwen3_moe',
  hiddenSize: 8,
  layers: 2,
  attentionHeads: 4,
  keyValueHeads: 2,
  headDim: 6,
  vocabSize: 21,
  experts: 4,
  topK: 2,
  expertFfn: 4,
  denseFfn: 12,
  moeLayers: [false, true],
  qkNorm: 'perHead',
});

export const layoutOf = (partial: PartialLayout): Layout => resolveLayout(partial);

export const stepOf = (model: MoeModel, layout: Layout): StepShape => ({
  model,
  layout,
  sequence: 8,
  sequences: 2,
  microBatches: 1,
  dtype: 'f32',
  strategy: { dispatch: 'sliced', combine: 'sliced', chunks: { forward: 1, backward: 1 } },
});

export type Tensors = ReadonlyMap<string, Float32Array>;

/** Seeded full tensors of a model, under `kind/name`. */
export function randomTensors(model: MoeModel, seed: number, kinds: readonly StateKind[] = stateKinds): Tensors {
  const random = new Random(seed);
  return new Map(
    kinds.flatMap((kind) =>
      modelParameters(model).map((parameter) => [
        `${kind}/${parameter.name}`,
        new Float32Array(parameterElements(parameter)).map(() => random.normal()),
      ]),
    ),
  );
}

/** Full tensors as a source. */
export const memorySource = (
  model: MoeModel,
  tensors: Tensors,
  kinds: readonly StateKind[] = stateKinds,
): TensorSource => ({
  model,
  kinds,
  readBlock: (parameter, kind, { firstRow, endRow, firstColumn, endColumn }, out) => {
    const full = tensors.get(`${kind}/${parameter.name}`) ?? new Float32Array();
    const width = parameterColumns(parameter);
    let at = 0;
    for (let row = firstRow; row < endRow; row++)
      for (let column = firstColumn; column < endColumn; column++) out[at++] = full[row * width + column];
  },
  close: () => undefined,
});

/** All full tensors of a source. */
export function readAll(source: TensorSource): Map<string, Float32Array> {
  const all = new Map<string, Float32Array>();
  for (const kind of source.kinds)
    for (const parameter of modelParameters(source.model)) {
      const endColumn = parameterColumns(parameter);
      const block = { firstRow: 0, endRow: parameter.shape[0], firstColumn: 0, endColumn };
      const out = new Float32Array(blockElements(block));
      source.readBlock(parameter, kind, block, out);
      all.set(`${kind}/${parameter.name}`, out);
    }
  return all;
}

const bytesOf = (data: Float32Array): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/** Whether two sets of tensors have the same names and bits. */
export function sameBits(a: Tensors, b: Tensors): boolean {
  return (
    a.size === b.size &&
    [...a].every(([name, data]) => bytesOf(data).equals(bytesOf(b.get(name) ?? new Float32Array(0))))
  );
}

export interface PlainTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** As stored. */
  readonly bytes: Buffer;
}

/** Reads a safetensors file whole, by the format's definition alone: u64 length, JSON, data. */
export function readPlainly(path: string): Map<string, PlainTensor> {
  const file = readFileSync(path);
  const data = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, data)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [begin, end],
          },
        ]) => [name, { dtype, shape, bytes: file.subarray(data + begin, data + end) }],
      ),
  );
}

/** All tensors of a model folder, read plainly, whatever its files are called. */
export function readFolderPlainly(folder: string): Map<string, PlainTensor> {
  const files = readdirSync(folder).filter((name) => name.startsWith('model') && name.endsWith('.safetensors'));
  return new Map(files.flatMap((name) => [...readPlainly(join(folder, name))]));
}
