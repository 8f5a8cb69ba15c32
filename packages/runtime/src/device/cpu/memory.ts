/**
 * One rank's device memory on the CPU: a shared WebAssembly.Memory, so that kernels, the rank's thread and the
 * communication thread all work on the same bytes. It holds a header (allocator state, and scratch for the GEMM and
 * elementwise kernels) and a stack-like allocator above it; planning of lifetimes is done by whoever calls `allocate`.
 */
import { DeviceMemoryError } from '../device.js';
import { elementBytes } from '../view.js';
import type { View } from '../view.js';

const pageBytes = 65536;
const alignment = 64;
/** WebAssembly with 32-bit addresses ends here. */
export const addressableBytes = 65536 * pageBytes;
/** Header: 64 bytes of allocator state, then scratch. */
const stateBytes = 64;
const topIndex = 0;
const magicIndex = 1;
const magic = 0x6d6f6e74;

const gemmBytes = 2 << 20;
const elementwiseBytes = 256 << 10;

/**
 * Scratch areas in the header, in bytes from the start of the memory. Each may be used by one thread at a time: GEMMs
 * and elementwise kernels by the rank's own thread, the last area by the one that does the rank's communication.
 */
export const scratch = {
  gemm: { byteOffset: stateBytes, bytes: gemmBytes },
  computation: { byteOffset: stateBytes + gemmBytes, bytes: elementwiseBytes },
  communication: { byteOffset: stateBytes + gemmBytes + elementwiseBytes, bytes: elementwiseBytes },
} as const;

const headerBytes = scratch.communication.byteOffset + scratch.communication.bytes;

/** What a thread needs to attach to the memory of another; survives `workerData` and `postMessage`. */
export interface CpuMemoryHandle {
  readonly memory: WebAssembly.Memory;
}

export interface CpuMemoryOptions {
  /** Bytes that can be allocated without growing. */
  readonly bytes: number;
  /**
   * The memory grows on demand up to this many allocatable bytes; default: what fits below 4 GiB. Only address space is
   * reserved.
   */
  readonly maximumBytes?: number;
}

export class CpuMemory {
  #buffer: SharedArrayBuffer;
  /** Buffers of before a growth: shorter, but the same bytes. */
  readonly #earlierBuffers = new WeakSet<ArrayBufferLike>();

  private constructor(readonly memory: WebAssembly.Memory) {
    this.#buffer = sharedBuffer(memory);
  }

  /** Makes a new memory. Throws `DeviceMemoryError` when the sizes exceed what WebAssembly can address. */
  static create({ bytes, maximumBytes }: CpuMemoryOptions): CpuMemory {
    const initialPages = Math.ceil((headerBytes + bytes) / pageBytes);
    const limit = maximumBytes === undefined ? addressableBytes : headerBytes + Math.max(bytes, maximumBytes);
    const maximumPages = Math.ceil(limit / pageBytes);
    if (!(bytes >= 0) || maximumPages > addressableBytes / pageBytes || initialPages > maximumPages) {
      throw new DeviceMemoryError(
        `device memory of ${bytes} bytes (maximum ${maximumBytes ?? 'none'}): a CPU rank can hold at most ` +
          `${addressableBytes - headerBytes} bytes`,
      );
    }
    const memory = reserve(initialPages, maximumPages);
    const state = new Uint32Array(memory.buffer, 0, stateBytes / 4);
    Atomics.store(state, topIndex, headerBytes);
    Atomics.store(state, magicIndex, magic);
    return new CpuMemory(memory);
  }

  /** The same memory, in another thread. */
  static attach({ memory }: CpuMemoryHandle): CpuMemory {
    const buffer = sharedBuffer(memory);
    if (buffer.byteLength < headerBytes || Atomics.load(new Uint32Array(buffer, 0, 2), magicIndex) !== magic) {
      throw new TypeError('CpuMemory.attach: the WebAssembly.Memory was not made by CpuMemory.create');
    }
    return new CpuMemory(memory);
  }

  get handle(): CpuMemoryHandle {
    return { memory: this.memory };
  }

  /** The current buffer. Growing makes a new, longer one; arrays over an earlier one stay valid. */
  get buffer(): SharedArrayBuffer {
    const current = sharedBuffer(this.memory);
    if (current !== this.#buffer) {
      this.#earlierBuffers.add(this.#buffer);
      this.#buffer = current;
    }
    return current;
  }

  /** Whether an array lies in this memory (so that its `byteOffset` is an address). */
  contains(array: ArrayBufferView): boolean {
    const { buffer } = array;
    return buffer === this.#buffer || buffer === this.buffer || this.#earlierBuffers.has(buffer);
  }

  /** Bytes between the header and the top of the allocations. */
  get allocatedBytes(): number {
    return this.mark() - headerBytes;
  }

  /**
   * A new run of bytes, aligned to 64, growing the memory when needed. Its content is undefined (zero the first time).
   * Safe from any thread. Throws `DeviceMemoryError` when the maximum would be passed.
   */
  allocate(bytes: number): number {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new RangeError(`CpuMemory.allocate: bytes must be a whole number of at least 0, not ${bytes}`);
    }
    const state = this.#state();
    for (;;) {
      const top = Atomics.load(state, topIndex);
      const end = top + Math.ceil(bytes / alignment) * alignment;
      this.#reach(end, bytes, top);
      if (Atomics.compareExchange(state, topIndex, top, end) === top) return top;
    }
  }

  /** Allocates room for `length` elements. */
  allocateView(type: View['type'], length: number): View {
    return { type, byteOffset: this.allocate(length * elementBytes[type]), length };
  }

  /** The top of the allocations, for `release`. */
  mark(): number {
    return Atomics.load(this.#state(), topIndex);
  }

  /** Gives back everything allocated since the mark was taken. Marks are released last in, first out, by one thread. */
  release(mark: number): void {
    const state = this.#state();
    const top = Atomics.load(state, topIndex);
    if (!(mark >= headerBytes && mark <= top && mark % alignment === 0)) {
      throw new RangeError(`CpuMemory.release: ${mark} is not a mark between ${headerBytes} and ${top}`);
    }
    Atomics.store(state, topIndex, mark);
  }

  /** The elements of an f32 view. */
  f32(view: View): Float32Array {
    this.#expect(view, 'f32');
    return new Float32Array(this.#bufferOf(view), view.byteOffset, view.length);
  }

  /** The elements of an i32 view. */
  i32(view: View): Int32Array {
    this.#expect(view, 'i32');
    return new Int32Array(this.#bufferOf(view), view.byteOffset, view.length);
  }

  /** The bit patterns of a bf16 or f16 view. */
  u16(view: View): Uint16Array {
    if (elementBytes[view.type] !== 2)
      throw new TypeError(`CpuMemory.u16: a bf16 or f16 view is needed, not ${view.type}`);
    return new Uint16Array(this.#bufferOf(view), view.byteOffset, view.length);
  }

  /** The bytes of a view of any type. */
  u8(view: View): Uint8Array {
    return new Uint8Array(this.#bufferOf(view), view.byteOffset, view.length * elementBytes[view.type]);
  }

  #expect(view: View, type: View['type']): void {
    if (view.type !== type) throw new TypeError(`CpuMemory.${type}: a view of ${type} is needed, not ${view.type}`);
  }

  #state(): Uint32Array {
    return new Uint32Array(this.#buffer, 0, stateBytes / 4);
  }

  #bufferOf(view: View): SharedArrayBuffer {
    const end = view.byteOffset + view.length * elementBytes[view.type];
    if (end <= this.#buffer.byteLength) return this.#buffer;
    // Another thread may have grown the memory; growing by nothing makes this thread notice.
    if (end > this.buffer.byteLength) this.memory.grow(0);
    if (end > this.buffer.byteLength) {
      throw new RangeError(
        `view of bytes ${view.byteOffset}..${end} is beyond the memory's ${this.#buffer.byteLength} bytes`,
      );
    }
    return this.#buffer;
  }

  #reach(end: number, bytes: number, top: number): void {
    if (end <= this.buffer.byteLength) return;
    this.memory.grow(0);
    const missing = end - this.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.memory.grow(Math.ceil(missing / pageBytes));
    } catch (cause) {
      throw new DeviceMemoryError(
        `device memory is full: ${bytes} bytes asked for, ${top - headerBytes} allocated, and it cannot grow ` +
          `beyond ${this.#buffer.byteLength} bytes`,
        { cause },
      );
    }
  }
}

function sharedBuffer(memory: WebAssembly.Memory): SharedArrayBuffer {
  const buffer: unknown = memory.buffer;
  if (buffer instanceof SharedArrayBuffer) return buffer;
  throw new TypeError('CpuMemory: the WebAssembly.Memory must be shared');
}

/**
 * Pages of address space. Throws `DeviceMemoryError` where the system has no room for them: a limit on the process, or
 * on the machine.
 */
function reserve(initial: number, maximum: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial, maximum, shared: true });
  } catch (error) {
    const [wanted, least] = [maximum, initial].map((pages) => Math.ceil((pages * pageBytes) / 2 ** 20));
    throw new DeviceMemoryError(
      `the system has no room for a rank's memory: ${wanted} MiB of address space, of which ${least} MiB are used ` +
        'at once; raise the limit (ulimit -v) or start fewer ranks',
      { cause: error },
    );
  }
}
