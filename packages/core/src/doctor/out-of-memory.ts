/** PyTorch's message that a GPU's memory is full, as figures. */
import { InputError } from '../units/errors.js';

export interface OutOfMemory {
  /** 1-based line of the file. */
  readonly line: number;
  /** Global rank, where the launcher wrote it before the line. */
  readonly rank: number | undefined;
  /** What the allocator asked the driver for: the tensor, rounded up as `allocatorRequest` does. */
  readonly requestedBytes: number;
  /** Half of the last digit that was printed of the request. */
  readonly precisionBytes: number;
  /** Of the device, or what this process is allowed of it. */
  readonly capacityBytes: number;
  /** Of the device, when the request failed. */
  readonly freeBytes: number;
  /** Of this process, with what is not PyTorch's; undefined in old messages. */
  readonly processBytes: number | undefined;
  /** Handed out by PyTorch's allocator. */
  readonly allocatedBytes: number;
  /** Held by PyTorch's allocator beyond what it has handed out. */
  readonly unallocatedBytes: number;
}

const units: Readonly<Record<string, number>> = { bytes: 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 };

/** `2.50 GiB`, as c10's `format_size` prints it. */
const size = String.raw`(\d+(?:\.\d+)?)\s*(bytes|[KMGT]iB)`;

/** A log may break lines anywhere between words. */
const wording = (text: string): RegExp => new RegExp(text.replaceAll(' ', String.raw`\s+`), 'iu');

/**
 * How messages begin: c10/cuda/CUDACachingAllocator.cpp, with the same words for other devices; and
 * CUDAMallocAsyncAllocator.cpp (PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync).
 */
const start = wording(
  `(?:CUDA|HIP|XPU|NPU) out of memory[.!]? Tried to allocate ${size}|` +
    String.raw`Allocation on device (?:\d+ )?would exceed allowed memory\. \(out of memory\)`,
);
const patterns = {
  requested: [wording(String.raw`Requested\s*: ${size}`)],
  // "capacty" is PyTorch 2.0's spelling.
  capacity: [
    wording(`total capaci?ty of ${size}`),
    wording(`${size} total capaci?ty`),
    wording(String.raw`Device limit\s*: ${size}`),
  ],
  /** torch.cuda.set_per_process_memory_fraction. */
  allowed: [wording(`${size} allowed`), wording(String.raw`PyTorch limit \([^)]*\)\s*: ${size}`)],
  free: [
    wording(`of which ${size} is free`),
    wording(`${size} free`),
    wording(String.raw`Free \(according to \w+\)\s*: ${size}`),
  ],
  process: [
    wording(`this process has ${size} memory in use`),
    wording(String.raw`Process \d+ has ${size} memory in use`),
  ],
  allocated: [
    wording(`${size} is allocated by PyTorch`),
    wording(`${size} already allocated`),
    wording(String.raw`Currently allocated\s*: ${size}`),
  ],
  // "cached" up to PyTorch 1.3
  unallocated: [wording(`${size} is reserved by PyTorch but unallocated`), wording(`${size} cached`)],
  reserved: [wording(`${size} reserved in total by PyTorch`)],
} as const;

/** A figure, and half of its last digit. */
interface Size {
  readonly bytes: number;
  readonly precision: number;
}

function sizeOf(match: RegExpMatchArray | null): Size | undefined {
  const [, digits, unit] = match ?? [];
  const factor = units[(unit ?? '').toLowerCase()];
  if (digits === undefined || factor === undefined) return undefined;
  const decimals = digits.split('.')[1]?.length ?? 0;
  return { bytes: Number(digits) * factor, precision: (0.5 * factor) / 10 ** decimals };
}

function figure(text: string, name: keyof typeof patterns): Size | undefined {
  for (const pattern of patterns[name]) {
    const found = sizeOf(pattern.exec(text));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The longest message that PyTorch prints, with room for other processes. */
const messageLength = 4000;

/** `[rank12]:`, `[rank 12]`, `12:` (srun --label). */
const rankOf = (line: string): number | undefined => {
  const match = /\[rank\s*(\d{1,7})\]/iu.exec(line) ?? /^\s*(\d{1,7}):\s/u.exec(line);
  return match?.[1] === undefined ? undefined : Number(match[1]);
};

/** Whether a text has such a message. */
export const looksOutOfMemory = (text: string): boolean => start.test(text);

/**
 * Every such message of a log, in order. Throws `InputError` for one of which figures are missing, with its line.
 */
export function readOutOfMemory(text: string, file: string): OutOfMemory[] {
  const found: OutOfMemory[] = [];
  let [before, line] = [0, 1];
  for (const match of text.matchAll(new RegExp(start, 'giu'))) {
    line += linesIn(text.slice(before, match.index));
    before = match.index;
    const behind = text.slice(match.index, match.index + messageLength);
    const next = behind.slice(match[0].length).search(start);
    const row = text.slice(text.lastIndexOf('\n', match.index) + 1, match.index);
    const end = next < 0 ? messageLength : match[0].length + next;
    found.push(message(behind.slice(0, end), { match, row, line, file }));
  }
  return found;
}

const linesIn = (text: string): number => text.split('\n').length - 1;

interface Place {
  readonly match: RegExpMatchArray;
  /** What stands before it on its line. */
  readonly row: string;
  readonly line: number;
  readonly file: string;
}

function message(text: string, { match, row, line, file }: Place): OutOfMemory {
  const requested = match[1] === undefined ? figure(text, 'requested') : sizeOf(match);
  const [capacity, allocated, free] = [figure(text, 'capacity'), figure(text, 'allocated'), figure(text, 'free')];
  if (requested === undefined || capacity === undefined || allocated === undefined || free === undefined)
    throw new InputError('a message of full memory without all of its figures', {
      file,
      line,
      expected: "PyTorch's whole message: total capacity, free, allocated by PyTorch, reserved but unallocated",
      hint: 'paste the message whole, to "… reserved by PyTorch but unallocated"',
    });
  const reserved = figure(text, 'reserved') ?? allocated;
  return {
    line,
    rank: rankOf(row),
    requestedBytes: requested.bytes,
    precisionBytes: requested.precision,
    capacityBytes: Math.min(capacity.bytes, figure(text, 'allowed')?.bytes ?? Infinity),
    freeBytes: free.bytes,
    processBytes: figure(text, 'process')?.bytes,
    allocatedBytes: allocated.bytes,
    unallocatedBytes: figure(text, 'unallocated')?.bytes ?? Math.max(0, reserved.bytes - allocated.bytes),
  };
}

const mebi = 2 ** 20;

/**
 * What PyTorch asks the driver for when a tensor of `bytes` finds no free block (c10/cuda/CUDACachingAllocator.cpp,
 * `get_allocation_size`): 2 MiB for small ones, 20 MiB up to 10 MiB, else multiples of 2 MiB.
 */
export function allocatorRequest(bytes: number): number {
  if (bytes <= mebi) return 2 * mebi;
  if (bytes < 10 * mebi) return 20 * mebi;
  return Math.ceil(bytes / (2 * mebi)) * 2 * mebi;
}
