/**
 * Decides when packets pass the ports of an emulated network. Each port serves one packet at a time at its rate, taking
 * the flows that wait for it in turn; a packet queues at its next port as soon as the port before starts to serve it
 * (cut-through), and its last bytes leave no port before they left the one before. A flow has a bounded number of
 * packets under way, so that a flow which is held up far away leaves the near port to others (no head-of-line blocking)
 * and queues stay short.
 *
 * It runs on whatever clock the caller passes to `advance`. When the caller is late, packets still pass at their exact
 * times on a clock that lags behind by what exceeded `catchUpSeconds`: rates are exact on average, bursts are bounded.
 */
import { at } from '../at.js';
import { EventHeap } from './event-heap.js';
import { minOf } from '@monta/core/units';

export interface SchedulerOptions {
  readonly packetBytes: number;
  /** Packets of one flow that may be under way. */
  readonly window: number;
  /** How much lateness of the caller is made up for. */
  readonly catchUpSeconds: number;
  /** Progress that nobody waits for may be put off this long, to save wake-ups. */
  readonly coalesceSeconds: number;
}

export const defaultSchedulerOptions: SchedulerOptions = {
  packetBytes: 32 << 10,
  window: 4,
  catchUpSeconds: 0.02,
  coalesceSeconds: 0.00015,
};

export interface FlowRequest {
  /** Ports in the order in which packets pass them; empty: delivered at once. */
  readonly ports: readonly number[];
  readonly bytes: number;
  /** Divides the rate of every port for this flow's packets; at least 1. */
  readonly slowdown: number;
  /** A packet has passed. */
  readonly deliver: (offset: number, bytes: number) => void;
  /** The last packet has passed, at `time` on the scheduler's clock. */
  readonly ended: (time: number) => void;
}

interface Flow extends FlowRequest {
  injected: number;
  delivered: number;
  underWay: number;
  /** Packets that wait, by place along `ports`; place 0 is fed by the flow itself. */
  readonly waiting: Packet[][];
  /** At which places the flow stands in the port's queue. */
  readonly queued: boolean[];
}

interface Packet {
  readonly flow: Flow;
  readonly offset: number;
  readonly bytes: number;
  /** When its last byte has left the ports so far. */
  end: number;
}

interface Port {
  readonly bytesPerSecond: number;
  busy: boolean;
  /** Flows that wait here, each with its place along its ports, in turn. */
  readonly queue: { readonly flow: Flow; readonly place: number }[];
}

type Happening =
  | { readonly what: 'free'; readonly port: number }
  | { readonly what: 'passed'; readonly packet: Packet }
  | { readonly what: 'timer'; readonly run: (time: number) => void };

/** Below the resolution of clocks; absorbs rounding between the two clocks. */
const resolutionSeconds = 1e-9;

export class PacketScheduler {
  private readonly ports: Port[];
  private readonly events = new EventHeap<Happening>();
  /** Times at which something that someone waits for will (timers, last packets) or may happen. */
  private readonly awaited = new EventHeap<undefined>();
  private clock = 0;
  private lost = 0;
  /** Bytes that have passed each port. */
  readonly carriedBytes: Float64Array;

  constructor(
    bytesPerSecond: readonly number[],
    private readonly options: SchedulerOptions = defaultSchedulerOptions,
  ) {
    this.ports = bytesPerSecond.map((rate) => ({ bytesPerSecond: rate, busy: false, queue: [] }));
    this.carriedBytes = new Float64Array(bytesPerSecond.length);
  }

  /**
   * Seconds by which this clock lags behind the caller's: time in which the network stood still because nobody ran it.
   */
  get lostSeconds(): number {
    return this.lost;
  }

  get busy(): boolean {
    return this.events.size > 0;
  }

  /** Starts a flow at `now`, or at the clock of a callback that is running. */
  add(request: FlowRequest, now: number): void {
    const time = this.timeOf(now);
    const places = request.ports.length;
    if (places === 0 || request.bytes === 0) {
      if (request.bytes > 0) request.deliver(0, request.bytes);
      request.ended(time + this.lost);
      return;
    }
    const flow: Flow = {
      ...request,
      injected: 0,
      delivered: 0,
      underWay: 0,
      waiting: request.ports.map(() => []),
      queued: request.ports.map(() => false),
    };
    // No flow can end before it would end alone.
    const narrowest = minOf(request.ports.map((port) => at(this.ports, port).bytesPerSecond));
    this.awaited.push(time + (request.bytes * request.slowdown) / narrowest, undefined);
    this.enqueue(flow, 0, time);
  }

  /** Calls `run` at `time` (the caller's clock). */
  schedule(time: number, run: (time: number) => void): void {
    const due = Math.max(this.clock, time - this.lost);
    this.events.push(due, { what: 'timer', run });
    this.awaited.push(due, undefined);
  }

  /** Lets everything happen that is due at `now`. */
  advance(now: number): void {
    const late = now - this.lost - this.events.nextTime - this.options.catchUpSeconds;
    if (late > 0 && Number.isFinite(late)) this.lost += late;
    const until = now - this.lost + resolutionSeconds;
    while (this.events.nextTime <= until) {
      this.clock = this.events.nextTime;
      const event = this.events.pop();
      if (event !== undefined) this.happen(event);
    }
    this.clock = Math.max(this.clock, until);
    while (this.awaited.nextTime <= this.clock) this.awaited.pop();
  }

  /** When `advance` should be called next, on the caller's clock. */
  nextWake(): number {
    return Math.min(this.awaited.nextTime, this.events.nextTime + this.options.coalesceSeconds) + this.lost;
  }

  private timeOf(now: number): number {
    return Math.max(this.clock, now - this.lost);
  }

  private happen(event: Happening): void {
    switch (event.what) {
      case 'free': {
        at(this.ports, event.port).busy = false;
        this.serve(event.port, this.clock);
        return;
      }
      case 'passed': {
        const { flow, offset, bytes } = event.packet;
        flow.deliver(offset, bytes);
        flow.delivered += bytes;
        flow.underWay -= 1;
        if (flow.delivered === flow.bytes) flow.ended(this.clock + this.lost);
        else this.enqueue(flow, 0, this.clock);
        return;
      }
      case 'timer':
        event.run(this.clock + this.lost);
    }
  }

  /** Puts a flow into the queue of a port, if it has a packet for it and does not stand there yet. */
  private enqueue(flow: Flow, place: number, time: number): void {
    if (flow.queued[place] || !this.hasPacket(flow, place)) return;
    flow.queued[place] = true;
    const id = at(flow.ports, place);
    const port = at(this.ports, id);
    port.queue.push({ flow, place });
    if (!port.busy) this.serve(id, time);
  }

  private hasPacket(flow: Flow, place: number): boolean {
    if (place > 0) return at(flow.waiting, place).length > 0;
    return flow.injected < flow.bytes && flow.underWay < this.options.window;
  }

  /** Lets the next packet of an idle port pass. */
  private serve(id: number, time: number): void {
    const port = at(this.ports, id);
    const next = port.queue.shift();
    if (next === undefined) return;
    const { flow, place } = next;
    const packet = place === 0 ? this.inject(flow) : at(flow.waiting, place).shift();
    if (packet === undefined) throw new Error('a flow queued at a port without a packet');
    flow.queued[place] = false;
    const free = time + (packet.bytes * flow.slowdown) / port.bytesPerSecond;
    packet.end = Math.max(packet.end, free);
    this.carriedBytes[id] = at(this.carriedBytes, id) + packet.bytes;
    port.busy = true;
    this.events.push(free, { what: 'free', port: id });
    if (place + 1 < flow.ports.length) {
      at(flow.waiting, place + 1).push(packet);
      this.enqueue(flow, place + 1, time);
    } else {
      this.events.push(packet.end, { what: 'passed', packet });
      if (packet.offset + packet.bytes === flow.bytes) this.awaited.push(packet.end, undefined);
    }
    this.enqueue(flow, place, time);
  }

  private inject(flow: Flow): Packet {
    const bytes = Math.min(this.options.packetBytes, flow.bytes - flow.injected);
    const packet = { flow, offset: flow.injected, bytes, end: 0 };
    flow.injected += bytes;
    flow.underWay += 1;
    return packet;
  }
}
