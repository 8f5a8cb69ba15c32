/**
 * Traces of other programs' profilers, of any known kind: the content decides which reader gets a file. Large files are
 * read in pieces, compressed or not.
 */
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import type { InspectorRecord, RankProfile } from '@monta/core';
import { appendAll, InputError } from '@monta/core/units';
import { looksLikeInspector, readInspectorRecords } from '@monta/core/cost';
import { KinetoReader } from '@monta/core/profiles';
import { fileError } from '../errors.js';

export interface ProfileReading {
  readonly profiles: readonly RankProfile[];
  /** Of the NCCL Inspector. */
  readonly records: readonly InspectorRecord[];
  readonly warnings: readonly string[];
}

/** Told how many bytes of all files were read. */
export type OnBytes = (bytes: number) => void;

const gzipMagic = [0x1f, 0x8b] as const;
const sqliteMagic = 'SQLite format 3\0';
const pieceBytes = 1 << 20;

/** Names that traces have in a folder. */
const traceName = /\.(?:json|jsonl|log|sqlite)(?:\.gz)?$/iu;

/** The files that people named, and those of the folders that they named, in order of their names. */
export function profileFiles(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return [path];
    const inside = readdirSync(path).filter((name) => traceName.test(name));
    if (inside.length === 0)
      throw new InputError('has no traces', {
        file: path,
        expected: 'files that end with .json, .json.gz, .jsonl or .sqlite',
      });
    return inside.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => join(path, name));
  });
}

/** Bytes of all files, for a progress line. */
export const bytesOfFiles = (files: readonly string[]): number =>
  files.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);

/** Reads one file after another. Throws `InputError` that names the file. */
export async function readProfiles(files: readonly string[], onBytes: OnBytes): Promise<ProfileReading> {
  const profiles: RankProfile[] = [];
  const records: InspectorRecord[] = [];
  const warnings: string[] = [];
  for (const file of files) {
    const read = await readOne(file, profiles.length, onBytes);
    appendAll(profiles, read.profiles);
    for (const record of read.records) records.push(record);
    appendAll(warnings, read.warnings);
  }
  return { profiles, records, warnings };
}

async function readOne(file: string, place: number, onBytes: OnBytes): Promise<ProfileReading> {
  const bytes = createReadStream(file, { highWaterMark: pieceBytes });
  let kineto: KinetoReader | undefined;
  let inspector: string[] | undefined;
  let logLength = 0;
  try {
    for await (const text of textOf(bytes, file, onBytes)) {
      if (text === sqlite) {
        const { readNsys } = await import('./read-nsys.js');
        return { profiles: readNsys(file, place), records: [], warnings: [] };
      }
      if (kineto === undefined && inspector === undefined) {
        if (text.trim() === '') continue;
        if (looksLikeInspector(text.slice(0, 1 << 16))) inspector = [];
        else kineto = new KinetoReader(file);
      }
      if (inspector !== undefined && (logLength += text.length) > mostLogLength)
        throw new InputError('is too large', { file, expected: `a log of at most ${mostLogLength} characters` });
      inspector?.push(text);
      kineto?.push(text);
    }
  } catch (error) {
    throw error instanceof InputError ? error : asInputError(error, file);
  } finally {
    bytes.destroy();
  }
  if (inspector !== undefined) {
    const { records, warnings } = readInspectorRecords(inspector.join(''), file);
    return { profiles: [], records, warnings };
  }
  if (kineto === undefined) throw new InputError('is empty', { file, expected: 'a trace' });
  return { profiles: [kineto.end({ rank: place })], records: [], warnings: [] };
}

function asInputError(error: unknown, file: string): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code.startsWith('Z_'))
    return new InputError('cannot be unpacked: it is cut short or damaged', { file, expected: 'gzip' });
  if (error instanceof TypeError)
    return new InputError('is not a text file', { file, expected: 'a trace', hint: 'is it the file you meant?' });
  return fileError(error, file);
}

/** Stands for the text of a database, which is read by other means. */
const sqlite = Symbol('SQLite');

/** Text of a file, unpacked, in pieces; one symbol for a database. */
async function* textOf(
  bytes: AsyncIterable<Buffer>,
  file: string,
  onBytes: OnBytes,
): AsyncGenerator<string | typeof sqlite> {
  const iterator = bytes[Symbol.asyncIterator]();
  const first = await iterator.next();
  const head: Buffer = first.done === true ? Buffer.alloc(0) : first.value;
  if (head.subarray(0, sqliteMagic.length).toString('latin1') === sqliteMagic) {
    yield sqlite;
    return;
  }
  async function* counted(): AsyncGenerator<Buffer> {
    onBytes(head.length);
    yield head;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      onBytes(next.value.length);
      yield next.value;
    }
  }
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const packed = gzipMagic.every((byte, k) => head[k] === byte);
  const plain = packed ? unpacked(counted(), file) : counted();
  for await (const piece of plain) yield decoder.decode(piece, { stream: true });
  yield decoder.decode();
}

/** Traces shrink to a tenth or a thirtieth; a small file that unpacks without end is none. */
const mostRatio = 250;
const ratioFrom = 64 * 2 ** 20;
/** Of an Inspector's log, which is held whole. */
const mostLogLength = 512 * 2 ** 20;

async function* unpacked(packed: AsyncIterable<Buffer>, file: string): AsyncGenerator<Buffer> {
  const { Readable } = await import('node:stream');
  const gunzip = createGunzip({ chunkSize: pieceBytes });
  const source = Readable.from(packed);
  source.on('error', (error) => gunzip.destroy(error));
  source.pipe(gunzip);
  let length = 0;
  for await (const piece of gunzip as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length > ratioFrom && length > mostRatio * gunzip.bytesWritten)
      throw new InputError('unpacks to more than any trace', {
        file,
        expected: `at most ${mostRatio} times its own size`,
      });
    yield piece;
  }
}
