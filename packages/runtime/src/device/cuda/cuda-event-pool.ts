/** CUDA's events, used again and again: making one costs microseconds, and a step needs thousands. */
import type { Address } from './bindings/index.js';
import type { CudaContext } from './context.js';

export class CudaEventPool {
  readonly #context: CudaContext;
  readonly #timed: boolean;
  readonly #free: Address[] = [];

  constructor(context: CudaContext, timed: boolean) {
    this.#context = context;
    this.#timed = timed;
  }

  /** An event recorded on the stream, behind all that was appended to it. */
  record(stream: Address): Address {
    const event = this.#free.pop() ?? this.#context.createEvent(this.#timed);
    this.#context.libraries.runtime.cudaEventRecord(event, stream);
    return event;
  }

  /**
   * The event has happened, and nobody will ask about it again. Waits on it that streams hold already keep their
   * meaning.
   */
  giveBack(event: Address): void {
    this.#free.push(event);
  }
}
