/** Memory for contributions that wait to be reduced, outside the rank's own, whose allocator belongs to the rank. */
import type { Reduction } from '../communicator.js';
import { Bytes, reduceBlocks } from '../../device/cpu/bytes.js';
import { CpuMemory, Elementwise } from '../../device/cpu/index.js';
import type { ElementType, View } from '../../device/view.js';

const smallestBytes = 4096;
const firstBytes = 1 << 20;

export class Staging {
  private readonly memory = CpuMemory.create({ bytes: firstBytes });
  private readonly kernels = new Elementwise(this.memory, 'communication');
  private readonly bytes = Bytes.ofMemory(this.memory.memory);
  /** Blocks that are free, by size, a power of two. */
  private readonly free = new Map<number, number[]>();

  /** Room for elements; give it back with `release`. */
  take(type: ElementType, length: number): View {
    const size = sizeClass(length);
    const byteOffset = this.free.get(size)?.pop() ?? this.memory.allocate(size);
    return { type, byteOffset, length };
  }

  release(view: View): void {
    const size = sizeClass(view.length);
    this.free.set(size, [...(this.free.get(size) ?? []), view.byteOffset]);
  }

  u8(view: View): Uint8Array {
    return this.memory.u8(view);
  }

  /**
   * Reduces contributions in the order given into `target`; `undefined` stands for `own`, which lies, as `target`, in
   * the rank's memory. Sums round after each addition, as on every other backend.
   */
  reduce({
    reduction,
    memory,
    target,
    own,
    contributions,
  }: {
    readonly reduction: Reduction;
    readonly memory: CpuMemory;
    readonly target: View;
    readonly own: View;
    readonly contributions: readonly (View | undefined)[];
  }): void {
    if (target.type === 'f32') {
      const inputs = contributions.map((view) => (view === undefined ? memory.f32(own) : this.memory.f32(view)));
      this.kernels.reduce(memory.f32(target), inputs, reduction);
      return;
    }
    const rank = Bytes.ofMemory(memory.memory);
    for (const view of [target, own]) rank.cover(view.byteOffset + 4 * view.length);
    const places = contributions.map((view) => {
      if (view === undefined) return { memory: rank, byteOffset: own.byteOffset };
      this.bytes.cover(view.byteOffset + 4 * view.length);
      return { memory: this.bytes, byteOffset: view.byteOffset };
    });
    const targets = [{ memory: rank, byteOffset: target.byteOffset }];
    reduceBlocks({ type: target.type, reduction, elements: target.length, contributions: places, targets });
  }
}

/** Bytes of a block that holds `length` elements of 4 bytes. */
function sizeClass(length: number): number {
  return Math.max(smallestBytes, 2 ** Math.ceil(Math.log2(Math.max(1, 4 * length))));
}
