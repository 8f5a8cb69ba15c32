/**
 * Room for buffers in a rank's device memory: extents taken from the memory, cut up best fit, neighbours joined again
 * when given back. Addresses stay fixed while a buffer lives, because collectives hold them.
 */
import { DeviceMemoryError } from './device.js';

const alignment = 64;
/** The memory is asked for at least this much at a time, so that small regions do not leave many extents behind. */
const extentBytes = 4 << 20;

/** Where extents come from; they are not given back. */
export interface ExtentSource {
  /** The address of `bytes` bytes, aligned to 64. Throws `DeviceMemoryError` when there are none. */
  allocate(bytes: number): number;
}

interface Hole {
  offset: number;
  bytes: number;
}

export class Arena {
  readonly #memory: ExtentSource;
  /** Free runs, by offset; no two touch. */
  readonly #holes: Hole[] = [];
  readonly #taken = new Map<number, number>();
  #usedBytes = 0;
  #peakBytes = 0;

  constructor(memory: ExtentSource) {
    this.#memory = memory;
  }

  /** Bytes in use now. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The most bytes ever in use. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /**
   * A run of at least `bytes`, aligned to 64; its content is undefined. Throws `DeviceMemoryError` when the memory is
   * full.
   */
  allocate(bytes: number): number {
    const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
    let hole = this.#bestFit(size);
    if (hole === undefined) {
      this.#addExtent(size);
      hole = this.#bestFit(size);
    }
    if (hole === undefined) throw new Error(`arena: no hole of ${size} bytes after growing`);
    const { offset } = hole;
    hole.offset += size;
    hole.bytes -= size;
    if (hole.bytes === 0) this.#holes.splice(this.#holes.indexOf(hole), 1);
    this.#taken.set(offset, size);
    this.#usedBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
    return offset;
  }

  release(offset: number): void {
    const bytes = this.#taken.get(offset);
    if (bytes === undefined) throw new RangeError(`arena: nothing is allocated at ${offset}`);
    this.#taken.delete(offset);
    this.#usedBytes -= bytes;
    this.#addHole(offset, bytes);
  }

  /** A whole extent, or, where the memory is nearly full, as much as is needed. */
  #addExtent(size: number): void {
    for (const bytes of size < extentBytes ? [extentBytes, size] : [size]) {
      try {
        this.#addHole(this.#memory.allocate(bytes), bytes);
        return;
      } catch (error) {
        if (!(error instanceof DeviceMemoryError) || bytes === size) throw error;
      }
    }
  }

  #bestFit(size: number): Hole | undefined {
    let best: Hole | undefined;
    for (const hole of this.#holes)
      if (hole.bytes >= size && (best === undefined || hole.bytes < best.bytes)) best = hole;
    return best;
  }

  #addHole(offset: number, bytes: number): void {
    let place = this.#holes.findIndex((hole) => hole.offset > offset);
    if (place < 0) place = this.#holes.length;
    this.#holes.splice(place, 0, { offset, bytes });
    for (const left of [place, place - 1]) {
      const [a, b] = [this.#holes[left], this.#holes[left + 1]];
      if (a === undefined || b === undefined || a.offset + a.bytes !== b.offset) continue;
      a.bytes += b.bytes;
      this.#holes.splice(left + 1, 1);
    }
  }
}
