/**
 * One rank of a job whose other ranks are not there: every collective ends at once, as if the peers had sent what this rank sends. For
 * timing a rank's own kernels at the sizes they will have, undisturbed. It moves no bytes between ranks and computes nothing meaningful.
 */
import type { CommEvent, Communicator, Endpoint, TransferRecord } from '../comm/communicator.js';
import type { CpuMemory } from '../device/cpu/index.js';
import { elementBytes, type View } from '../device/view.js';

const ended: CommEvent = { id: 0 };

class SoloCommunicator implements Communicator {
  readonly rank: number;
  readonly size: number;

  constructor(
    readonly name: string,
    readonly members: readonly number[],
    rank: number,
    private readonly memory: CpuMemory,
  ) {
    this.rank = members.indexOf(rank);
    this.size = members.length;
  }

  allToAll(send: View, receive: View): CommEvent {
    return this.#echo(send, receive);
  }

  allToAllV(send: View, _sendCounts: Int32Array, receive: View): CommEvent {
    return this.#echo(send, receive);
  }

  allGather(send: View, receive: View): CommEvent {
    return this.#echo(send, receive);
  }

  reduceScatter(send: View, receive: View): CommEvent {
    return this.#echo(send, receive);
  }

  allReduce(): CommEvent {
    return ended;
  }

  broadcast(): CommEvent {
    return ended;
  }

  send(): CommEvent {
    return ended;
  }

  receive(): CommEvent {
    return ended;
  }

  barrier(): CommEvent {
    return ended;
  }

  /** Fills `receive` with `send`, over and over. */
  #echo(send: View, receive: View): CommEvent {
    const from = this.memory.u8({ ...send, type: 'u8', length: send.length * elementBytes[send.type] });
    const to = this.memory.u8({ ...receive, type: 'u8', length: receive.length * elementBytes[receive.type] });
    if (from.length > 0 && from.byteOffset !== to.byteOffset)
      for (let at = 0; at < to.length; at += from.length)
        to.set(from.subarray(0, Math.min(from.length, to.length - at)), at);
    return ended;
  }
}

export class SoloEndpoint implements Endpoint {
  readonly backend = 'local';

  /** `size` ranks are pretended, of which this is number `rank`. */
  constructor(
    readonly rank: number,
    readonly size: number,
    private readonly memory: CpuMemory,
  ) {}

  communicator(name: string, members: readonly number[]): Communicator {
    return new SoloCommunicator(name, members, this.rank, this.memory);
  }

  createEvent(): CommEvent {
    return ended;
  }

  record(): void {}

  query(): boolean {
    return true;
  }

  wait(): void {}

  waitAny(): void {}

  progress(): void {}

  now(): number {
    return performance.now() / 1e3;
  }

  takeRecords(): TransferRecord[] {
    return [];
  }

  close(): void {}
}
