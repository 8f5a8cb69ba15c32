/**
 * Events of one rank in shared memory, so that any thread of the job may complete and query them without a message:
 * slot id % capacity holds id + 1 once event `id` is done. Old ids stay done when a slot is used again. Ids are 32-bit
 * and wrap; comparisons are by difference, so an id means the same until 2^31 later ones have been made.
 */
import type { DeviceEvent } from '../device.js';

/** Events that may be outstanding at once. */
const capacity = 1 << 16;

export class EventTable {
  readonly #slots: Int32Array;
  #next: number;

  /** `first`: the id of the first event that this thread makes. */
  constructor(
    readonly buffer: SharedArrayBuffer,
    first = 0,
  ) {
    this.#slots = new Int32Array(buffer);
    this.#next = first;
  }

  static createBuffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(capacity * Int32Array.BYTES_PER_ELEMENT);
  }

  /** A new event; for the rank's own thread. Throws when the event that used its slot before has not ended yet. */
  create(): DeviceEvent {
    const id = this.#next;
    const previous = (id - capacity) | 0;
    if (!this.done(previous))
      throw new Error(
        `${capacity} events are outstanding: event ${previous} was created but is not done; complete or wait for ` +
          'events before creating more',
      );
    this.#next = (id + 1) | 0;
    return { id };
  }

  done(id: number): boolean {
    return ((Atomics.load(this.#slots, id & (capacity - 1)) - id) | 0) > 0;
  }

  /** Safe from any thread; waking whoever waits is the caller's business. */
  finish(id: number): void {
    Atomics.store(this.#slots, id & (capacity - 1), (id + 1) | 0);
  }
}
