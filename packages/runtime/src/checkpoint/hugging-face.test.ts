import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { completeModel, readHfConfig, type MoeModel, type ModelShape } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertCheckpoint } from './convert.js';
import { HuggingFaceFolder } from './hugging-face-folder.js';
import { exportModel } from './hugging-face-writer.js';
import { pieceElements, type TensorSource } from './tensor-source.js';
import { writeTrainingState } from './training-state-writer.js';
import { SafetensorsWriter } from './safetensors-writer.js';
import { fromBfloat16, fromFloat16 } from '../device/half.js';
import {
  layoutOf,
  memorySource,
  randomTensors,
  readAll,
  readFolderPlainly,
  readPlainly,
  sameBits,
  type PlainTensor,
} from '../../testing/checkpoint/tensors.js';

const fixtures = fileURLToPath(new URL('../../../../fixtures/hf/', import.meta.url));
const families = ['tiny-mixtral', 'tiny-qwen3-moe', 'tiny-olmoe'] as const;

let folder = '';
let made = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-hf-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const fresh = (): string => join(folder, String(made++));

const configText = (at: string): string => readFileSync(join(at, 'config.json'), 'utf8');

const bitsOf = (tensors: ReadonlyMap<string, PlainTensor>) =>
  Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, bytes }]) => [name, [dtype, shape.join(), bytes.toString('hex')]]),
  );

describe.each(families)('%s', (name) => {
  it('comes back bit-equal by way of training states of several layouts, in one file and in shards', () => {
    const original = bitsOf(readFolderPlainly(join(fixtures, name)));
    let from = join(fixtures, name);
    for (const layout of [{ tp: 2, dp: 2, ep: 2 }, { tp: 4 }, { dp: 4, ep: 4 }, { tp: 2, dp: 2, ep: 4, etp: 1 }]) {
      const to = fresh();
      convertCheckpoint(from, to, { layout: layoutOf(layout) });
      from = to;
    }
    const [whole, shards] = [fresh(), fresh()];
    convertCheckpoint(from, whole);
    convertCheckpoint(from, shards, { maxShardBytes: 20_000 });
    expect(readdirSync(whole).sort()).toEqual(['config.json', 'model.safetensors']);
    expect(
      readdirSync(shards).filter((file) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(file)).length,
    ).toBeGreaterThan(3);
    expect(bitsOf(readFolderPlainly(whole))).toEqual(original);
    expect(bitsOf(readFolderPlainly(shards))).toEqual(original);
    const opened = HuggingFaceFolder.open(shards);
    expect(opened.sealed).toBe(true);
    opened.close();
    const like = fresh();
    convertCheckpoint(from, like, { like: join(fixtures, name) });
    expect(configText(like)).toBe(configText(join(fixtures, name)));
    expect(readdirSync(like)).toContain('generation_config.json');
    const other = families[(families.indexOf(name) + 1) % families.length];
    expect(() => convertCheckpoint(from, fresh(), { like: join(fixtures, other) })).toThrow('is of another model');
    const { name: _, ...model } = readConfig(join(whole, 'config.json'));
    const { name: __, ...given } = readConfig(join(fixtures, name, 'config.json'));
    expect(model).toEqual(given);
  });

  it('is rounded to bf16 and f16, and its config keeps everything but the type', () => {
    const original = readFolderPlainly(join(fixtures, name));
    for (const [type, torch, decode, ulp] of [
      ['BF16', 'bfloat16', fromBfloat16, 2 ** -8],
      ['F16', 'float16', fromFloat16, 2 ** -11],
    ] as const) {
      const to = fresh();
      convertCheckpoint(join(fixtures, name), to, { type });
      for (const [tensor, { dtype, shape, bytes }] of readFolderPlainly(to)) {
        const exact = original.get(tensor);
        expect([dtype, shape]).toEqual([type, exact?.shape]);
        for (let i = 0; i < bytes.length / 2; i++) {
          const value = exact?.bytes.readFloatLE(4 * i) ?? NaN;
          const error = Math.abs(decode(bytes.readUInt16LE(2 * i)) - value);
          if (error > Math.max(ulp * Math.abs(value), 2 ** -25))
            throw new Error(`${tensor}[${i}]: ${error} off ${value}`);
        }
      }
      const before = JSON.parse(readFileSync(join(fixtures, name, 'config.json'), 'utf8')) as object;
      expect(JSON.parse(readFileSync(join(to, 'config.json'), 'utf8'))).toEqual({ ...before, dtype: torch });
      expect(readdirSync(to)).toContain('generation_config.json');
    }
  });

  it('is read from the fused names that transformers 5 has in memory', () => {
    const fused = fresh();
    cpSync(join(fixtures, name, 'config.json'), join(fused, 'config.json'));
    cpSync(join(fixtures, name, 'grads.safetensors'), join(fused, 'model.safetensors'));
    const plain = readPlainly(join(fused, 'model.safetensors'));
    const source = HuggingFaceFolder.open(fused);
    const { experts, expertFfn: f, hiddenSize: h } = source.model;
    const values = readAll(source);
    source.close();
    const prefix = name === 'tiny-mixtral' ? 'block_sparse_moe' : 'mlp';
    const [gate, up, down] = name === 'tiny-mixtral' ? ['w1', 'w3', 'w2'] : ['gate_proj', 'up_proj', 'down_proj'];
    const part = (tensor: string, first: number, count: number): string | undefined =>
      plain.get(tensor)?.bytes.toString('hex', 4 * first, 4 * (first + count));
    const hex = (tensor: string): string => {
      const data = values.get(`weight/${tensor}`) ?? new Float32Array();
      return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');
    };
    for (let e = 0; e < experts; e++) {
      const of = `model.layers.1.${prefix}.experts.${e}`;
      expect(hex(`${of}.${gate}.weight`)).toBe(part('model.layers.1.mlp.experts.gate_up_proj', 2 * e * f * h, f * h));
      expect(hex(`${of}.${up}.weight`)).toBe(
        part('model.layers.1.mlp.experts.gate_up_proj', (2 * e + 1) * f * h, f * h),
      );
      expect(hex(`${of}.${down}.weight`)).toBe(part('model.layers.1.mlp.experts.down_proj', e * f * h, f * h));
    }
    expect(hex(`model.layers.0.${prefix}.gate.weight`)).toBe(part('model.layers.0.mlp.gate.weight', 0, experts * h));
  });
});

const readConfig = (file: string): MoeModel => readHfConfig(readFileSync(file, 'utf8'), file);

describe('a folder that is not the model', () => {
  const source = join(fixtures, 'tiny-olmoe');
  /** A copy whose tensors are changed before they are written. */
  function changed(
    edit: (tensors: Map<string, { shape: readonly number[]; type: 'F32' | 'BF16' | 'F16' | 'I32' }>) => void,
  ): string {
    const to = fresh();
    cpSync(join(source, 'config.json'), join(to, 'config.json'));
    const tensors = new Map(
      [...readPlainly(join(source, 'model.safetensors'))].map(([name, { shape }]) => [
        name,
        { shape, type: 'F32' as const },
      ]),
    );
    edit(tensors);
    const declared = [...tensors].map(([name, { shape, type }]) => ({ name, shape, type }));
    const writer = new SafetensorsWriter(join(to, 'model.safetensors'), declared);
    for (const { name, shape } of declared)
      writer.write(name, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1));
    writer.finish();
    return to;
  }
  const norm = 'model.layers.1.post_attention_layernorm.weight';

  it.each<[string, Parameters<typeof changed>[0], RegExp]>([
    [
      'missing',
      (t) => t.delete(norm),
      /"model\.layers\.1\.post_attention_layernorm\.weight" is missing\s+expected it with shape \[32\]/,
    ],
    [
      'foreign',
      (t) => t.set('model.layers.7.input_layernorm.weight', { shape: [32], type: 'F32' }),
      /"model\.layers\.7\.input_layernorm\.weight" of shape \[32\] does not belong/,
    ],
    [
      'mis-shaped',
      (t) => t.set(norm, { shape: [2, 16], type: 'F32' }),
      /post_attention_layernorm\.weight" has shape \[2, 16\]\s+expected \[32\]/,
    ],
    ['integers', (t) => t.set(norm, { shape: [32], type: 'I32' }), /post_attention_layernorm\.weight" is of type I32/],
    [
      'two half types',
      (t) => t.set(norm, { shape: [32], type: 'F16' }).set('lm_head.weight', { shape: [128, 32], type: 'BF16' }),
      /is of type (BF16|F16)/,
    ],
    [
      'one expert twice',
      (t) => t.set('model.layers.1.mlp.experts.down_proj', { shape: [8, 32, 40], type: 'F32' }),
      /experts\.down_proj" of shape \[8, 32, 40\] does not belong/,
    ],
  ])('%s', (_, edit, message) => {
    let text = '';
    try {
      HuggingFaceFolder.open(changed(edit)).close();
    } catch (error) {
      text =
        error instanceof Error && 'format' in error ? (error as { format(): string } & Error).format() : String(error);
    }
    expect(text).toMatch(message);
  });

  it('has an output matrix beside tied embeddings only when they are equal', () => {
    const model = completeModel({ ...shape, family: 'mixtral', qkNorm: 'none', tieEmbeddings: true });
    const good = fresh();
    exportModel(memorySource(model, randomTensors(model, 1, ['weight']), ['weight']), { folder: good, type: 'F32' });
    const tensors = readFolderPlainly(good);
    expect(tensors.has('lm_head.weight')).toBe(false);
    for (const flaw of [0, 1]) {
      const to = fresh();
      cpSync(join(good, 'config.json'), join(to, 'config.json'));
      const embedding = tensors.get('model.embed_tokens.weight');
      if (embedding === undefined) throw new Error('no embedding');
      const all = new Map([...tensors, ['lm_head.weight', embedding]]);
      const writer = new SafetensorsWriter(
        join(to, 'model.safetensors'),
        [...all].map(([name, { shape }]) => ({ name, shape, type: 'F32' })),
      );
      for (const [name, { bytes }] of all) {
        const values = Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
        if (name === 'lm_head.weight') values[3] += flaw;
        writer.write(name, values);
      }
      writer.finish();
      let complaint = '';
      try {
        HuggingFaceFolder.open(to).close();
      } catch (error) {
        complaint = String(error);
      }
      expect(complaint).toBe(
        flaw === 0 ? '' : 'InputError: tensor "lm_head.weight" differs from "model.embed_tokens.weight"',
      );
    }
  });

  it('numbers beyond float16 are refused, with the tensor', () => {
    const model = completeModel(shape);
    const tensors = randomTensors(model, 1, ['weight']);
    tensors.get('weight/model.norm.weight')?.set([70_000], 2);
    const to = fresh();
    expect(() => exportModel(memorySource(model, tensors, ['weight']), { folder: to, type: 'F16' })).toThrow(
      /"model\.norm\.weight" holds 70000/,
    );
    expect(
      readdirSync(folder).filter((name) => name.includes(to.slice(folder.length + 1)) && name.length < 10),
    ).toEqual([]);
  });
});

const shape: ModelShape = {
  name: 'small',
  hiddenSize: 8,
  layers: 3,
  attentionHeads: 4,
  keyValueHeads: 2,
  vocabSize: 21,
  experts: 4,
  topK: 2,
  expertFfn: 4,
};

it('a tensor larger than a piece passes through a few rows at a time', () => {
  const model = completeModel({ ...shape, vocabSize: 100_000 });
  const source = memorySource(model, randomTensors(model, 5, ['weight']), ['weight']);
  let largest = 0;
  const watched: TensorSource = {
    ...source,
    readBlock: (parameter, kind, block, out) => {
      largest = Math.max(largest, out.length);
      source.readBlock(parameter, kind, block, out);
    },
  };
  const [folder, state] = [fresh(), fresh()];
  exportModel(watched, { folder, type: 'F32' });
  writeTrainingState(watched, state, { step: 0, layout: layoutOf({ tp: 2 }) });
  expect(largest).toBeLessThanOrEqual(pieceElements);
  expect(bitsOf(readFolderPlainly(folder))['lm_head.weight'][2].length).toBe(2 * 4 * 800_000);
});

it('a generic model trains under its own names and is exported under the family that computes the same', () => {
  const model = completeModel(shape);
  const tensors = randomTensors(model, 5, ['weight']);
  const to = fresh();
  exportModel(memorySource(model, tensors, ['weight']), { folder: to, type: 'F32', maxShardBytes: 3000 });
  const read = HuggingFaceFolder.open(to);
  expect(read.model.family).toBe('mixtral');
  const back = readAll(read);
  read.close();
  const renamed = new Map(
    [...tensors].map(([name, data]) => [
      name
        .replace('.mlp.', '.block_sparse_moe.')
        .replace('gate_proj', 'w1')
        .replace('up_proj', 'w3')
        .replace('down_proj', 'w2'),
      data,
    ]),
  );
  expect(sameBits(back, renamed)).toBe(true);
});
