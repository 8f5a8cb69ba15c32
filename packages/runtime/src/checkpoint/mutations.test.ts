/** 2,000 seeded mutations of checkpoints: each is refused, naming the file or the tensor, or changes nothing. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError, Random } from '@monta/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { convertCheckpoint, openCheckpoint } from './convert.js';
import {
  layoutOf,
  memorySource,
  randomTensors,
  readAll,
  sameBits,
  smallModel,
} from '../../testing/checkpoint/tensors.js';
import { writeTrainingState } from './training-state-writer.js';

let folder = '';
let made = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-mutations-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const fresh = (): string => join(folder, String(made++));

/** Changes one file of a checkpoint in a seeded way; returns the file's name. */
function mutate(target: string, random: Random, foreign: boolean): string {
  const names = readdirSync(target).filter((name) => name !== 'config.json');
  const name = names[random.integer(names.length)];
  const path = join(target, name);
  let bytes = readFileSync(path);
  const tensors = name.endsWith('.safetensors');
  const headerEnd = tensors ? 8 + Number(bytes.readBigUInt64LE(0)) : bytes.length;
  const text = (): string => bytes.toString('utf8', tensors ? 8 : 0, headerEnd);
  const rewrite = (header: string): void => {
    const json = Buffer.from(header);
    const prefix = Buffer.alloc(tensors ? 8 : 0);
    if (tensors) prefix.writeBigUInt64LE(BigInt(json.length));
    bytes = Buffer.concat([prefix, json, bytes.subarray(headerEnd)]);
  };
  /** Changes the number, or the word, at a random match. */
  const replaceOne = (pattern: RegExp, by: (match: string) => string): void => {
    const found = [...text().matchAll(pattern)];
    if (found.length === 0) return;
    const { index, 0: match } = found[random.integer(found.length)];
    rewrite(text().slice(0, index) + by(match) + text().slice(index + match.length));
  };
  switch (random.integer(9)) {
    case 0:
      bytes = bytes.subarray(0, random.integer(bytes.length));
      break;
    case 1:
      bytes[random.integer(headerEnd)] ^= 1 << random.integer(8);
      break;
    case 2:
      // Of files without digests nobody can tell damaged numbers: only the header is hit there.
      bytes[random.integer(foreign ? headerEnd : bytes.length)] ^= 1 << random.integer(8);
      break;
    case 3:
      replaceOne(/"shape":\[[\d,]+\]/gu, (match) =>
        match.replace(/\d+/u, (size) => String(Number(size) + 1 - 2 * random.integer(2))),
      );
      break;
    case 4:
      replaceOne(/"dtype":"\w+"/gu, () => `"dtype":"${['F32', 'BF16', 'F16', 'I32', 'I64', 'F8'][random.integer(6)]}"`);
      break;
    case 5:
      replaceOne(/"data_offsets":\[\d+,\d+\]/gu, (match) =>
        match.replace(/\d+/u, (at) => String(Number(at) + 4 * (1 + random.integer(9)))),
      );
      break;
    case 6:
      replaceOne(/layers\.\d\.\w+/gu, (match) => `${match}_${random.integer(9)}`);
      break;
    case 7:
      bytes = Buffer.concat([bytes, Buffer.alloc(1 + random.integer(64))]);
      break;
    default:
      rmSync(path);
      if (random.integer(2) === 0) writeFileSync(path, '');
      return name;
  }
  writeFileSync(path, bytes);
  return name;
}

/** What a checkpoint holds, or the complaint; every other error is thrown on. */
function contentOf(path: string): Map<string, Float32Array> | InputError {
  try {
    const source = openCheckpoint(path);
    try {
      return readAll(source);
    } finally {
      source.close();
    }
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

/** Makes the files look like those of another program, without digests in their headers. */
function stripDigests(path: string): void {
  for (const name of readdirSync(path).filter((one) => one.endsWith('.safetensors'))) {
    const bytes = readFileSync(join(path, name));
    const at = bytes.indexOf('monta_sha256');
    bytes.write('other_digest', at, 'latin1');
    writeFileSync(join(path, name), bytes);
  }
}

it.each(['state', 'hf', 'foreign hf'] as const)(
  'of a checkpoint (%s) are refused by name or change nothing',
  (kind) => {
    const tensors = randomTensors(smallModel, 4);
    const weights = new Map([...tensors].filter(([name]) => name.startsWith('weight/')));
    const state = fresh();
    writeTrainingState(memorySource(smallModel, tensors), state, {
      step: 3,
      layout: layoutOf({ tp: 2, dp: 2, ep: 2 }),
    });
    const original = kind === 'state' ? state : fresh();
    if (kind !== 'state') convertCheckpoint(state, original, { type: 'F32', maxShardBytes: 6000 });
    if (kind === 'foreign hf') stripDigests(original);
    const files = new Map(readdirSync(original).map((name) => [name, readFileSync(join(original, name))]));
    const random = new Random(11);
    const outcomes = { refused: 0, identical: 0 };
    const problems: string[] = [];
    const rounds = kind === 'state' ? 1000 : 500;
    for (let round = 0; round < rounds; round++) {
      const name = mutate(original, random, kind === 'foreign hf');
      const look = contentOf(original);
      if (look instanceof InputError) {
        outcomes.refused++;
        const named = look.format();
        if (!named.includes(name) && !/tensor "/u.test(named)) problems.push(`${round} ${name}: ${named}`);
      } else {
        outcomes.identical++;
        if (!sameBits(look, kind === 'state' ? tensors : weights))
          problems.push(`${round} ${name}: silently different`);
      }
      const bytes = files.get(name);
      if (bytes !== undefined) writeFileSync(join(original, name), bytes);
    }
    expect(problems).toEqual([]);
    expect(outcomes.refused).toBeGreaterThan(0.75 * rounds);
  },
);
