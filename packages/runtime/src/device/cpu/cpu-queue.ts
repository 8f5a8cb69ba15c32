/** In-order queues of launches that one thread works off, in the order of their lanes' precedence. */
import type { Launch, DeviceEvent, Queue } from '../device.js';

/** A launch that has not run. */
export interface Waiting {
  readonly launch: Launch;
  readonly event: DeviceEvent;
  /** Events it comes after; those that are done leave. */
  readonly after: DeviceEvent[];
}

type Append = (queue: CpuQueue, launch: Launch, after: readonly DeviceEvent[]) => DeviceEvent;

export class CpuQueue implements Queue {
  readonly waiting: Waiting[] = [];
  readonly #append: Append;

  constructor(
    readonly lane: string,
    append: Append,
  ) {
    this.#append = append;
  }

  launch(launch: Launch, after: readonly DeviceEvent[] = []): DeviceEvent {
    return this.#append(this, launch, after);
  }
}

/**
 * Copies feed transfers, which then run beside the next computation: they go first. What may run beside everything
 * fills what is left.
 */
const lastLanes: readonly string[] = ['copy', 'compute', 'shared'];

export class CpuQueues {
  readonly #byLane = new Map<string, CpuQueue>();
  /** By precedence. */
  #ordered: readonly CpuQueue[] = [];
  readonly #append: Append;

  constructor(append: Append) {
    this.#append = append;
  }

  get(lane: string): CpuQueue {
    const known = this.#byLane.get(lane);
    if (known !== undefined) return known;
    const queue = new CpuQueue(lane, this.#append);
    this.#byLane.set(lane, queue);
    this.#ordered = [...this.#byLane.values()].sort((a, b) => lastLanes.indexOf(a.lane) - lastLanes.indexOf(b.lane));
    return queue;
  }

  /** Takes the first launch that can run out of its queue. */
  takeReady(done: (event: DeviceEvent) => boolean): Waiting | undefined {
    for (const { waiting } of this.#ordered) {
      const [head] = waiting;
      if (head === undefined) continue;
      const { after } = head;
      // All that are done leave: whoever sleeps until one of the others is done must not be woken by them.
      for (let place = after.length - 1; place >= 0; place--) if (done(after[place])) after.splice(place, 1);
      if (after.length > 0) continue;
      waiting.shift();
      return head;
    }
    return undefined;
  }

  /** What the heads of the queues wait for. */
  awaited(): DeviceEvent[] {
    return this.#ordered.flatMap(({ waiting }) => waiting[0]?.after ?? []);
  }

  /** The head of every queue that has one. */
  heads(): { readonly lane: string; readonly kernel: string }[] {
    return this.#ordered.flatMap(({ lane, waiting: [head] }) =>
      head === undefined ? [] : [{ lane, kernel: head.launch.kernel }],
    );
  }
}
