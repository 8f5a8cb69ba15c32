/**
 * Arrays of the host on their way to a card without a wait: through pinned memory, in the order of one stream, so that
 * what the stream did before with the place that they go to is done when they come.
 */
import { cuda, type Address } from './bindings/index.js';
import type { CudaContext } from './context.js';

/** Of pinned memory, of which there are two: one is written while copies from the other are under way. */
const halfBytes = 4 * 2 ** 20;
/** Copies begin at multiples of it. */
const alignment = 64;
const wordBytes = 4;

interface Half {
  readonly address: Address;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  /** Behind the last copy out of it. */
  readonly copied: Address;
}

export class StreamUploads {
  readonly #context: CudaContext;
  readonly #stream: Address;
  #halves: readonly [Half, Half] | undefined;
  #current: 0 | 1 = 0;
  #used = 0;

  constructor(context: CudaContext, stream: Address) {
    this.#context = context;
    this.#stream = stream;
  }

  /** Appends a copy of `from`, words of 4 bytes, which may change afterwards. */
  copy(to: Address, from: Int32Array | Uint32Array): void {
    const { runtime } = this.#context.libraries;
    for (let done = 0; done < from.length;) {
      const half = this.#room();
      const room = (halfBytes - this.#used) / wordBytes;
      // Small arrays have no buffer until somebody asks for it, which costs more than the copy.
      const part = done === 0 && from.length <= room ? from : from.subarray(done, done + room);
      const bytes = part.length * wordBytes;
      half.words.set(part, this.#used / wordBytes);
      const place = half.address + this.#used;
      runtime.cudaMemcpyAsync(to + done * wordBytes, place, bytes, cuda.copyAnyWay, this.#stream);
      this.#used += Math.ceil(bytes / alignment) * alignment;
      done += part.length;
    }
  }

  /** The half with room. Where the one is full, the other, once copies out of it are done. */
  #room(): Half {
    this.#halves ??= this.#make();
    if (this.#used < halfBytes) return this.#halves[this.#current];
    const { runtime } = this.#context.libraries;
    runtime.cudaEventRecord(this.#halves[this.#current].copied, this.#stream);
    this.#current = this.#current === 0 ? 1 : 0;
    this.#used = 0;
    const half = this.#halves[this.#current];
    this.#context.waitFor(half.copied);
    return half;
  }

  #make(): [Half, Half] {
    const { memory } = this.#context;
    const half = (): Half => {
      const pinned = memory.allocatePinned(halfBytes);
      const { buffer, byteOffset } = pinned.bytes;
      const words = new Int32Array(buffer, byteOffset, halfBytes / wordBytes);
      return { ...pinned, words, copied: this.#context.createEvent() };
    };
    const halves: [Half, Half] = [half(), half()];
    this.#context.onClose(() => {
      for (const one of halves) memory.freePinned(one);
    });
    return halves;
  }
}
