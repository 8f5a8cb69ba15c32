/**
 * One rank of a job whose other ranks are not there: every collective ends as soon as what it comes after has ended, as
 * if the peers had sent what this rank sends. For timing a rank's own kernels at the sizes they will have, undisturbed.
 * It moves no bytes between ranks and computes nothing meaningful.
 */
import type { Blocks, Communicator, Endpoint, Submission, TransferRecord } from '../comm/communicator.js';
import type { Companion } from '../device/cpu/companion.js';
import type { Device, DeviceEvent } from '../device/device.js';
import { elementBytes, part, type View } from '../device/view.js';

/** A device that tells somebody of its events. */
export interface AccompaniedDevice extends Device {
  accompany(companion: Companion): void;
  /** Whether an event is done, without progress of anything else. */
  done(event: DeviceEvent): boolean;
  /** Notes that a transfer comes after these events, where the device has to be told. */
  announce?(after: readonly number[]): void;
}

interface Pending {
  readonly after: readonly DeviceEvent[];
  readonly event: DeviceEvent;
  readonly run: () => void;
}

/** Collectives that end once what they come after has: the device tells of it, or is asked while the rank waits. */
class Transfers implements Companion {
  readonly #device: AccompaniedDevice;
  #pending: Pending[] = [];

  constructor(device: AccompaniedDevice) {
    this.#device = device;
  }

  /** Runs `run` once `after` are done, and then completes the event that it returns. */
  submit(run: () => void, after: readonly DeviceEvent[] = []): DeviceEvent {
    const event = this.#device.createEvent();
    this.#device.announce?.(after.map(({ id }) => id));
    this.#pending.push({ after, event, run });
    this.completed();
    return event;
  }

  now(): number {
    return performance.now() / 1e3;
  }

  check(): void {}

  progress(): void {}

  /** A card's work ends by itself; without transfers to come after it, and on a CPU, nothing would. */
  waitUntil(over: () => boolean): void {
    while (!over()) {
      this.completed();
      if (this.#device.kind === 'cpu') throw new Error('all events wait for work of this rank that was never launched');
    }
  }

  completed(): void {
    const ready = this.#pending.find(({ after }) => after.every((event) => this.#device.done(event)));
    if (ready === undefined) return;
    this.#pending.splice(this.#pending.indexOf(ready), 1);
    ready.run();
    this.#device.complete(ready.event);
    this.completed();
  }
}

/** Who is alone, and what moves its bytes. */
interface Solo {
  readonly rank: number;
  readonly device: AccompaniedDevice;
  readonly transfers: Transfers;
}

class SoloCommunicator implements Communicator {
  readonly rank: number;
  readonly size: number;

  constructor(
    readonly name: string,
    readonly members: readonly number[],
    private readonly solo: Solo,
  ) {
    this.rank = members.indexOf(solo.rank);
    this.size = members.length;
  }

  allToAll(send: View, receive: View, options?: Submission): DeviceEvent {
    return this.#echo(send, receive, options);
  }

  allToAllV(send: Blocks, receive: Blocks, options?: Submission): DeviceEvent {
    return this.#echo(send.view, receive.view, options);
  }

  allGather(send: View, receive: View, options?: Submission): DeviceEvent {
    return this.#echo(send, receive, options);
  }

  reduceScatter(send: View, receive: View, options?: Submission): DeviceEvent {
    return this.#echo(send, receive, options);
  }

  allReduce(_buffer: View, options?: Submission): DeviceEvent {
    return this.#nothing(options);
  }

  broadcast(_buffer: View, _root: number, options?: Submission): DeviceEvent {
    return this.#nothing(options);
  }

  send(_buffer: View, _peer: number, options?: Submission): DeviceEvent {
    return this.#nothing(options);
  }

  receive(_buffer: View, _peer: number, options?: Submission): DeviceEvent {
    return this.#nothing(options);
  }

  barrier(options?: Submission): DeviceEvent {
    return this.#nothing(options);
  }

  #nothing(options?: Submission): DeviceEvent {
    return this.solo.transfers.submit(() => undefined, options?.after);
  }

  /** Fills `receive` with `send`, over and over. */
  #echo(send: View, receive: View, options?: Submission): DeviceEvent {
    return this.solo.transfers.submit(() => {
      const { device } = this.solo;
      const [from, to] = [send, receive].map((view): View => ({
        ...view,
        type: 'u8',
        length: view.length * elementBytes[view.type],
      }));
      if (from.length === 0 || from.byteOffset === to.byteOffset) return;
      for (let at = 0; at < to.length; at += from.length) {
        const length = Math.min(from.length, to.length - at);
        device.copy(part(from, 0, length), part(to, at, length));
      }
    }, options?.after);
  }
}

export class SoloEndpoint implements Endpoint {
  readonly backend = 'local';
  readonly #transfers: Transfers;

  /** `size` ranks are pretended, of which this is number `rank`. */
  constructor(
    readonly rank: number,
    readonly size: number,
    private readonly device: AccompaniedDevice,
  ) {
    this.#transfers = new Transfers(device);
    device.accompany(this.#transfers);
  }

  communicator(name: string, members: readonly number[]): Communicator {
    return new SoloCommunicator(name, members, { rank: this.rank, device: this.device, transfers: this.#transfers });
  }

  progress(): void {}

  now(): number {
    return this.#transfers.now();
  }

  takeRecords(): TransferRecord[] {
    return [];
  }

  close(): void {}
}
