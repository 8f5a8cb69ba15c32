import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readBrownCorpus, stripTags } from './brown-corpus.js';
import { heldOutBatch, readByteText, trainingBatch, unigramCrossEntropy, type ByteText } from './byte-data.js';

describe('Brown corpus', () => {
  it('strips tags and joins punctuation to its word', () => {
    const tagged = "\n\tThe/at jury/nn said/vbd ,/, ``/`` no/at (/( 1//cd )/) ''/'' ./.\n\n\n\tIt/pps ended/vbd ./.\n";
    expect(stripTags(tagged)).toBe('The jury said, "no (1/)".\nIt ended.\n');
  });

  it('has 500 texts with about 1.0 million words of running text and no tags left', () => {
    const pieces = readBrownCorpus();
    expect(pieces).toHaveLength(500);
    const words = pieces.reduce((sum, piece) => sum + piece.text.split(/\s+/).length, 0);
    expect(words).toBeGreaterThan(0.95e6);
    expect(words).toBeLessThan(1.1e6);
    expect(pieces.filter((piece) => /\w\/(nn|at|vb|jj)\b/.test(piece.text))).toEqual([]);
  });
});

const text = (length: number): ByteText => ({
  name: 'ramp',
  train: Uint8Array.from({ length }, (_, i) => i % 251),
  heldOut: Uint8Array.from({ length: 400 }, (_, i) => (i * 7) % 251),
});

describe('batches', () => {
  it('give each sequence the same bytes however the global batch is dealt out', () => {
    const whole = trainingBatch({ text: text(5000), seed: 3, step: 11, first: 0, sequences: 6, sequence: 16 });
    const parts = [0, 2, 4].flatMap((first) => [
      ...trainingBatch({ text: text(5000), seed: 3, step: 11, first, sequences: 2, sequence: 16 }),
    ]);
    expect([...whole]).toEqual(parts);
    expect(trainingBatch({ text: text(5000), seed: 3, step: 12, first: 0, sequences: 6, sequence: 16 })).not.toEqual(
      whole,
    );
  });

  it('have the next byte as target', () => {
    const batch = trainingBatch({ text: text(5000), seed: 1, step: 0, first: 0, sequences: 1, sequence: 32 });
    for (let i = 0; i < 31; i++) expect(batch[2 * i + 1]).toBe(batch[2 * (i + 1)]);
  });

  it('stay inside the held-out text', () => {
    const batch = heldOutBatch({ text: text(5000), first: 0, sequences: 8, of: 8, sequence: 64 });
    expect(batch[0]).toBe(0);
    expect(batch).toHaveLength(2 * 8 * 64);
  });
});

describe('unigram cross entropy', () => {
  it('is log 251 for bytes that are spread evenly', () => {
    expect(unigramCrossEntropy(text(251 * 400))).toBeCloseTo(Math.log(251), 2);
  });
});

describe('text files', () => {
  it('too short are refused, naming the size that would do', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'monta-text-')), 'short.txt');
    writeFileSync(file, 'hello');
    expect(() => readByteText(file, 64)).toThrow(/holds 5 bytes, too few to train on/);
  });
});
