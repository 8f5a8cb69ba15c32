import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError } from '@monta/core';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../testing/numbers.js';
import { SafetensorsFile } from './safetensors-reader.js';
import { SafetensorsFolder, createSafetensorsFolder } from './safetensors-folder.js';
import { SafetensorsWriter } from './safetensors-writer.js';
import type { TensorDeclaration } from './safetensors-writer.js';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../device/half.js';
import { safetensorsBytes } from './safetensors-types.js';

let folder = '';
let files = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'safetensors-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const fresh = (): string => join(folder, `${files++}.safetensors`);

/** A file from a header (as text or object) and a number of data bytes. */
function fileOf(header: unknown, dataBytes: number, length?: number): string {
  const json = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(length ?? json.length));
  const path = fresh();
  writeFileSync(path, Buffer.concat([prefix, json, Buffer.alloc(dataBytes)]));
  return path;
}

/**
 * The complaint about a file, in opening it or in reading everything; undefined when there is none. Other errors are
 * thrown on.
 */
function complaint(path: string): InputError | undefined {
  try {
    const file = SafetensorsFile.open(path);
    try {
      for (const { name, type, elements } of file.header.tensors.values()) {
        if (type === 'I32' || type === 'I64') file.readInt32(name, new Int32Array(elements));
        else file.readFloat32(name, new Float32Array(elements));
      }
    } finally {
      file.close();
    }
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

const entry = (dtype: string, shape: unknown, begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('half precision', () => {
  it('keeps every half and bfloat16 value', () => {
    const all = Array.from({ length: 0x10000 }, (_, bits) => bits);
    expect(all.filter((bits) => !Number.isNaN(fromFloat16(bits)) && toFloat16(fromFloat16(bits)) !== bits)).toEqual([]);
    expect(all.filter((bits) => !Number.isNaN(fromBfloat16(bits)) && toBfloat16(fromBfloat16(bits)) !== bits)).toEqual(
      [],
    );
    expect(fromFloat16(toFloat16(NaN))).toBeNaN();
    expect(fromBfloat16(toBfloat16(NaN))).toBeNaN();
  });

  it.each([
    ['float16', toFloat16, fromFloat16, 0x7bff],
    ['bfloat16', toBfloat16, fromBfloat16, 0x7f7f],
  ] as const)('rounds to the nearest %s, ties to even', (_, to, from, largest) => {
    const random = seededRandom(1);
    const wrong: number[] = [];
    for (let i = 0; i < 20_000; i++) {
      const bits = Math.floor(random() * largest);
      const [low, high] = [from(bits), from(bits + 1)];
      const middle = (low + high) / 2; // exact in float32
      const even = bits % 2 === 0 ? bits : bits + 1;
      const value = Math.fround(low + (high - low) * random());
      const nearest = value === middle ? even : value < middle ? bits : bits + 1;
      if (to(middle) !== even || to(value) !== nearest || to(-value) !== (0x8000 | nearest)) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
    expect(from(to(3.4e38 * 10))).toBe(Infinity);
  });

  it('overflows float16 to infinity exactly from 65520', () => {
    expect(fromFloat16(toFloat16(65519.996))).toBe(65504);
    expect(fromFloat16(toFloat16(65520))).toBe(Infinity);
  });
});

const typed = fc.constantFrom('F32', 'BF16', 'F16', 'I32', 'I64' as const);
const declarations: fc.Arbitrary<TensorDeclaration[]> = fc.uniqueArray(
  fc.record({
    name: fc.string({ minLength: 1, maxLength: 12 }).filter((name) => !name.startsWith('__')),
    type: typed,
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
  }),
  { selector: ({ name }) => name, maxLength: 6 },
);
const elementsOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

describe('writing and reading', () => {
  it('gives back what was written, in any order and in pieces', () => {
    fc.assert(
      fc.property(declarations, fc.integer(), (tensors, seed) => {
        const random = seededRandom(seed);
        const path = fresh();
        const writer = new SafetensorsWriter(path, tensors, { note: 'ü' });
        // small integers are exact in every type
        const values = new Map(
          tensors.map(({ name, shape }) => [
            name,
            Float32Array.from({ length: elementsOf(shape) }, () => Math.floor(random() * 200) - 100),
          ]),
        );
        for (const [name, data] of [...values].reverse()) {
          const cut = Math.floor(data.length * random());
          writer.write(name, data.subarray(cut), cut);
          writer.write(name, data.subarray(0, cut));
        }
        writer.finish();
        const file = SafetensorsFile.open(path);
        expect(file.header.metadata).toEqual({ note: 'ü' });
        expect([...file.header.tensors.keys()].sort()).toEqual(tensors.map(({ name }) => name).sort());
        for (const { name, type, shape } of tensors) {
          const info = file.info(name, shape);
          expect(info.begin % safetensorsBytes[type]).toBe(0);
          const data = values.get(name) ?? new Float32Array();
          const tailLength = Math.floor(data.length / 2);
          const readInto = (length: number, first: number): Float32Array => {
            if (type !== 'I32' && type !== 'I64') {
              const out = new Float32Array(length);
              file.readFloat32(name, out, first);
              return out;
            }
            const out = new Int32Array(length);
            file.readInt32(name, out, first);
            return Float32Array.from(out);
          };
          expect(readInto(data.length, 0)).toEqual(data);
          expect(readInto(tailLength, data.length - tailLength)).toEqual(data.slice(data.length - tailLength));
        }
        file.close();
        rmSync(path);
      }),
      { seed: 1 },
    );
  });

  it('reads and writes tensors larger than its buffers', () => {
    const length = 600_001;
    const path = fresh();
    const values = Float32Array.from({ length }, (_, i) => i);
    const writer = new SafetensorsWriter(path, [{ name: 'x', type: 'F32', shape: [length] }]);
    writer.write('x', values);
    writer.finish();
    const file = SafetensorsFile.open(path);
    const out = new Float32Array(length - 1);
    file.readFloat32('x', out, 1);
    expect(Buffer.from(out.buffer).equals(Buffer.from(values.slice(1).buffer))).toBe(true);
    file.close();
  });

  it('refuses undeclared, overlong and missing data, and existing files', () => {
    const path = fresh();
    const writer = new SafetensorsWriter(path, [{ name: 'x', type: 'I32', shape: [2] }]);
    expect(() => {
      writer.write('y', Float32Array.of(1));
    }).toThrow('y was not declared');
    expect(() => {
      writer.write('x', Float32Array.of(1, 2), 1);
    }).toThrow('tensor x');
    expect(() => {
      writer.write('x', Float32Array.of(0.5, 1));
    }).toThrow('0.5');
    expect(() => {
      writer.finish();
    }).toThrow('0 of 2 elements');
    expect(() => new SafetensorsWriter(path, [])).toThrow('EEXIST');
  });

  it('refuses integers that do not fit', () => {
    const path = fresh();
    const writer = new SafetensorsWriter(path, [{ name: 'big', type: 'I64', shape: [1] }]);
    writer.write('big', Float32Array.of(2 ** 40));
    writer.finish();
    const file = SafetensorsFile.open(path);
    expect(() => {
      file.readFloat32('big', new Float32Array(1));
    }).toThrow(/"big".*I64, expected F32/u);
    expect(() => {
      file.readInt32('big', new Int32Array(1));
    }).toThrow(/"big".*32 bits/u);
    file.close();
  });
});

describe('bad files', () => {
  it.each<[string, () => string, RegExp]>([
    ['no such file', () => join(folder, 'none'), /can't be opened/u],
    ['a folder', () => folder, /not a file/u],
    ['empty', () => fileOf('', 0, 0), /not JSON/u],
    ['header too long', () => fileOf('{}', 0, 1e9), /length is 1000000000/u],
    ['header cut off', () => fileOf('{}', 0, 100), /truncated/u],
    ['not JSON', () => fileOf('{"a":', 0), /not JSON/u],
    ['not UTF-8', () => fileOf(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 0), /not JSON.*encoded/u],
    ['a list', () => fileOf('[]', 0), /not a JSON object/u],
    ['space before the object', () => fileOf(' {}', 0), /not a JSON object/u],
    [
      'duplicate',
      () => fileOf('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\\u0061":{}}', 0),
      /"a".*twice/u,
    ],
    ['entry is no object', () => fileOf({ a: 3 }, 0), /"a"/u],
    ['unknown key', () => fileOf({ a: { ...entry('F32', [1], 0, 4), extra: 1 } }, 4), /"a".*"extra"/u],
    ['unknown type', () => fileOf({ a: entry('F4_E9', [1], 0, 1) }, 1), /"a".*F4_E9/u],
    ['type of the prototype', () => fileOf({ a: entry('toString', [1], 0, 1) }, 1), /"a".*toString/u],
    ['negative size', () => fileOf({ a: entry('F32', [-1], 0, 4) }, 4), /"a".*shape/u],
    ['fractional size', () => fileOf({ a: entry('F32', [0.5, 2], 0, 4) }, 4), /"a".*shape/u],
    ['huge shape', () => fileOf({ a: entry('F32', [2 ** 40, 2 ** 40], 0, 4) }, 4), /"a".*too large/u],
    ['wrong size', () => fileOf({ a: entry('F32', [2], 0, 4) }, 4), /"a".*do not fit shape \[2\]/u],
    ['backwards', () => fileOf({ a: entry('F32', [1], 4, 0) }, 4), /"a".*do not fit/u],
    ['data cut off', () => fileOf({ a: entry('F32', [4], 0, 16) }, 12), /"a".*truncated/u],
    [
      'overlap',
      () => fileOf({ a: entry('F32', [2], 0, 8), b: entry('F32', [2], 4, 12) }, 12),
      /"b" overlaps tensor "a"/u,
    ],
    ['hole', () => fileOf({ a: entry('F32', [1], 0, 4), b: entry('F32', [1], 8, 12) }, 12), /"b": a hole of 4/u],
    ['data left over', () => fileOf({ a: entry('F32', [1], 0, 4) }, 9), /5 bytes after.*"a"/u],
    ['metadata no text', () => fileOf({ __metadata__: { n: 1 } }, 0), /"n" is not a text/u],
  ])('%s', (_, make, message) => {
    const path = make();
    const error = complaint(path);
    expect(error?.message).toMatch(message);
    expect(error?.file).toBe(path);
  });

  it('names keys that only look like duplicates correctly: nested keys and escaped quotes', () => {
    const path = fileOf(
      { 'a"b': entry('F32', [1], 0, 4), 'a\\"b': entry('F32', [1], 4, 8), __metadata__: { 'a"b': '{"a\\"b":' } },
      8,
    );
    expect(complaint(path)).toBeUndefined();
  });

  it('2,000 mutations end in a complaint, or in a file that is still consistent', () => {
    // small data, so that most of what is hit is the header
    const original = fresh();
    const names = [
      'lm_head.weight',
      'model.norm.weight',
      ...[0, 1, 2].map((e) => `model.layers.0.mlp.experts.${e}.up_proj.weight`),
    ];
    const writer = new SafetensorsWriter(
      original,
      names.map((name, i) => ({ name, type: i === 1 ? 'BF16' : 'F32', shape: [3, i + 1] })),
    );
    names.forEach((name, i) => {
      writer.write(name, new Float32Array(3 * (i + 1)).fill(i));
    });
    writer.finish();
    const good = readFileSync(original);
    const headerEnd = 8 + Number(good.readBigUInt64LE(0));
    const random = seededRandom(7);
    const path = fresh();
    let refused = 0;
    const wrong: number[] = [];
    for (let i = 0; i < 2000; i++) {
      let bytes = Buffer.from(good);
      const at = Math.floor(random() * headerEnd);
      const kind = i % 4;
      if (kind === 0) bytes[at] ^= 1 << Math.floor(random() * 8);
      else if (kind === 1) bytes = bytes.subarray(0, Math.floor(random() * bytes.length));
      else if (kind === 2)
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + Math.floor(random() * 8))]);
      else bytes.copy(bytes, at, Math.floor(random() * headerEnd), Math.floor(random() * headerEnd));
      writeFileSync(path, bytes);
      const silent = complaint(path) === undefined;
      if (!silent) refused++;
      // shorter or longer files can't be consistent
      if (silent && bytes.length !== good.length) wrong.push(i);
    }
    expect(wrong).toEqual([]);
    // what passes are changes inside a name, or between types of one size
    expect(refused).toBeGreaterThan(1200);
  });
});

const indexOf = (target: string): string => join(target, 'model.safetensors.index.json');
const open = (target: string) => () => SafetensorsFolder.open(target);

describe('folders', () => {
  const tensors: TensorDeclaration[] = ['a', 'b', 'c'].map((name) => ({ name, type: 'BF16', shape: [4] }));

  function writeFolder(maxShardBytes: number): string {
    const target = mkdtempSync(join(folder, 'model-'));
    for (const { writer, tensors: held } of createSafetensorsFolder({ folder: target, tensors, maxShardBytes })) {
      for (const { name } of held) writer.write(name, new Float32Array(4).fill(name.charCodeAt(0)));
      writer.finish();
    }
    return target;
  }

  it.each([
    [100, ['model.safetensors']],
    [16, ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', 'model.safetensors.index.json']],
  ])('written in shards of at most %i bytes reads back', (maxShardBytes, names) => {
    const target = writeFolder(maxShardBytes);
    expect(readdirSync(target).sort()).toEqual(names);
    const opened = SafetensorsFolder.open(target);
    expect(opened.names().sort()).toEqual(['a', 'b', 'c']);
    for (const name of ['a', 'b', 'c']) {
      const out = new Float32Array(4);
      opened.readFloat32(name, out);
      expect(out).toEqual(new Float32Array(4).fill(name.charCodeAt(0)));
    }
    expect(() => opened.info('a', [2, 2])).toThrow('"a" has shape [4]');
    expect(() => opened.info('d', [4])).toThrow('"d" is missing');
    opened.close();
  });

  it('refuses an index that does not match its shards', () => {
    const change = (edit: (map: Record<string, string>) => void): string => {
      const target = writeFolder(16);
      const index = JSON.parse(readFileSync(indexOf(target), 'utf8')) as { weight_map: Record<string, string> };
      edit(index.weight_map);
      writeFileSync(indexOf(target), JSON.stringify(index));
      return target;
    };
    expect(
      open(
        change((map) => {
          const other = Object.values(map).find((file) => file !== map['b']);
          map['b'] = other ?? '';
        }),
      ),
    ).toThrow(/"b" is missing/);
    expect(
      open(
        change((map) => {
          map['z'] = map['a'];
        }),
      ),
    ).toThrow('"z" is missing');
    expect(
      open(
        change((map) => {
          map['a'] = '../secret.safetensors';
        }),
      ),
    ).toThrow('is not a file of the folder');
    const gone = writeFolder(16);
    rmSync(join(gone, 'model-00002-of-00002.safetensors'));
    expect(open(gone)).toThrow('"c": its file "model-00002-of-00002.safetensors" is missing');
    const broken = writeFolder(16);
    writeFileSync(indexOf(broken), '{');
    expect(open(broken)).toThrow('is not JSON');
    expect(open(mkdtempSync(join(folder, 'empty-')))).toThrow('holds no weights');
  });
});
