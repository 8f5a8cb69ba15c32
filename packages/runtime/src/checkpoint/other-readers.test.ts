/**
 * What training writes, read by packages that share no code with ours: bit-equal to the weights that the ranks hold.
 */
import { builtTesting } from '../../testing/built.js';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { completeModel, readHfConfig, resolveLayout, type ModelShape } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { launchLocal } from '../launch/index.js';
import { convertCheckpoint } from './convert.js';
import type { ExportJob, ExportResult } from '../../testing/checkpoint/export.worker.js';
import type { WeightType } from './hugging-face-config.js';
import { toBfloat16, toFloat16 } from '../device/half.js';
import { modelParameters } from './tensor-source.js';
import { stepOf, type PlainTensor } from '../../testing/checkpoint/tensors.js';
import { readAsHub, readNumbers } from '../../testing/checkpoint/readers.js';
import { configSchemas } from '../../testing/checkpoint/schemas.js';
import { stepFolderName } from './training-state.js';

const shape: ModelShape = {
  name: 'small',
  hiddenSize: 16,
  layers: 2,
  attentionHeads: 4,
  keyValueHeads: 2,
  vocabSize: 40,
  experts: 4,
  topK: 2,
  expertFfn: 8,
};

const models = {
  mixtral: completeModel({ ...shape, family: 'mixtral', tieEmbeddings: true }),
  qwen3_moe: completeModel({
    ...shape,
    family: 'qwen3_moe',
    qkNorm: 'perHead',
    headDim: 6,
    moeLayers: [false, true],
    denseFfn: 12,
    normTopK: false,
  }),
  olmoe: completeModel({ ...shape, family: 'olmoe', qkNorm: 'allHeads', normTopK: false, clipQkv: 8 }),
} as const;

const forms = {
  whole: { type: 'F32' },
  shards: { type: 'F32', maxShardBytes: 4000 },
  bfloat: { type: 'BF16', maxShardBytes: 2000 },
  half: { type: 'F16' },
  halves: { type: 'F16', maxShardBytes: 2000 },
} as const satisfies ExportJob['forms'];

/**
 * A weight's bits as a type stores them, little-endian. That rounding is to nearest even is tested where it is defined.
 */
function bits(values: Float32Array, type: WeightType): Buffer {
  const out = Buffer.alloc(values.length * (type === 'F32' ? 4 : 2));
  values.forEach((value, i) => {
    if (type === 'F32') out.writeFloatLE(value, 4 * i);
    else out.writeUInt16LE(type === 'BF16' ? toBfloat16(value) : toFloat16(value), 2 * i);
  });
  return out;
}

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-export-'));
  if (!('Float16Array' in globalThis)) vi.stubGlobal('Float16Array', Uint16Array);
});
afterAll(() => {
  vi.unstubAllGlobals();
  rmSync(folder, { recursive: true });
});

describe.each(['mixtral', 'qwen3_moe', 'olmoe'] as const)('%s, trained on four ranks', (family) => {
  const model = models[family];
  const layout = resolveLayout({ tp: 2, dp: 2, ep: 2 });
  const steps = 3;
  let before: ReadonlyMap<string, Float32Array> = new Map();
  let trained: ReadonlyMap<string, Float32Array> = new Map();
  let at = '';

  beforeAll(async () => {
    at = join(folder, family);
    const workerData: ExportJob = { step: stepOf(model, layout), steps, folder: at, forms };
    const [result] = (await launchLocal({
      ranks: 4,
      memoryBytes: 1 << 22,
      workerModule: builtTesting('checkpoint/export.worker'),
      workerData,
    })) as ExportResult[];
    if (result === undefined) throw new Error('no rank returned');
    trained = result.after;
    before = result.before;
  });

  /**
   * Names of the tensors that a reader finds missing, misplaced, mis-shaped or with other bits than the trained ones.
   */
  async function differences(where: string, type: WeightType): Promise<string[]> {
    const { tensors, files, parameters } = await readAsHub(where);
    expect(files.length).toBe(readdirSync(where).filter((name) => name.endsWith('.safetensors')).length);
    expect(parameters).toEqual({ [type]: [...trained.values()].reduce((sum, { length }) => sum + length, 0) });
    const numbers = type === 'BF16' ? tensors : new Map(files.flatMap((file) => [...readNumbers(join(where, file))]));
    const shapes = new Map(modelParameters(model).map((parameter) => [parameter.name, parameter.shape.join()]));
    const equal = (name: string, read: PlainTensor | undefined): boolean =>
      read !== undefined &&
      read.dtype === type &&
      read.shape.join() === shapes.get(name) &&
      read.bytes.equals(bits(trained.get(name) ?? new Float32Array(), type));
    const names = new Set([...trained.keys(), ...tensors.keys(), ...numbers.keys()]);
    return [...names].filter((name) => !equal(name, tensors.get(name)) || !equal(name, numbers.get(name)));
  }

  it('has learned: no tensor is as it was', () => {
    expect(trained.size).toBeGreaterThan(0);
    const unchanged = [...trained].filter(([name, values]) =>
      bits(values, 'F32').equals(bits(before.get(name) ?? values, 'F32')),
    );
    expect(unchanged).toEqual([]);
  });

  it.each(Object.entries(forms))('written by its ranks as %s %j', async (name, form) => {
    const where = join(at, name);
    expect(await differences(where, form.type)).toEqual([]);
    expect(readdirSync(where).includes('model.safetensors.index.json')).toBe('maxShardBytes' in form);
  });

  it.each(['F32', 'BF16', 'F16'] as const)('converted from its training state to %s', async (type) => {
    const where = join(at, `converted-${type}`);
    convertCheckpoint(join(at, 'states', stepFolderName(steps)), where, { type, maxShardBytes: 3000 });
    expect(await differences(where, type)).toEqual([]);
  });

  it.each(Object.keys(forms))('with a config of the family and of the model: %s', (name) => {
    const path = join(at, name, 'config.json');
    const text = readFileSync(path, 'utf8');
    expect(configSchemas[family].safeParse(JSON.parse(text)).error).toBeUndefined();
    const { name: _, denseFfn: __, ...read } = readHfConfig(text, path);
    const { name: ___, denseFfn: ____, ...expected } = model;
    expect(read).toEqual({ ...expected, maxPositions: 4096 });
  });
});
