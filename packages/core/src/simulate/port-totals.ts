/** What went through the ports of a simulated network, by kind of port. */
import type { FlowBundle } from './bundles.js';
import type { MeetingPrice } from './prices.js';

export class PortTotals {
  /** Bytes, without the weight of slowdowns. */
  readonly bytes: Float64Array;
  /** Seconds of all ports of a kind together, busy at their full bandwidth. */
  readonly seconds: Float64Array;
  readonly #capacities: readonly number[];

  /** `capacities`: of all ports of a kind together, bytes/s. */
  constructor(capacities: readonly number[]) {
    this.#capacities = capacities;
    this.bytes = new Float64Array(capacities.length);
    this.seconds = new Float64Array(capacities.length);
  }

  /** How many kinds of ports there are. */
  get kinds(): number {
    return this.#capacities.length;
  }

  /** Adds what a bundle of flows carries through each of its ports. */
  carry({ ports, count, bytes, work }: FlowBundle, { bytesScale, workScale }: MeetingPrice): void {
    for (const port of ports) {
      this.bytes[port] = (this.bytes[port] ?? 0) + count * bytes * bytesScale;
      this.seconds[port] =
        (this.seconds[port] ?? 0) + (count * work * workScale) / (this.#capacities[port] ?? Infinity);
    }
  }
}
