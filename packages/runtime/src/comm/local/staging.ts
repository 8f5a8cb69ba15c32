/** Buffers for contributions on their way, used again: fresh memory costs a page fault every few kilobytes. */
import { Bytes } from '../../device/cpu/bytes.js';

/** Smallest buffer; sizes are powers of two from here. */
const smallestBytes = 4096;

export class StagingPool {
  private readonly free = new Map<number, Bytes[]>();

  /** At least `bytes` long; content undefined. */
  take(bytes: number): Bytes {
    const size = sizeClass(bytes);
    return this.free.get(size)?.pop() ?? new Bytes(new ArrayBuffer(size));
  }

  give(buffer: Bytes): void {
    const size = buffer.u8.length;
    const list = this.free.get(size);
    if (list === undefined) this.free.set(size, [buffer]);
    else list.push(buffer);
  }
}

function sizeClass(bytes: number): number {
  return Math.max(smallestBytes, 2 ** Math.ceil(Math.log2(Math.max(1, bytes))));
}
