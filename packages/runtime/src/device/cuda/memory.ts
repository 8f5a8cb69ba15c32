/**
 * Memory of a card: plain allocations (never managed memory, which can hang a card), kept and given out again, and a
 * pinned buffer through which data comes and goes.
 */
import koffi from 'koffi';
import { DeviceMemoryError } from '../device.js';
import { cuda, CudaError, written, type Address, type RuntimeLibrary } from './bindings/index.js';

/** Small blocks are rounded to this, as CUDA aligns them; large ones to a page of the card. */
const smallBytes = 512;
const pageBytes = 2 ** 21;
/** Size of the pinned buffer. */
const stagingBytes = 2 ** 24;

/** What an allocation of `bytes` really takes. */
export function roundedBytes(bytes: number): number {
  const unit = bytes >= pageBytes / 2 ? pageBytes : smallBytes;
  return Math.max(1, Math.ceil(bytes / unit)) * unit;
}

function isOutOfMemory(error: unknown): error is CudaError {
  return error instanceof CudaError && error.code === cuda.outOfMemory;
}

export class DeviceMemory {
  readonly #runtime: RuntimeLibrary;
  readonly #makeRoom: () => void;
  /** Free blocks by size. */
  readonly #free = new Map<number, Address[]>();
  /** Sizes of blocks in use. */
  readonly #used = new Map<Address, number>();
  #staging: { readonly address: Address; readonly bytes: Uint8Array } | undefined;
  #usedBytes = 0;
  #peakBytes = 0;

  /** makeRoom: called where the card has none; by default this pool alone gives back what it keeps. */
  constructor(runtime: RuntimeLibrary, makeRoom: () => void = () => this.trim()) {
    this.#runtime = runtime;
    this.#makeRoom = makeRoom;
  }

  /** Bytes given out now, and the most at any time; rounded sizes. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  /**
   * The contents are whatever lay there. Throws `DeviceMemoryError` when the card has no room, also after what is kept
   * was given back.
   */
  allocate(bytes: number): Address {
    const size = roundedBytes(bytes);
    const address = this.#free.get(size)?.pop() ?? this.#take(size);
    this.#used.set(address, size);
    this.#usedBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
    return address;
  }

  /**
   * Keeps a block for the next allocation of its size. Work on it must be done, or be on the stream that will use it
   * next.
   */
  free(address: Address): void {
    const size = this.#used.get(address);
    if (size === undefined) throw new RangeError(`no block of the card's memory begins at ${address}`);
    this.#used.delete(address);
    this.#usedBytes -= size;
    const kept = this.#free.get(size);
    if (kept === undefined) this.#free.set(size, [address]);
    else kept.push(address);
  }

  /** Gives what is kept back to the card. */
  trim(): void {
    for (const blocks of this.#free.values()) for (const address of blocks) this.#runtime.cudaFree(address);
    this.#free.clear();
  }

  /** Copies bytes to the card; waits until they are there. */
  write(address: Address, from: Uint8Array): void {
    const staging = this.#stage();
    for (let done = 0; done < from.length; done += stagingBytes) {
      const part = from.subarray(done, done + stagingBytes);
      staging.bytes.set(part);
      this.#runtime.cudaMemcpyAsync(address + done, staging.address, part.length, cuda.copyAnyWay, 0);
      this.#runtime.cudaStreamSynchronize(0);
    }
  }

  /** Copies bytes from the card; waits for the copy alone: work that writes them must be done. */
  read(address: Address, into: Uint8Array): void {
    const staging = this.#stage();
    for (let done = 0; done < into.length; done += stagingBytes) {
      const length = Math.min(stagingBytes, into.length - done);
      this.#runtime.cudaMemcpyAsync(staging.address, address + done, length, cuda.copyAnyWay, 0);
      this.#runtime.cudaStreamSynchronize(0);
      into.set(staging.bytes.subarray(0, length), done);
    }
  }

  /** Pinned memory of this process, which copies on a stream can reach while this thread goes on. */
  allocatePinned(bytes: number): { readonly address: Address; readonly bytes: Uint8Array } {
    const address = written((cell) => this.#runtime.cudaMallocHost(cell, bytes));
    return { address, bytes: new Uint8Array(koffi.view(BigInt(address), bytes)) };
  }

  /** Its bytes must not be touched afterwards. */
  freePinned({ address }: { readonly address: Address }): void {
    this.#runtime.cudaFreeHost(address);
  }

  /** Everything goes back to the card, blocks in use too. */
  close(): void {
    this.trim();
    for (const address of this.#used.keys()) this.#runtime.cudaFree(address);
    this.#used.clear();
    this.#usedBytes = 0;
    if (this.#staging !== undefined) this.freePinned(this.#staging);
    this.#staging = undefined;
  }

  #take(size: number): Address {
    const take = (): Address => written((cell) => this.#runtime.cudaMalloc(cell, size));
    try {
      return take();
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
    }
    this.#makeRoom();
    try {
      return take();
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      throw new DeviceMemoryError(`the card has no room for ${size} bytes beside ${this.#usedBytes}: ${error.message}`);
    }
  }

  #stage(): { readonly address: Address; readonly bytes: Uint8Array } {
    this.#staging ??= this.allocatePinned(stagingBytes);
    return this.#staging;
  }
}
