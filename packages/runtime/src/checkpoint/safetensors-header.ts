/**
 * The header of a safetensors file (https://huggingface.co/docs/safetensors): 8 bytes of little-endian length, that
 * many bytes of JSON, then the data. Strict: everything that the format demands is checked, and complaints name the
 * file and the tensor.
 */
import { InputError, isRecord, shownValue } from '@monta/core/units';
import { isSafetensorsType, safetensorsBytes } from './safetensors-types.js';
import type { SafetensorsType } from './safetensors-types.js';

/** As in the reference implementation: a longer header is refused. */
export const maxHeaderBytes = 100_000_000;

export interface TensorInfo {
  readonly name: string;
  readonly type: SafetensorsType;
  readonly shape: readonly number[];
  readonly elements: number;
  /** Bytes within the data part. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** A tensor name as shown: foreign files hold anything, so control characters are escaped and long names cut. */
function shown(name: string): string {
  const quoted = JSON.stringify(name);
  return quoted.length > 200 ? `${quoted.slice(0, 200)}…` : quoted;
}

/**
 * The first key that stands twice in the top-level object of a text that JSON.parse accepts (which keeps the last one
 * silently), or undefined.
 */
function duplicateKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === '"') {
      const start = i;
      for (i++; json[i] !== '"'; i++) if (json[i] === '\\') i++;
      let next = i + 1;
      while (' \t\r\n'.includes(json[next])) next++;
      if (depth !== 1 || json[next] !== ':') continue;
      const key = String(JSON.parse(json.slice(start, i + 1)));
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function parseTensor(file: string, name: string, entry: unknown, dataBytes: number): TensorInfo {
  const bad = (message: string, expected: string): InputError =>
    new InputError(`tensor ${shown(name)}: ${message}`, { file, expected });
  if (!isRecord(entry)) throw bad('its header entry is not an object', '{"dtype", "shape", "data_offsets"}');
  const { dtype, shape, data_offsets: offsets } = entry;
  const surplus = Object.keys(entry).find((key) => !['dtype', 'shape', 'data_offsets'].includes(key));
  if (surplus !== undefined) throw bad(`unknown key ${shown(surplus)}`, 'dtype, shape and data_offsets only');
  if (typeof dtype !== 'string' || !isSafetensorsType(dtype))
    throw bad(`type ${shownValue(dtype)} is not known`, `one of ${Object.keys(safetensorsBytes).join(', ')}`);
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw bad(`shape ${shownValue(shape)} is not a list of sizes`, 'a list of whole numbers from 0');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    throw bad(`data_offsets ${shownValue(offsets)} is not a range`, '[begin, end]');
  const elements = shape.reduce((product: number, size: number) => product * size, 1);
  const [begin, end] = offsets;
  if (!Number.isSafeInteger(elements * safetensorsBytes[dtype]))
    throw bad(`shape [${shape.join(', ')}] is too large`, 'a size below 2^53 bytes');
  if (begin > end || end - begin !== elements * safetensorsBytes[dtype])
    throw bad(
      `data_offsets [${begin}, ${end}] do not fit shape [${shape.join(', ')}] of ${dtype}`,
      `${elements * safetensorsBytes[dtype]} bytes`,
    );
  if (end > dataBytes)
    throw bad(`ends at byte ${end} of the data, the file has ${dataBytes}: it is truncated`, 'a complete file');
  return { name, type: dtype, shape, elements, begin, end };
}

/** Tensors must fill the data part without holes and overlaps. */
function checkCoverage(file: string, tensors: readonly TensorInfo[], dataBytes: number): void {
  let at = 0;
  let before: TensorInfo | undefined;
  for (const tensor of [...tensors].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (tensor.begin < at)
      throw new InputError(`tensor ${shown(tensor.name)} overlaps tensor ${shown(before?.name ?? '')}`, {
        file,
        expected: `it to begin at byte ${at} of the data, not ${tensor.begin}`,
      });
    if (tensor.begin > at)
      throw new InputError(`tensor ${shown(tensor.name)}: a hole of ${tensor.begin - at} bytes before it`, {
        file,
        expected: `it to begin at byte ${at} of the data, not ${tensor.begin}`,
      });
    at = tensor.end;
    before = tensor;
  }
  if (at !== dataBytes)
    throw new InputError(`${dataBytes - at} bytes after the last tensor ${shown(before?.name ?? '(none)')}`, {
      file,
      expected: `the file to end with the last tensor's data`,
    });
}

/**
 * `json`: the header's bytes; `dataBytes`: what the file holds after it; `file` is named in complaints. Throws
 * InputError.
 */
export function parseHeader(file: string, json: Uint8Array, dataBytes: number): SafetensorsHeader {
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
    parsed = JSON.parse(text);
  } catch (error) {
    throw new InputError(`the header is not JSON: ${error instanceof Error ? error.message : String(error)}`, {
      file,
      expected: 'a safetensors file',
    });
  }
  if (!isRecord(parsed) || !text.startsWith('{'))
    throw new InputError('the header is not a JSON object', { file, expected: 'a safetensors file' });
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined)
    throw new InputError(`tensor ${shown(duplicate)} is in the header twice`, { file, expected: 'every name once' });
  const metadata: Record<string, string> = {};
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of Object.entries(parsed)) {
    if (name !== '__metadata__') {
      tensors.set(name, parseTensor(file, name, entry, dataBytes));
      continue;
    }
    if (entry === null) continue; // as in the reference implementation: no metadata
    if (!isRecord(entry)) throw new InputError('__metadata__ is not an object', { file, expected: 'texts by name' });
    for (const [key, value] of Object.entries(entry)) {
      if (typeof value !== 'string')
        throw new InputError(`__metadata__: ${shown(key)} is not a text`, { file, expected: 'texts by name' });
      metadata[key] = value;
    }
  }
  checkCoverage(file, [...tensors.values()], dataBytes);
  return { tensors, metadata };
}
