/**
 * One rank of a job whose other ranks are not there: every collective ends as soon as what it comes after has ended, as if the peers had
 * sent what this rank sends. For timing a rank's own kernels at the sizes they will have, undisturbed. It moves no bytes between ranks and
 * computes nothing meaningful.
 */
import type { CommEvent, Communicator, Endpoint, Submission, TransferRecord } from '../comm/communicator.js';
import type { CpuMemory } from '../device/cpu/index.js';
import { elementBytes, type View } from '../device/view.js';

/** Ends events in order; runs what waits for them. */
class Events {
  #next = 0;
  readonly #ended = new Set<number>();
  #pending: { readonly after: readonly CommEvent[]; readonly event: CommEvent; readonly run: () => void }[] = [];

  create(): CommEvent {
    return { id: this.#next++ };
  }

  has(event: CommEvent): boolean {
    return this.#ended.has(event.id);
  }

  end(event: CommEvent): void {
    this.#ended.add(event.id);
    this.#settle();
  }

  /** Runs `run` once `after` have ended, then ends the event that it returns. */
  submit(run: () => void, after: readonly CommEvent[] = []): CommEvent {
    const event = this.create();
    this.#pending.push({ after, event, run });
    this.#settle();
    return event;
  }

  #settle(): void {
    for (let moved = true; moved;) {
      const ready = this.#pending.filter(({ after }) => after.every((event) => this.has(event)));
      this.#pending = this.#pending.filter((one) => !ready.includes(one));
      for (const { run, event } of ready) {
        run();
        this.#ended.add(event.id);
      }
      moved = ready.length > 0;
    }
  }
}

class SoloCommunicator implements Communicator {
  readonly rank: number;
  readonly size: number;

  constructor(
    readonly name: string,
    readonly members: readonly number[],
    rank: number,
    private readonly memory: CpuMemory,
    private readonly events: Events,
  ) {
    this.rank = members.indexOf(rank);
    this.size = members.length;
  }

  allToAll(send: View, receive: View, options?: Submission): CommEvent {
    return this.#echo(send, receive, options);
  }

  allToAllV(
    send: View,
    _sendCounts: Int32Array,
    receive: View,
    _receiveCounts: Int32Array,
    options?: Submission,
  ): CommEvent {
    return this.#echo(send, receive, options);
  }

  allGather(send: View, receive: View, options?: Submission): CommEvent {
    return this.#echo(send, receive, options);
  }

  reduceScatter(send: View, receive: View, options?: Submission): CommEvent {
    return this.#echo(send, receive, options);
  }

  allReduce(_buffer: View, options?: Submission): CommEvent {
    return this.#nothing(options);
  }

  broadcast(_buffer: View, _root: number, options?: Submission): CommEvent {
    return this.#nothing(options);
  }

  send(_buffer: View, _peer: number, options?: Submission): CommEvent {
    return this.#nothing(options);
  }

  receive(_buffer: View, _peer: number, options?: Submission): CommEvent {
    return this.#nothing(options);
  }

  barrier(options?: Submission): CommEvent {
    return this.#nothing(options);
  }

  #nothing(options?: Submission): CommEvent {
    return this.events.submit(() => undefined, options?.after);
  }

  /** Fills `receive` with `send`, over and over. */
  #echo(send: View, receive: View, options?: Submission): CommEvent {
    return this.events.submit(() => {
      const from = this.memory.u8({ ...send, type: 'u8', length: send.length * elementBytes[send.type] });
      const to = this.memory.u8({ ...receive, type: 'u8', length: receive.length * elementBytes[receive.type] });
      if (from.length === 0 || from.byteOffset === to.byteOffset) return;
      for (let at = 0; at < to.length; at += from.length)
        to.set(from.subarray(0, Math.min(from.length, to.length - at)), at);
    }, options?.after);
  }
}

export class SoloEndpoint implements Endpoint {
  readonly backend = 'local';
  readonly #events = new Events();

  /** `size` ranks are pretended, of which this is number `rank`. */
  constructor(
    readonly rank: number,
    readonly size: number,
    private readonly memory: CpuMemory,
  ) {}

  communicator(name: string, members: readonly number[]): Communicator {
    return new SoloCommunicator(name, members, this.rank, this.memory, this.#events);
  }

  createEvent(): CommEvent {
    return this.#events.create();
  }

  record(event: CommEvent): void {
    this.#events.end(event);
  }

  query(event: CommEvent): boolean {
    return this.#events.has(event);
  }

  wait(event: CommEvent): void {
    if (!this.query(event)) throw new Error(`event ${event.id} waits for work of this rank that was never recorded`);
  }

  waitAny(events: readonly CommEvent[]): void {
    if (!events.some((event) => this.query(event)))
      throw new Error('all events wait for work of this rank that was never recorded');
  }

  progress(): void {}

  now(): number {
    return performance.now() / 1e3;
  }

  takeRecords(): TransferRecord[] {
    return [];
  }

  close(): void {}
}
