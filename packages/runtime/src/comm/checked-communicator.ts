/**
 * One group on one lane, for backends that move bytes themselves: checks arguments and describes operations to whoever
 * runs them.
 */
import type { DeviceEvent } from '../device/device.js';
import type { Blocks, Communicator, Endpoint, Reduction, Submission } from './communicator.js';
import { elementBytes, type ElementType, type View } from '../device/view.js';
import { at } from './at.js';
import type { Operation, OperationKind, Extent } from './operation.js';

/** How large the rank's memory is at present. */
export interface MemorySize {
  bytes(): number;
}

/** What ranks that add on the CPU take sums of. */
export const cpuReduces: readonly ElementType[] = ['f32', 'i32'];

/** An operation before the backend gives it an event and a number for its label. */
export type SubmittedOperation = Omit<Operation, 'event' | 'label'>;

export interface CheckedCommunicatorOptions {
  /** As messages name it. */
  readonly backend: Endpoint['backend'];
  readonly name: string;
  /** The submitting rank's number for the communicator. */
  readonly id: number;
  readonly members: readonly number[];
  /** Global. */
  readonly rank: number;
  /** To check views against. */
  readonly memory: MemorySize;
  /** Types of which it can take sums and maxima. */
  readonly reduces: readonly ElementType[];
  readonly submit: (operation: SubmittedOperation, label: string) => DeviceEvent;
}

type Draft = Partial<Omit<Operation, 'kind' | 'communicator' | 'sequence' | 'after'>>;

const nothing = new Int32Array(0);
const nowhere: Extent = { byteOffset: 0, length: 0 };

export class CheckedCommunicator implements Communicator {
  readonly name: string;
  readonly members: readonly number[];
  readonly rank: number;
  readonly size: number;
  private readonly options: CheckedCommunicatorOptions;
  /** Next sequence number: collectives under '', messages by direction and peer. */
  private readonly sequences = new Map<string, number>();

  constructor(options: CheckedCommunicatorOptions) {
    this.options = options;
    this.name = options.name;
    this.members = [...options.members];
    this.rank = options.members.indexOf(options.rank);
    this.size = options.members.length;
  }

  allToAll(send: View, receive: View, options?: Submission): DeviceEvent {
    this.demand(
      send.length % this.size === 0,
      'all_to_all',
      () => `${send.length} elements do not split into ${this.size} blocks`,
    );
    this.demand(
      send.length === receive.length,
      'all_to_all',
      () => `send has ${send.length} elements, receive ${receive.length}`,
    );
    const counts = new Int32Array(this.size).fill(send.length / this.size);
    return this.exchange({ view: send, counts }, { view: receive, counts }, options);
  }

  allToAllV(send: Blocks, receive: Blocks, options?: Submission): DeviceEvent {
    this.checkCounts('all_to_all', 'send', send.counts, send.view);
    this.checkCounts('all_to_all', 'receive', receive.counts, receive.view);
    return this.exchange(send, receive, options);
  }

  allGather(send: View, receive: View, options?: Submission & { readonly counts?: Int32Array }): DeviceEvent {
    const counts = options?.counts ?? new Int32Array(this.size).fill(send.length);
    this.checkCounts('all_gather', 'receive', counts, receive);
    const own = at(counts, this.rank);
    this.demand(
      send.length >= own,
      'all_gather',
      () => `this rank contributes ${own} elements, send has ${send.length}`,
    );
    const ownPlace = this.blockOffset(receive, counts);
    this.checkViews('all_gather', { ...send, length: own }, receive, ownPlace);
    return this.submit('all_gather', { type: send.type, send, receive, counts }, options);
  }

  reduceScatter(
    send: View,
    receive: View,
    options?: Submission & { readonly counts?: Int32Array; readonly reduction?: Reduction },
  ): DeviceEvent {
    if (options?.counts === undefined) {
      this.demand(
        send.length % this.size === 0,
        'reduce_scatter',
        () => `${send.length} elements do not split into ${this.size} blocks`,
      );
    }
    const counts = options?.counts ?? new Int32Array(this.size).fill(send.length / this.size);
    this.checkCounts('reduce_scatter', 'send', counts, send);
    const own = at(counts, this.rank);
    this.demand(
      receive.length >= own,
      'reduce_scatter',
      () => `this rank gets ${own} elements, receive has ${receive.length}`,
    );
    this.checkReducible('reduce_scatter', send);
    this.checkViews('reduce_scatter', { ...receive, length: own }, send, this.blockOffset(send, counts));
    const reduction = options?.reduction ?? 'sum';
    return this.submit('reduce_scatter', { type: send.type, send, receive, counts, reduction }, options);
  }

  allReduce(buffer: View, options?: Submission & { readonly reduction?: Reduction }): DeviceEvent {
    this.checkReducible('all_reduce', buffer);
    this.checkInside('all_reduce', buffer);
    const reduction = options?.reduction ?? 'sum';
    return this.submit('all_reduce', { type: buffer.type, send: buffer, receive: buffer, reduction }, options);
  }

  broadcast(buffer: View, root: number, options?: Submission): DeviceEvent {
    this.checkPeer('broadcast', root);
    this.checkInside('broadcast', buffer);
    return this.submit('broadcast', { type: buffer.type, send: buffer, receive: buffer, peer: root }, options);
  }

  send(buffer: View, peer: number, options?: Submission): DeviceEvent {
    this.checkPeer('send', peer);
    this.checkInside('send', buffer);
    return this.submit('send', { type: buffer.type, send: buffer, peer }, options);
  }

  receive(buffer: View, peer: number, options?: Submission): DeviceEvent {
    this.checkPeer('receive', peer);
    this.checkInside('receive', buffer);
    return this.submit('receive', { type: buffer.type, receive: buffer, peer }, options);
  }

  barrier(options?: Submission): DeviceEvent {
    return this.submit('barrier', {}, options);
  }

  private exchange(
    { view: send, counts }: Blocks,
    { view: receive, counts: receiveCounts }: Blocks,
    options: Submission | undefined,
  ): DeviceEvent {
    this.checkViews('all_to_all', send, receive, undefined);
    return this.submit('all_to_all', { type: send.type, send, receive, counts, receiveCounts }, options);
  }

  private submit(kind: OperationKind, draft: Draft, options: Submission | undefined): DeviceEvent {
    const stream = kind === 'send' || kind === 'receive' ? `${kind} ${draft.peer ?? 0}` : '';
    const sequence = this.sequences.get(stream) ?? 0;
    this.sequences.set(stream, sequence + 1);
    return this.options.submit(
      {
        kind,
        communicator: this.options.id,
        sequence,
        type: 'u8',
        reduction: 'sum',
        peer: 0,
        send: nowhere,
        receive: nowhere,
        counts: nothing,
        receiveCounts: nothing,
        after: (options?.after ?? []).map((event) => event.id),
        ...draft,
      },
      options?.label ?? '',
    );
  }

  private checkCounts(kind: OperationKind, side: string, counts: Int32Array, view: View): void {
    this.demand(
      counts.length === this.size,
      kind,
      () => `${side} has ${counts.length} counts for ${this.size} members`,
    );
    let sum = 0;
    for (const count of counts) {
      this.demand(count >= 0, kind, () => `${side} counts must not be negative, got ${counts.join(' ')}`);
      sum += count;
    }
    this.demand(sum <= view.length, kind, () => `${side} counts sum to ${sum}, the view has ${view.length} elements`);
  }

  private blockOffset(view: View, counts: Int32Array): number {
    let elements = 0;
    for (let place = 0; place < this.rank; place++) elements += at(counts, place);
    return view.byteOffset + elements * elementBytes[view.type];
  }

  private checkReducible(kind: OperationKind, view: View): void {
    const { backend, reduces } = this.options;
    const known = reduces.includes(view.type);
    this.demand(known, kind, () => `the ${backend} backend reduces ${reduces.join(' and ')}, not ${view.type}`);
  }

  private checkPeer(kind: OperationKind, peer: number): void {
    this.demand(
      Number.isInteger(peer) && peer >= 0 && peer < this.size,
      kind,
      () => `place ${peer} is not in the group of ${this.size}`,
    );
  }

  /** `part` and `whole` may share bytes only when part lies exactly at `shared`. */
  private checkViews(kind: OperationKind, part: View, whole: View, shared: number | undefined): void {
    this.demand(part.type === whole.type, kind, () => `send and receive have types ${part.type} and ${whole.type}`);
    this.checkInside(kind, part);
    this.checkInside(kind, whole);
    const bytes = elementBytes[part.type];
    const apart =
      part.byteOffset + part.length * bytes <= whole.byteOffset ||
      whole.byteOffset + whole.length * bytes <= part.byteOffset;
    const empty = part.length === 0 || whole.length === 0;
    this.demand(
      apart || empty || part.byteOffset === shared,
      kind,
      () =>
        'send and receive overlap; in place is possible only for all_gather and reduce_scatter, with the own block ' +
        'at its place',
    );
  }

  private checkInside(kind: OperationKind, view: View): void {
    const bytes = elementBytes[view.type];
    this.demand(
      view.byteOffset >= 0 && view.length >= 0 && view.byteOffset + view.length * bytes <= this.options.memory.bytes(),
      kind,
      () =>
        `the view of ${view.length} ${view.type} at byte ${view.byteOffset} lies outside the rank's memory of ` +
        `${this.options.memory.bytes()} bytes`,
    );
    this.demand(
      view.byteOffset % bytes === 0,
      kind,
      () => `byte offset ${view.byteOffset} is not a multiple of ${bytes}`,
    );
  }

  /** `problem` is put into words only where there is one: this runs for every operation. */
  private demand(condition: boolean, kind: OperationKind, problem: () => string): void {
    if (condition) return;
    throw new RangeError(`${kind} on communicator ${this.name}, rank ${this.options.rank}: ${problem()}`);
  }
}
