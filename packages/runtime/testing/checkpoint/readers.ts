/**
 * Safetensors folders as others read them. `@huggingface/hub` is Hugging Face's own parser of headers, offsets and
 * sharded indices: it reads repositories over HTTP, so it is given a `fetch` that serves a folder. `@jax-js/loaders`
 * reads the numbers of a file in memory, but knows no BF16, and for F16 needs a `Float16Array`, which Node 20 lacks:
 * for it unsigned 16-bit numbers are put, the same bits. No package of npm was found that reads the numbers of BF16
 * tensors under Node; theirs are cut at the offsets that the first one reads.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  parseSafetensorsMetadata,
  type SafetensorsFileHeader,
  type SafetensorsParseFromRepo,
  type TensorInfo,
} from '@huggingface/hub';
import { safetensors } from '@jax-js/loaders';
import type { PlainTensor } from './tensors.js';

type RepositoryFetch = NonNullable<Parameters<typeof parseSafetensorsMetadata>[0]['fetch']>;

/** Answers requests for files of a repository, in part where a range is asked for, from a folder. */
const folderFetch =
  (folder: string): RepositoryFetch =>
  (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const path = join(folder, basename(new URL(url).pathname));
    if (!existsSync(path))
      return Promise.resolve(new Response(null, { status: 404, headers: { 'x-error-code': 'EntryNotFound' } }));
    const file = readFileSync(path);
    const range = /^bytes=(\d+)-(\d+)$/u.exec(new Headers(init?.headers).get('range') ?? '');
    if (range === null || init?.method === 'HEAD') return Promise.resolve(new Response(file));
    const [begin = 0, last = 0] = range.slice(1).map(Number);
    return Promise.resolve(
      new Response(file.subarray(begin, last + 1), {
        status: 206,
        headers: { 'content-range': `bytes ${begin}-${Math.min(last, file.length - 1)}/${file.length}`, etag: '"1"' },
      }),
    );
  };

export interface HubModel {
  readonly tensors: ReadonlyMap<string, PlainTensor>;
  /** Files of weights. */
  readonly files: readonly string[];
  /** Parameters by type of weight. */
  readonly parameters: Readonly<Record<string, number>>;
}

/** The files' headers: of the one file, or of the shards that the index names. */
const headersOf = (parsed: SafetensorsParseFromRepo) =>
  parsed.sharded ? parsed.headers : { 'model.safetensors': parsed.header };

const tensorsOf = (header: SafetensorsFileHeader): (readonly [string, TensorInfo])[] =>
  Object.entries(header as Record<string, TensorInfo>).filter(([name]) => name !== '__metadata__');

/** A model folder as the Hub reads a repository; each tensor's bytes are those at the offsets that it read. */
export async function readAsHub(folder: string): Promise<HubModel> {
  const parsed = await parseSafetensorsMetadata({
    repo: 'test/model',
    computeParametersCount: true,
    fetch: folderFetch(folder),
  });
  const headers = headersOf(parsed);
  const tensors = new Map<string, PlainTensor>();
  for (const [file, header] of Object.entries(headers)) {
    const bytes = readFileSync(join(folder, file));
    const data = 8 + Number(bytes.readBigUInt64LE(0));
    for (const [name, info] of tensorsOf(header)) {
      if (parsed.sharded && parsed.index.weight_map?.[name] !== file) throw new Error(`the index misplaces ${name}`);
      const {
        dtype,
        shape,
        data_offsets: [begin, end],
      } = info;
      tensors.set(name, { dtype, shape, bytes: bytes.subarray(data + begin, data + end) });
    }
  }
  if (parsed.sharded && Object.keys(parsed.index.weight_map ?? {}).length !== tensors.size)
    throw new Error('the index names tensors that no shard has');
  return { tensors, files: Object.keys(headers), parameters: parsed.parameterCount };
}

/** The numbers of a file's tensors, F32 or F16 (as bits). The caller has put a `Float16Array` where there is none. */
export function readNumbers(file: string): Map<string, PlainTensor> {
  const { buffer } = new Uint8Array(readFileSync(file));
  return new Map(
    Object.entries(safetensors.parse(buffer).tensors).map(([name, { dtype, shape, data }]) => [
      name,
      { dtype, shape, bytes: Buffer.from(data.buffer, data.byteOffset, data.byteLength) },
    ]),
  );
}
