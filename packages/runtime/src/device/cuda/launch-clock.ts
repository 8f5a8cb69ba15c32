/** When launches ran, on the job's clock, from timed events of the card. */
import type { LaunchRecord } from '../device.js';
import type { Address } from './bindings/index.js';
import type { CudaContext } from './context.js';
import type { CudaEventPool } from './cuda-event-pool.js';

/**
 * CUDA gives times between events in fp32: beyond this many seconds that is coarser than a microsecond, and the
 * reference moves on.
 */
const referenceSeconds = 8;

export class LaunchClock {
  readonly #context: CudaContext;
  readonly #events: CudaEventPool;
  /** An event that has happened, and when. */
  #reference: { event: Address; seconds: number };
  #records: LaunchRecord[] = [];

  /** now: seconds on the job's clock. */
  constructor(context: CudaContext, events: CudaEventPool, now: () => number) {
    this.#context = context;
    this.#events = events;
    const event = events.record(0);
    context.libraries.runtime.cudaEventSynchronize(event);
    this.#reference = { event, seconds: now() };
  }

  /** Notes a launch between two events that have happened, and takes both events back. */
  note(id: number, start: Address, end: Address): void {
    const { event, seconds } = this.#reference;
    const at = (when: Address): number => seconds + this.#context.milliseconds(event, when) / 1000;
    const record = { event: id, start: at(start), end: at(end) };
    this.#records.push(record);
    this.#events.giveBack(start);
    if (record.end - seconds < referenceSeconds) return this.#events.giveBack(end);
    this.#events.giveBack(event);
    this.#reference = { event: end, seconds: record.end };
  }

  take(): LaunchRecord[] {
    const records = this.#records;
    this.#records = [];
    return records;
  }
}
