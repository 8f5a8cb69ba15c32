/** Moving and adding up bytes that lie in the memories of different ranks. */
import type { Reduction } from '../communicator.js';
import type { ElementType } from '../../device/view.js';

/** One memory, seen as bytes and as 32-bit words. */
export class Bytes {
  u8: Uint8Array;
  i32: Int32Array;
  f32: Float32Array;

  constructor(
    buffer: ArrayBufferLike,
    /** The memory's current buffer, when it can grow. */
    private readonly current?: () => ArrayBufferLike,
  ) {
    [this.u8, this.i32, this.f32] = views(buffer);
  }

  static ofMemory(memory: WebAssembly.Memory): Bytes {
    return new Bytes(memory.buffer, () => {
      // Another thread may have grown the memory; growing by nothing makes this thread notice.
      memory.grow(0);
      return memory.buffer;
    });
  }

  /** Makes sure that the views reach up to byte `end`. */
  cover(end: number): void {
    if (end <= this.u8.length) return;
    if (this.current !== undefined) [this.u8, this.i32, this.f32] = views(this.current());
    if (end > this.u8.length) throw new RangeError(`byte ${end} is beyond a memory of ${this.u8.length} bytes`);
  }
}

function views(buffer: ArrayBufferLike): [Uint8Array, Int32Array, Float32Array] {
  const words = buffer.byteLength >>> 2;
  return [new Uint8Array(buffer), new Int32Array(buffer, 0, words), new Float32Array(buffer, 0, words)];
}

/** Below this many bytes a loop beats the set-up of two sub-arrays. */
const loopBytes = 256;

/** Copies between memories, or inside one (ranges may overlap only if they are equal). */
export function copyBytes(source: Bytes, from: number, target: Bytes, to: number, bytes: number): void {
  const words = (from & 3) === 0 && (to & 3) === 0;
  if (words && (bytes < loopBytes || ((from ^ to) & 7) !== 0)) {
    // Between shared memories, TypedArray.set copies byte by byte unless both sides are aligned alike to 8 bytes.
    const last = bytes >>> 2;
    const a = source.i32;
    const b = target.i32;
    const start = from >>> 2;
    const shift = (to >>> 2) - start;
    for (let i = start; i < start + last; i++) b[i + shift] = a[i];
    for (let i = last << 2; i < bytes; i++) target.u8[to + i] = source.u8[from + i];
    return;
  }
  target.u8.set(source.u8.subarray(from, from + bytes), to);
}

/** A block of elements to be reduced: where each contribution starts, in rank order. */
export interface Contribution {
  readonly memory: Bytes;
  readonly byteOffset: number;
}

/** Elements that are added up at a time; three tiles fit a first-level cache. */
const tileElements = 2048;
const tileF32 = new Float32Array(tileElements);
const tileI32 = new Int32Array(tileElements);

/**
 * Reduces equal-sized blocks in the order given and writes the result to every target. A target may be one of the contributions
 * (same place). float32 sums round after each addition; int32 sums wrap.
 */
export function reduceBlocks(
  type: ElementType,
  reduction: Reduction,
  elements: number,
  contributions: readonly Contribution[],
  targets: readonly Contribution[],
): void {
  const float = type === 'f32';
  const tile = float ? tileF32 : tileI32;
  for (let done = 0; done < elements; done += tileElements) {
    const count = Math.min(tileElements, elements - done);
    for (const [index, { memory, byteOffset }] of contributions.entries()) {
      const words = float ? memory.f32 : memory.i32;
      const start = (byteOffset >>> 2) + done;
      if (index === 0) tile.set(words.subarray(start, start + count));
      else if (reduction === 'sum') addTo(tile, words, start, count);
      else maxTo(tile, words, start, count);
    }
    for (const { memory, byteOffset } of targets) {
      const words = float ? memory.f32 : memory.i32;
      words.set(count === tileElements ? tile : tile.subarray(0, count), (byteOffset >>> 2) + done);
    }
  }
}

type Words = Float32Array | Int32Array;

function addTo(tile: Words, words: Words, start: number, count: number): void {
  for (let i = 0; i < count; i++) tile[i] = tile[i] + words[start + i];
}

function maxTo(tile: Words, words: Words, start: number, count: number): void {
  // Math.max keeps NaN whichever side it is on.
  for (let i = 0; i < count; i++) tile[i] = Math.max(tile[i], words[start + i]);
}
