/**
 * The queues of one rank. Collectives go to the endpoint at once and run beside this thread; kernels wait in in-order queues, one a lane,
 * until this thread drains them. A queue whose head waits does not hold up the other, as with streams of a GPU.
 */
import type { CommEvent, Endpoint } from '../comm/communicator.js';
import type { CompiledOperation } from './compile.js';

type HostLane = 'compute' | 'copy';

/** An operation of the running node: ended, or to be asked through its event. */
interface Issued {
  readonly compiled: CompiledOperation;
  ended: boolean;
  /** Of a collective, or of a kernel that collectives wait for. */
  readonly event?: CommEvent;
  /** Absent for collectives. */
  readonly run?: () => void;
}

export class Lanes {
  readonly #endpoint: Endpoint;
  /** Copies first: they feed transfers, which then run beside the next computation. */
  readonly #queues: Readonly<Record<HostLane, Issued[]>> = { copy: [], compute: [] };
  #issued: Issued[] = [];

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** Forgets the operations of the node before; all must have ended. */
  beginNode(): void {
    this.#issued = [];
  }

  /** Queues host work. `lane` inter or intra (a collective of one rank) counts as copy. */
  kernel(compiled: CompiledOperation, run: () => void): void {
    const issued: Issued = {
      compiled,
      ended: false,
      run,
      ...(compiled.signals ? { event: this.#endpoint.createEvent() } : {}),
    };
    this.#issued[compiled.index] = issued;
    this.#queues[compiled.operation.lane === 'compute' ? 'compute' : 'copy'].push(issued);
  }

  /** Notes a collective that was submitted. */
  collective(compiled: CompiledOperation, event: CommEvent): void {
    this.#issued[compiled.index] = { compiled, ended: false, event };
  }

  /** Events that a collective must wait for: those of its dependencies that have not ended. */
  eventsBefore(compiled: CompiledOperation): CommEvent[] {
    return compiled.after.flatMap((index) => {
      const { event } = this.#issued[index];
      return event === undefined || this.#hasEnded(index) ? [] : [event];
    });
  }

  /** Runs kernels until these operations of the node have ended. */
  drainUntil(indices: readonly number[]): void {
    let open = indices;
    for (;;) {
      open = this.#open(open);
      if (open.length === 0) return;
      // What is looked up once must not be looked up again: an event that ends in between would be missed by the wait.
      const awaited = this.#runOneOrAwait(open);
      if (awaited === undefined) {
        this.#endpoint.progress();
        continue;
      }
      if (awaited.length === 0) throw new Error('the program is stuck: no kernel can run and no transfer is under way');
      this.#endpoint.waitAny(awaited);
    }
  }

  /** Runs everything that was issued to its end. */
  drain(): void {
    this.drainUntil(this.#issued.map((_, index) => index));
  }

  /** Runs the first kernel that can run; else returns the transfers for whose end somebody waits. */
  #runOneOrAwait(awaitedByCaller: readonly number[]): CommEvent[] | undefined {
    const awaited = this.#transfers(awaitedByCaller);
    for (const queue of [this.#queues.copy, this.#queues.compute]) {
      const head = queue[0];
      if (head?.run === undefined) continue;
      const open = this.#open(head.compiled.after);
      if (open.length > 0) {
        awaited.push(...this.#transfers(open));
        continue;
      }
      queue.shift();
      head.run();
      head.ended = true;
      if (head.event !== undefined) this.#endpoint.record(head.event);
      return undefined;
    }
    return awaited;
  }

  #open(indices: readonly number[]): number[] {
    return indices.filter((index) => !this.#hasEnded(index));
  }

  /** Events of those operations that are collectives. */
  #transfers(indices: readonly number[]): CommEvent[] {
    return indices.flatMap((index) => {
      const { run, event } = this.#issued[index];
      return run === undefined && event !== undefined ? [event] : [];
    });
  }

  #hasEnded(index: number): boolean {
    const issued = this.#issued[index];
    if (!issued.ended && issued.run === undefined && issued.event !== undefined)
      issued.ended = this.#endpoint.query(issued.event);
    return issued.ended;
  }
}
