/**
 * The operations of one communicator, in order. NCCL hangs when members disagree; so they first tell each other what
 * they have submitted, and an operation goes to the card only when all members have, and agree.
 */
import { maxOf } from '@monta/core/units';
import type { TransferStream } from '../../device/cuda/cuda-device.js';
import type { DeviceEvent } from '../../device/device.js';
import type { View } from '../../device/view.js';
import type { TransferRecord } from '../communicator.js';
import { CommunicationError } from '../communication-error.js';
import { describeMismatch } from '../mismatch.js';
import { bytesOf, type Operation } from '../operation.js';
import { describeOperation, type Party } from '../party.js';
import type { CommunicatorSettings, NcclLibrary } from './bindings.js';
import { enqueue } from './collective.js';

export interface ChannelOptions {
  /** Lane and group, and the direction of messages: the same text on all members. */
  readonly title: string;
  /** Global ranks. */
  readonly members: readonly number[];
  /** Global. */
  readonly rank: number;
  readonly library: NcclLibrary;
  readonly stream: TransferStream;
  readonly scratch: View;
  readonly settings: CommunicatorSettings;
  readonly trace: boolean;
  readonly now: () => number;
  /** Tells the other members what they join the channel by. */
  readonly introduce: (identity: Uint8Array) => void;
}

interface Entry {
  readonly party: Party;
  readonly event: DeviceEvent;
  readonly submitted: number;
  /** On the stream's way. */
  begun: boolean;
}

/** An operation that is on the stream. */
interface Running {
  readonly party: Party;
  readonly event: DeviceEvent;
  readonly since: number;
  span?: { readonly start: number; readonly end: number };
}

export class NcclChannel {
  readonly #options: ChannelOptions;
  readonly #place: number;
  /** Not on the stream yet, in order. */
  readonly #entries: Entry[] = [];
  /** What others have submitted and this rank has not put on the stream, by place in the channel's order. */
  readonly #heard = new Map<number, Party[]>();
  /** On the stream, not known to be done, by event. */
  readonly #running = new Map<number, Running>();
  /** When members started, by place in the order and rank; only when tracing. */
  readonly #starts = new Map<number, Map<number, number>>();
  readonly #unready: Running[] = [];
  #identity: Uint8Array | undefined;
  #communicator: number | undefined;
  #settled = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#place = options.members.indexOf(options.rank);
  }

  get idle(): boolean {
    return this.#entries.length === 0;
  }

  get members(): readonly number[] {
    return this.#options.members;
  }

  submit(operation: Operation, label: string): DeviceEvent {
    const { rank, now, stream } = this.#options;
    const party: Party = { rank, place: this.#place, operation, label, issued: now() };
    for (const other of this.#heard.get(operation.sequence) ?? []) this.#compare(party, other);
    const event = stream.announce();
    this.#entries.push({ party, event, submitted: now(), begun: false });
    return event;
  }

  /** Another member has submitted an operation. */
  hear(rank: number, operation: Operation, label: string): void {
    const place = this.#options.members.indexOf(rank);
    const other: Party = { rank, place, operation, label, issued: 0 };
    const own = this.#entries.find(({ party }) => party.operation.sequence === operation.sequence);
    if (own !== undefined) this.#compare(own.party, other);
    const heard = this.#heard.get(operation.sequence);
    if (heard === undefined) this.#heard.set(operation.sequence, [other]);
    else heard.push(other);
  }

  learn(identity: Uint8Array): void {
    this.#identity = identity;
  }

  /** Puts what can go on the stream there. True when something happened. Throws `CudaError`. */
  advance(): boolean {
    let happened = false;
    for (let first = this.#entries.at(0); first !== undefined; first = this.#entries.at(0)) {
      if (!first.begun) {
        if (!this.#begin(first)) return happened;
        happened = true;
      }
      const { library, stream } = this.#options;
      if (this.#communicator === undefined || !library.settled(this.#communicator)) return happened;
      happened = true;
      this.#entries.shift();
      const { party, event } = first;
      this.#heard.delete(party.operation.sequence);
      this.#running.set(event.id, { party, event, since: this.#options.now() });
      stream.end(event);
    }
    return happened;
  }

  /** Throws `CommunicationError` when an operation cannot end: a member has left, or lets others wait for too long. */
  checkForMissing(patienceSeconds: number, left: ReadonlySet<number>, done: (event: DeviceEvent) => boolean): void {
    const { title, rank, now, trace } = this.#options;
    for (const [id, { event, since, party }] of this.#running) {
      // Traced operations leave with their record.
      if (done(event)) {
        if (!trace) this.#running.delete(id);
      } else if (now() - since > patienceSeconds)
        throw new CommunicationError(
          rank,
          `${describeOperation(party, title)}: all ranks take part, but rank ${rank} has waited for its end for ` +
            `${patienceSeconds} s`,
        );
    }
    const first = this.#entries.at(0);
    if (first === undefined || first.begun) return;
    const absent = this.#absent(first);
    const gone = absent.filter((member) => left.has(member));
    const late = now() - first.submitted > patienceSeconds;
    const who = gone.length > 0 ? gone : absent;
    if (who.length === 0 || (gone.length === 0 && !late)) return;
    const how = gone.length > 0 ? 'returned without submitting it' : 'has not submitted it';
    throw new CommunicationError(
      who[0] ?? rank,
      `an operation waits for a rank that does not come:\n  ${describeOperation(first.party, title)}: ` +
        `${who.length === 1 ? 'rank' : 'ranks'} ${who.join(', ')} ${how}, awaited by rank ${rank}`,
    );
  }

  /** What ended on this rank since the last call, to tell the others when it started. Only when tracing. */
  takeStarts(): { readonly sequence: number; readonly seconds: number }[] {
    return this.#options.stream.takeRecords().flatMap(({ event, start, end }) => {
      const running = this.#running.get(event);
      if (running === undefined) return [];
      this.#running.delete(event);
      running.span = { start, end };
      this.#unready.push(running);
      const { sequence } = running.party.operation;
      this.hearStart(this.#options.rank, { sequence, seconds: start });
      return [{ sequence, seconds: start }];
    });
  }

  /** When a member's part of an operation started on its card. */
  hearStart(rank: number, { sequence, seconds }: { readonly sequence: number; readonly seconds: number }): void {
    const known = this.#starts.get(sequence);
    if (known === undefined) this.#starts.set(sequence, new Map([[rank, seconds]]));
    else known.set(rank, seconds);
  }

  /** Members without whose word a record is missing of what was submitted; this rank while something is under way. */
  untold(): number[] {
    const { members, rank } = this.#options;
    if (this.#entries.length > 0 || this.#running.size > 0) return [rank];
    return this.#unready.flatMap(({ party }) => {
      const starts = this.#starts.get(party.operation.sequence);
      return members.filter((member) => starts?.has(member) !== true);
    });
  }

  /** Records of operations of which all members have told when they started. */
  takeRecords(): TransferRecord[] {
    const { length } = this.#options.members;
    const records: TransferRecord[] = [];
    for (const running of this.#unready.splice(0)) {
      const { operation, label } = running.party;
      const starts = this.#starts.get(operation.sequence);
      if (running.span === undefined || starts === undefined || starts.size < length) {
        this.#unready.push(running);
        continue;
      }
      this.#starts.delete(operation.sequence);
      const { start, end } = running.span;
      const ready = Math.min(end, maxOf([start, ...starts.values()]));
      records.push({ event: running.event.id, label, issued: start, ready, end, bytes: this.#bytes(operation) });
    }
    return records;
  }

  /** Begins to leave NCCL; true once left. */
  leave(): boolean {
    const { library } = this.#options;
    if (this.#communicator === undefined) return true;
    if (!this.#settled) {
      if (!library.settled(this.#communicator)) return false;
      library.ncclCommFinalize(this.#communicator);
      this.#settled = true;
    }
    if (!library.settled(this.#communicator)) return false;
    library.ncclCommDestroy(this.#communicator);
    this.#communicator = undefined;
    return true;
  }

  /** Ends what NCCL does for the channel, in no order with others. */
  abort(): void {
    if (this.#communicator !== undefined) this.#options.library.ncclCommAbort(this.#communicator);
    this.#communicator = undefined;
  }

  #absent({ party }: Entry): number[] {
    const { members, rank } = this.#options;
    const heard = new Set((this.#heard.get(party.operation.sequence) ?? []).map((other) => other.rank));
    return members.filter((member) => member !== rank && !heard.has(member));
  }

  /** True once NCCL has been asked for the operation. */
  #begin(entry: Entry): boolean {
    const { stream, library, members, scratch } = this.#options;
    const { operation } = entry.party;
    const heard = this.#heard.get(operation.sequence)?.length ?? 0;
    if (heard < members.length - 1 || !this.#join() || !stream.ready(operation.after)) return false;
    const communicator = this.#communicator ?? 0;
    stream.begin(operation.after);
    const at = { library, communicator, stream: stream.stream, place: this.#place, size: members.length, scratch };
    enqueue(at, operation);
    entry.begun = true;
    return true;
  }

  /** True once the communicator is made. */
  #join(): boolean {
    const { library, members, settings, introduce } = this.#options;
    if (this.#communicator === undefined) {
      if (this.#identity === undefined && this.#place === 0) {
        this.#identity = library.uniqueId();
        introduce(this.#identity);
      }
      if (this.#identity === undefined) return false;
      this.#communicator = library.join({ rank: this.#place, size: members.length }, this.#identity, settings);
    }
    return library.settled(this.#communicator);
  }

  #compare(own: Party, other: Party): void {
    const [a, b] = own.rank < other.rank ? [own, other] : [other, own];
    const problem = describeMismatch(a, b, this.#options.title);
    if (problem !== undefined) throw new CommunicationError(b.rank, problem);
  }

  /** Bytes that this rank gives to others. */
  #bytes({ kind, type, counts, send }: Operation): number {
    const { members } = this.#options;
    if (kind === 'receive' || kind === 'barrier') return 0;
    if (kind === 'all_to_all' || kind === 'reduce_scatter')
      return bytesOf(
        type,
        counts.reduce((sum, count, member) => (member === this.#place ? sum : sum + count), 0),
      );
    if (kind === 'all_gather') return bytesOf(type, counts[this.#place] ?? 0) * (members.length - 1);
    return bytesOf(type, send.length);
  }
}
