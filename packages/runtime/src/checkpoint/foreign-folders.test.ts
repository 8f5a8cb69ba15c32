/**
 * Folders as others leave them: quantized, with parts of other models, with a config that says something else, not
 * fetched, not computed here.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { completeModel, type MoeModel } from '@monta/core';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyScales, scaleShape } from './block-scales.js';
import { convertCheckpoint } from './convert.js';
import { configuredType, huggingFaceConfig, withoutKey } from './hugging-face-config.js';
import { HuggingFaceFolder } from './hugging-face-folder.js';
import { inspectCheckpoint, type InspectedCheckpoint } from './inspect.js';
import { fromFloat8 } from './safetensors-types.js';
import { modelParameters, parameterElements } from './tensor-source.js';

let root = '';
let made = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'monta-foreign-'));
});
afterAll(() => {
  rmSync(root, { recursive: true });
});
const fresh = (): string => {
  const path = join(root, String(made++));
  mkdirSync(path);
  return path;
};

const model: MoeModel = completeModel({
  name: 'tiny',
  family: 'qwen3_moe',
  hiddenSize: 16,
  layers: 1,
  attentionHeads: 2,
  keyValueHeads: 1,
  headDim: 8,
  vocabSize: 32,
  experts: 4,
  topK: 2,
  expertFfn: 24,
  qkNorm: 'perHead',
});

interface Stored {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A safetensors file byte by byte, so that the reader meets something that its own writer did not make. */
function writeFile(path: string, tensors: ReadonlyMap<string, Stored>, metadata: unknown = { format: 'pt' }): void {
  let at = 0;
  const header: Record<string, unknown> = metadata === undefined ? {} : { __metadata__: metadata };
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([length, json, ...[...tensors.values()].map(({ bytes }) => bytes)]));
}

/** bfloat16: the upper half of a float32. */
function bfloat16(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(2 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) =>
    view.setUint16(2 * i, new Uint32Array(new Float32Array([value]).buffer)[0] >>> 16, true),
  );
  return bytes;
}

/** All parameters in bfloat16, small whole numbers that it holds exactly. */
const plainTensors = (of: MoeModel = model): Map<string, Stored> =>
  new Map(
    modelParameters(of).map((parameter) => {
      const values = Array.from({ length: parameterElements(parameter) }, (_, i) => (i % 7) - 3);
      return [parameter.name, { dtype: 'BF16', shape: parameter.shape, bytes: bfloat16(values) }];
    }),
  );

function folderOf(
  tensors: ReadonlyMap<string, Stored>,
  config = huggingFaceConfig(model, 'BF16'),
  metadata?: unknown,
): string {
  const folder = fresh();
  writeFileSync(join(folder, 'config.json'), config);
  writeFile(join(folder, 'model.safetensors'), tensors, metadata === undefined ? { format: 'pt' } : metadata);
  return folder;
}

const inspected = (folder: string): InspectedCheckpoint => {
  const found = inspectCheckpoint(folder);
  if (found.kind === 'run') throw new Error('a folder of checkpoints');
  return found;
};

function weights(folder: string): Map<string, Float32Array> {
  const source = HuggingFaceFolder.open(folder);
  const read = modelParameters(source.model).map((parameter): [string, Float32Array] => {
    const [rows, columns = 1] = parameter.shape;
    const out = new Float32Array(parameterElements(parameter));
    source.readBlock(parameter, 'weight', { firstRow: 0, endRow: rows, firstColumn: 0, endColumn: columns }, out);
    return [parameter.name, out];
  });
  source.close();
  return new Map(read);
}

describe('8-bit floats', () => {
  it('are those of the paper: largest 448, smallest 2^-9, no infinities', () => {
    // arXiv 2209.05433, table 1
    const known: [number, number][] = [
      [0x38, 1],
      [0xb8, -1],
      [0x7e, 448],
      [0x08, 2 ** -6],
      [0x07, 0.875 * 2 ** -6],
      [0x01, 2 ** -9],
      [0x00, 0],
    ];
    for (const [bits, value] of known) expect(fromFloat8(bits)).toBe(value);
    expect([fromFloat8(0x7f), fromFloat8(0xff)]).toEqual([NaN, NaN]);
    const finite = Array.from({ length: 0x7f }, (_, bits) => fromFloat8(bits));
    expect([...finite].sort((a, b) => a - b)).toEqual(finite);
  });

  it('are multiplied by the scale of their block, wherever reading begins', () => {
    fc.assert(
      fc.property(
        fc.record({ rows: fc.integer({ min: 1, max: 9 }), columns: fc.integer({ min: 1, max: 9 }) }),
        fc.record({ rows: fc.integer({ min: 1, max: 5 }), columns: fc.integer({ min: 1, max: 5 }) }),
        fc.nat(100),
        ({ rows, columns }, block, start) => {
          const [down, across] = scaleShape([rows, columns], block);
          const scales = Float32Array.from({ length: down * across }, (_, i) => i + 1);
          const first = start % (rows * columns);
          const values = new Float32Array(rows * columns - first).fill(1);
          applyScales({ values, first, width: columns, scales, block });
          const expected: number[] = [];
          for (let r = 0; r < rows; r++)
            for (let c = 0; c < columns; c++)
              expected.push(scales[Math.trunc(r / block.rows) * across + Math.trunc(c / block.columns)]);
          expect([...values]).toEqual(expected.slice(first));
        },
      ),
    );
  });

  const block = { rows: 8, columns: 16 };
  const quantization = `"quantization_config": { "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [8, 16] }`;
  const config = huggingFaceConfig(model, 'BF16').replace('{', `{\n  ${quantization},`);

  /** Attention and experts in 8 bits, all numbers 1.5, the scales of a matrix rising from 2 by blocks. */
  function quantized(): Map<string, Stored> {
    const tensors = plainTensors();
    for (const [name, { shape }] of plainTensors()) {
      if (!name.endsWith('proj.weight')) continue;
      const [rows, columns] = shape;
      tensors.set(name, { dtype: 'F8_E4M3', shape, bytes: new Uint8Array(rows * columns).fill(0x3c) });
      const scales = scaleShape([rows, columns], block);
      const bytes = new Uint8Array(Float32Array.from({ length: scales[0] * scales[1] }, (_, i) => 2 + i).buffer);
      tensors.set(`${name}_scale_inv`, { dtype: 'F32', shape: scales, bytes });
    }
    return tensors;
  }

  it('with block scales: a complete folder, read as products, converted to plain weights', () => {
    const folder = folderOf(quantized(), config);
    expect(inspected(folder)).toMatchObject({ complete: true, types: ['F8_E4M3', 'BF16'], notes: [] });
    const down = weights(folder).get('model.layers.0.mlp.experts.1.down_proj.weight');
    // 16 x 24: two blocks beside each other, two below each other
    expect(down?.[0]).toBe(3);
    expect(down?.[16]).toBe(1.5 * 3);
    expect(down?.[8 * 24]).toBe(1.5 * 4);
    const out = join(root, `${made++}-plain`);
    expect(convertCheckpoint(folder, out, { to: 'hf' })).toMatchObject({ type: 'BF16', left: [] });
    expect(readFileSync(join(out, 'config.json'), 'utf8')).not.toContain('quantization_config');
    expect(weights(out)).toEqual(weights(folder));
    expect(inspected(out)).toMatchObject({ complete: true, types: ['BF16'] });
  });

  it('without their scales, or without a word of them in the config, are incomplete', () => {
    const lacking = quantized();
    lacking.delete('model.layers.0.self_attn.q_proj.weight_scale_inv');
    expect(inspected(folderOf(lacking, config)).problem).toMatch(
      /q_proj\.weight_scale_inv" is missing\s+expected it with shape \[2, 1\]/,
    );
    expect(inspected(folderOf(quantized())).problem).toMatch(/does not say how it is scaled/);
  });

  it.each([
    '{ "a": 1, "q": {"x": ["}", {}]}, "b": 2 }',
    '{"q": {"x": 1}, "b": 2}',
    '{"b": 2, "q": [1]}',
    '{"q": {}}',
    '{"b": 2}',
  ])('a key is taken out of %s and the rest stays', (text) => {
    const { q: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
    expect(JSON.parse(withoutKey(text, 'q'))).toEqual(rest);
  });
});

describe('what does not belong to the model', () => {
  const extra: Stored = { dtype: 'BF16', shape: [16], bytes: bfloat16(Array.from({ length: 16 }, () => 1)) };

  it('is named, and left behind by convert', () => {
    const folder = folderOf(plainTensors().set('mtp.norm.weight', extra));
    expect(inspected(folder)).toMatchObject({
      complete: true,
      notes: ['a tensor does not belong to the model: mtp.norm.weight'],
    });
    const out = join(root, `${made++}-left`);
    expect(convertCheckpoint(folder, out, { to: 'hf' }).left).toEqual(['mtp.norm.weight']);
    expect(inspected(out).notes).toEqual([]);
  });

  it('is named where the index does not know of it, tensors and whole files', () => {
    const folder = fresh();
    writeFileSync(join(folder, 'config.json'), huggingFaceConfig(model, 'BF16'));
    const all = plainTensors();
    const names = [...all.keys()];
    const shard = (name: string): string => (names.indexOf(name) < 5 ? 'a.safetensors' : 'b.safetensors');
    const weightMap = Object.fromEntries(names.map((name) => [name, shard(name)]));
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
    writeFile(join(folder, 'a.safetensors'), new Map([...all].filter(([name]) => shard(name) === 'a.safetensors')));
    const second = [...all].filter(([name]) => shard(name) === 'b.safetensors');
    writeFile(join(folder, 'b.safetensors'), new Map([...second, ['mtp.norm.weight', extra]]));
    writeFile(join(folder, 'mtp.safetensors'), new Map([['mtp.head.weight', extra]]));
    const { complete, notes, tensors } = inspected(folder);
    expect({ complete, notes }).toEqual({
      complete: true,
      notes: [
        'mtp.safetensors belongs to no tensor of the index',
        'a tensor does not belong to the model: mtp.norm.weight',
      ],
    });
    expect(tensors?.map(({ name }) => name).sort()).toEqual([...names, 'mtp.norm.weight'].sort());
  });

  it('is refused where it bears a name of the model itself: the config may be wrong', () => {
    const folder = folderOf(plainTensors().set('model.layers.1.input_layernorm.weight', extra));
    expect(() => HuggingFaceFolder.open(folder)).toThrow(/does not belong to the model/);
    expect(inspected(folder).notes?.join()).toMatch(/model\.layers\.1\.input_layernorm\.weight/);
  });
});

describe('a config that says something else', () => {
  it('of the type: read with that of the files, said, and repaired by convert', () => {
    const folder = folderOf(plainTensors(), huggingFaceConfig(model, 'F16'));
    expect(inspected(folder)).toMatchObject({ complete: true, types: ['BF16'] });
    expect(inspected(folder).notes?.join()).toMatch(/config\.json says float16, the files hold BF16/);
    const out = join(root, `${made++}-repaired`);
    expect(convertCheckpoint(folder, out, { to: 'hf' }).type).toBe('BF16');
    expect(configuredType(readFileSync(join(out, 'config.json'), 'utf8'))).toBe('BF16');
    expect(weights(out)).toEqual(weights(folder));
    expect(inspected(out).notes).toEqual([]);
    const wide = new Map(
      [...plainTensors()].map(([name, { shape, bytes }]): [string, Stored] => {
        return [name, { dtype: 'F32', shape, bytes: new Uint8Array(2 * bytes.length) }];
      }),
    );
    expect(inspected(folderOf(wide)).notes?.join()).toMatch(/config\.json says bfloat16, the files hold F32/);
    expect(inspected(folderOf(wide, huggingFaceConfig(model, 'F32'))).notes).toEqual([]);
    expect(inspected(folderOf(plainTensors(), huggingFaceConfig(model, 'F32'))).notes?.join()).toMatch(/says float32/);
  });

  it('of the output matrix: refused, and what may be meant', () => {
    const tensors = plainTensors();
    tensors.delete('lm_head.weight');
    const { complete, problem } = inspected(folderOf(tensors));
    expect(complete).toBe(false);
    expect(problem).toMatch(/lm_head\.weight" is missing(?:.|\n)*"tie_word_embeddings": true/);
    const tied = completeModel({ ...model, tieEmbeddings: true });
    expect(inspected(folderOf(tensors, huggingFaceConfig(tied, 'BF16'))).complete).toBe(true);
  });
});

describe('files', () => {
  it('in several without an index are told so', () => {
    const folder = folderOf(plainTensors());
    for (const part of [1, 2]) cpSync(join(folder, 'model.safetensors'), join(folder, `part-${part}.safetensors`));
    rmSync(join(folder, 'model.safetensors'));
    expect(inspected(folder).problem).toMatch(/holds 2 of its files, but no model\.safetensors\.index\.json/);
  });

  it('may have null for metadata, or none', () => {
    for (const metadata of [null, { format: 'pt' }])
      expect(inspected(folderOf(plainTensors(), undefined, metadata)).complete).toBe(true);
  });

  it.each(['model.safetensors', 'config.json'])('%s that is a Git LFS pointer is refused as such', (name) => {
    const folder = folderOf(plainTensors());
    writeFileSync(
      join(folder, name),
      `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 4999820456\n`,
    );
    const { complete, problem } = inspected(folder);
    expect(complete).toBe(false);
    expect(problem).toMatch(/is a Git LFS pointer(?:.|\n)*4999820456 bytes(?:.|\n)*git lfs pull/);
  });
});

describe('parts that the config asks for and no layer of the files has', () => {
  const without = (...parts: RegExp[]): Map<string, Stored> =>
    new Map([...plainTensors()].filter(([name]) => !parts.some((part) => part.test(name))));

  it('are named: the files are whole, and of another model', () => {
    const tensors = without(/[qk]_norm/u);
    expect(tensors.size).toBeLessThan(plainTensors().size);
    const found = inspected(folderOf(tensors));
    expect(found.complete).toBe(true);
    expect(found.notComputed).toMatch(/layers\.\*\.self_attn\.q_norm\.weight, .*another model/u);
    expect(found.tensors).toHaveLength(tensors.size);
  });

  it('are no excuse for parts that every model has', () => {
    for (const part of [/q_proj\.weight$/u, /lm_head/u, /experts\.1\.down_proj/u])
      expect(inspected(folderOf(without(/[qk]_norm/u, part))).problem).toMatch(/is missing/u);
  });
});

describe('a model that is not computed here', () => {
  const phi = completeModel({ ...model, family: 'phimoe', qkNorm: 'none' });
  const config = huggingFaceConfig(model, 'BF16')
    .replace('"qwen3_moe"', '"phimoe"')
    .replace('"num_experts"', '"num_local_experts"');

  it('is complete when its files are, described with all tensors, and another matter than a damaged one', () => {
    const folder = folderOf(plainTensors(phi), config);
    const found = inspected(folder);
    expect(found).toMatchObject({ complete: true, model: { family: 'phimoe', normBias: true } });
    expect(found.notComputed).toMatch(/norms with biases/);
    expect(found).not.toHaveProperty('problem');
    expect(found.tensors).toHaveLength(plainTensors(phi).size);
    const file = join(folder, 'model.safetensors');
    writeFileSync(file, readFileSync(file).subarray(0, -3));
    expect(inspected(folder)).toMatchObject({ complete: false, problem: expect.stringMatching(/truncated/) as string });
  });

  it('for a type of floats that is not: whole all the same', () => {
    const tensors = plainTensors();
    const { shape } = tensors.get('lm_head.weight') ?? { shape: [] };
    tensors.set('lm_head.weight', { dtype: 'F8_E5M2', shape, bytes: new Uint8Array(32 * 16) });
    const found = inspected(folderOf(tensors));
    expect(found).toMatchObject({ complete: true, notComputed: 'tensor "lm_head.weight" is of type F8_E5M2' });
  });

  it('of an architecture that nobody can describe: its tensors are', () => {
    const found = inspected(folderOf(plainTensors(), config.replace('"phimoe"', '"jamba"')));
    expect(found).toMatchObject({ complete: true, types: ['BF16'] });
    expect(found.notComputed).toMatch(/state-space/);
    expect(found).not.toHaveProperty('model');
  });
});
