/** Moving and adding up bytes that lie in the memories of different ranks. */
import type { Reduction } from '../reduction.js';
import { Elementwise } from './elementwise.js';
import { CpuMemory } from './memory.js';
import type { ElementType } from '../view.js';

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
export function copyBytes({
  source,
  from,
  target,
  to,
  bytes,
}: {
  readonly source: Bytes;
  readonly from: number;
  readonly target: Bytes;
  readonly to: number;
  readonly bytes: number;
}): void {
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

/** Elements that are reduced at a time, so that a tile is still in the cache when it is copied to its targets. */
const tileElements = 4096;

/** Reduces on the mover's own scratch memory; compiled at the first use. */
class Reducer {
  readonly tileI32 = new Int32Array(tileElements);
  readonly tileF32: Float32Array;
  readonly kernels: Elementwise;

  constructor() {
    const memory = CpuMemory.create({ bytes: tileElements * 4, maximumBytes: tileElements * 4 });
    this.kernels = new Elementwise(memory, 'communication');
    this.tileF32 = memory.f32(memory.allocateView('f32', tileElements));
  }
}

let reducer: Reducer | undefined;

/**
 * Reduces equal-sized blocks in the order given and writes the result to every target. A target may be one of the
 * contributions (same place). float32 sums round after each addition; int32 sums wrap.
 */
export function reduceBlocks({
  type,
  reduction,
  elements,
  contributions,
  targets,
}: {
  readonly type: ElementType;
  readonly reduction: Reduction;
  readonly elements: number;
  readonly contributions: readonly Contribution[];
  readonly targets: readonly Contribution[];
}): void {
  reducer ??= new Reducer();
  for (let done = 0; done < elements; done += tileElements) {
    const count = Math.min(tileElements, elements - done);
    if (type === 'f32') {
      const range = ({ memory, byteOffset }: Contribution): Float32Array => {
        const start = (byteOffset >>> 2) + done;
        return memory.f32.subarray(start, start + count);
      };
      const tile = reducer.tileF32.subarray(0, count);
      reducer.kernels.reduce(tile, contributions.map(range), reduction);
      for (const target of targets) range(target).set(tile);
    } else {
      const range = ({ memory, byteOffset }: Contribution): Int32Array => {
        const start = (byteOffset >>> 2) + done;
        return memory.i32.subarray(start, start + count);
      };
      const tile = reducer.tileI32.subarray(0, count);
      reduceIntegers(tile, contributions.map(range), reduction);
      for (const target of targets) range(target).set(tile);
    }
  }
}

function reduceIntegers(tile: Int32Array, inputs: readonly Int32Array[], reduction: Reduction): void {
  for (const [index, input] of inputs.entries()) {
    if (index === 0) tile.set(input);
    else if (reduction === 'sum') for (let i = 0; i < tile.length; i++) tile[i] += input[i];
    else for (let i = 0; i < tile.length; i++) tile[i] = Math.max(tile[i], input[i]);
  }
}
