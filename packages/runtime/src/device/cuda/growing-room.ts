/** Memory of a card that the work of one stream uses in turn, as much as it has needed so far. */
import type { Address } from './bindings/index.js';
import type { CudaContext } from './context.js';

export class GrowingRoom {
  readonly #context: CudaContext;
  readonly #spare: number;
  #room: { readonly address: Address; readonly bytes: number; readonly stream: Address } | undefined;

  /** spare: how much more than asked is taken when the room grows, as a factor. */
  constructor(context: CudaContext, spare = 1) {
    this.#context = context;
    this.#spare = spare;
    context.onClose(() => this.#free());
  }

  /** Room for work of a stream, always the same. Throws `DeviceMemoryError`. */
  of(stream: Address, bytes: number): Address {
    if (this.#room === undefined || this.#room.bytes < bytes) {
      this.release();
      const wanted = Math.ceil(bytes * this.#spare);
      this.#room = { address: this.#context.memory.allocate(wanted), bytes: wanted, stream };
    }
    return this.#room.address;
  }

  /** Gives it back once the stream is done with it. */
  release(): void {
    if (this.#room === undefined) return;
    this.#context.waitForStream(this.#room.stream);
    this.#free();
  }

  #free(): void {
    const room = this.#room;
    this.#room = undefined;
    if (room !== undefined) this.#context.memory.free(room.address);
  }
}
