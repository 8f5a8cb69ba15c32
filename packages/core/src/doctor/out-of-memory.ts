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
  readonly capacityBytes: number;
  readonly freeBytes: number;
  /** Of this process, with what is not PyTorch's; undefined in old messages. */
  readonly processBytes: number | undefined;
  readonly allocatedBytes: number;
  /** Held by PyTorch's allocator beyond what it has handed out. */
  readonly unallocatedBytes: number;
}

const units: Readonly<Record<string, number>> = { bytes: 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 };

/** `2.50 GiB`, as c10's `format_size` prints it. */
const size = String.raw`(\d+(?:\.\d+)?)\s*(bytes|[KMGT]iB)`;
const start = new RegExp(String.raw`(?:CUDA|HIP|XPU) out of memory\. Tried to allocate ${size}`, 'iu');
const patterns = {
  // "capacty" is PyTorch 2.0's spelling.
  capacity: [new RegExp(`total capaci?ty of ${size}`, 'iu'), new RegExp(`${size} total capaci?ty`, 'iu')],
  free: [new RegExp(`of which ${size} is free`, 'iu'), new RegExp(`${size} free`, 'iu')],
  process: [
    new RegExp(`this process has ${size} memory in use`, 'iu'),
    new RegExp(String.raw`Process \d+ has ${size} memory in use`, 'iu'),
  ],
  allocated: [new RegExp(`${size} is allocated by PyTorch`, 'iu'), new RegExp(`${size} already allocated`, 'iu')],
  unallocated: [new RegExp(`${size} is reserved by PyTorch but unallocated`, 'iu')],
  reserved: [new RegExp(`${size} reserved in total by PyTorch`, 'iu')],
} as const;

function bytesOf(match: RegExpExecArray | null): number | undefined {
  const [, digits, unit] = match ?? [];
  const factor = units[(unit ?? '').toLowerCase()];
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor;
}

function figure(text: string, name: keyof typeof patterns): number | undefined {
  for (const pattern of patterns[name]) {
    const bytes = bytesOf(pattern.exec(text));
    if (bytes !== undefined) return bytes;
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
  let [offset, line] = [0, 1];
  for (const row of text.split('\n')) {
    const match = start.exec(row);
    if (match) found.push(message(text.slice(offset, offset + messageLength), { match, row, line, file }));
    offset += row.length + 1;
    line += 1;
  }
  return found;
}

interface Place {
  readonly match: RegExpExecArray;
  readonly row: string;
  readonly line: number;
  readonly file: string;
}

function message(following: string, { match, row, line, file }: Place): OutOfMemory {
  const next = following.slice(match.index + match[0].length).search(start);
  const text = next < 0 ? following : following.slice(0, match.index + match[0].length + next);
  const requestedBytes = bytesOf(match);
  const capacityBytes = figure(text, 'capacity');
  const allocatedBytes = figure(text, 'allocated');
  const freeBytes = figure(text, 'free');
  const reserved = figure(text, 'reserved');
  if (
    requestedBytes === undefined ||
    capacityBytes === undefined ||
    allocatedBytes === undefined ||
    freeBytes === undefined
  )
    throw new InputError('a message of full memory without all of its figures', {
      file,
      line,
      expected: "PyTorch's whole message: total capacity, free, allocated by PyTorch, reserved but unallocated",
      hint: 'paste the message whole, to "… reserved by PyTorch but unallocated"',
    });
  const decimals = match[1]?.split('.')[1]?.length ?? 0;
  const unit = units[(match[2] ?? '').toLowerCase()] ?? 1;
  return {
    line,
    rank: rankOf(row),
    requestedBytes,
    precisionBytes: (0.5 * unit) / 10 ** decimals,
    capacityBytes,
    freeBytes,
    processBytes: figure(text, 'process'),
    allocatedBytes,
    unallocatedBytes: figure(text, 'unallocated') ?? Math.max(0, (reserved ?? allocatedBytes) - allocatedBytes),
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
