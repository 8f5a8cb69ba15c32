/**
 * A lock-free queue of messages of 32-bit words between one producing and one consuming thread, in shared memory. A
 * message never wraps: when it does not fit before the end, the rest is skipped.
 */
export type WordRing = SharedArrayBuffer;

const head = 0; // consumer's position, words
const tail = 16; // producer's position, words
const dataStart = 32;
/** Length word that tells the consumer to go on at the start of the buffer. */
const skip = -1;

export function createWordRing(words: number): WordRing {
  return new SharedArrayBuffer((dataStart + words) * 4);
}

export class RingWriter {
  private readonly words: Int32Array;
  private readonly capacity: number;

  constructor(ring: WordRing) {
    this.words = new Int32Array(ring);
    this.capacity = this.words.length - dataStart;
  }

  /** False when the message does not fit now. Throws when it never will. */
  write(message: Int32Array): boolean {
    const need = message.length + 1;
    if (need * 2 > this.capacity) {
      throw new RangeError(`a message of ${message.length} words does not fit into a ring of ${this.capacity} words`);
    }
    const from = Atomics.load(this.words, head);
    let to = Atomics.load(this.words, tail);
    // One word stays free, so that full and empty differ.
    const free = (from - to - 1 + this.capacity) % this.capacity;
    const untilEnd = this.capacity - to;
    if (untilEnd < need) {
      if (free < untilEnd + need) return false;
      this.words[dataStart + to] = skip;
      to = 0;
    } else if (free < need) {
      return false;
    }
    this.words[dataStart + to] = message.length;
    this.words.set(message, dataStart + to + 1);
    Atomics.store(this.words, tail, (to + need) % this.capacity);
    return true;
  }
}

export class RingReader {
  private readonly words: Int32Array;
  private readonly capacity: number;

  constructor(ring: WordRing) {
    this.words = new Int32Array(ring);
    this.capacity = this.words.length - dataStart;
  }

  empty(): boolean {
    return Atomics.load(this.words, head) === Atomics.load(this.words, tail);
  }

  /** The next message, copied out of the ring, or undefined. */
  read(): Int32Array | undefined {
    let from = Atomics.load(this.words, head);
    if (from === Atomics.load(this.words, tail)) return undefined;
    let length = this.words[dataStart + from] ?? 0;
    if (length === skip) {
      from = 0;
      length = this.words[dataStart] ?? 0;
    }
    const start = dataStart + from + 1;
    const message = this.words.slice(start, start + length);
    Atomics.store(this.words, head, (from + length + 1) % this.capacity);
    return message;
  }
}
