/**
 * One operation of this rank under way: its headers, its messages and its reductions. Collectives are made of messages
 * between pairs, as in Open MPI's own non-blocking collectives; unlike those, each peer's header is compared, sums are
 * taken in rank order, and it is known who has not come.
 */
import type { CpuMemory } from '../../device/cpu/index.js';
import { elementBytes, type View } from '../../device/view.js';
import { at } from '../at.js';
import { reductionBlocks, starts } from '../blocks.js';
import { CommunicationError } from '../communication-error.js';
import { describeMismatch } from '../mismatch.js';
import { bytesOf, type Extent, type Operation } from '../operation.js';
import { describeOperation, type Party } from '../party.js';
import { MpiError, type Mpi } from './ffi.js';
import { stream, type Group, type Stream } from './group.js';
import { Header, headerBytes, issuedOf, readHeader } from './header.js';
import { Requests } from './requests.js';
import type { Staging } from './staging.js';

/** Below this many bytes, an all_reduce sends all contributions to all members: one exchange rather than two. */
const smallReductionBytes = 2048;

export interface TransferHost {
  readonly mpi: Mpi;
  readonly requests: Requests;
  readonly memory: CpuMemory;
  readonly staging: Staging;
  /** Bytes that this rank has sent to each rank of the job, headers not counted; grows. */
  readonly sentBytes: Float64Array;
  now(): number;
}

export class Transfer {
  /** When the last member got there, as far as headers have come. */
  ready = 0;
  /** Bytes sent to other ranks. */
  bytes = 0;
  /** When this rank issued it. */
  readonly since: number;
  /** Set when MPI reported an error on a message. */
  private problem: { readonly code: number; readonly since: number } | undefined;
  private outstanding = 0;
  /** Places whose headers have not come. */
  private readonly missing = new Set<number>();
  private readonly steps: Generator<undefined, void>;
  private over = false;
  private readonly staged: View[] = [];

  constructor(
    private readonly host: TransferHost,
    readonly party: Party,
    readonly group: Group,
  ) {
    this.since = host.now();
    party.issued = this.since;
    this.ready = this.since;
    this.steps = this.run();
  }

  /** Goes on as far as possible; true once everything is done. */
  advance(): boolean {
    while (!this.over && this.outstanding === 0) this.over = this.steps.next().done === true;
    return this.over;
  }

  /** Global ranks that have not issued their side. */
  absent(): number[] {
    return [...this.missing].map((place) => at(this.group.members, place));
  }

  describe(): string {
    return describeOperation(this.party, this.group.title);
  }

  /** Throws the error of a message, unless the peers' headers may still tell its reason. */
  throwProblem(patienceSeconds: number): void {
    const { problem } = this;
    if (problem === undefined) return;
    if (this.missing.size > 0 && this.host.now() - problem.since < patienceSeconds) return;
    const cause = new MpiError('MPI_Testsome', problem.code, this.host.mpi.errorText(problem.code));
    throw new CommunicationError(this.party.rank, `${this.describe()}: ${cause.message}`);
  }

  /** Every `yield` waits for what was posted before it. */
  private *run(): Generator<undefined, void> {
    const { operation } = this.party;
    this.exchangeHeaders();
    switch (operation.kind) {
      case 'barrier':
        break;
      case 'all_to_all':
        this.exchange(operation);
        break;
      case 'all_gather':
        this.gather(operation, operation.counts);
        break;
      case 'broadcast':
        this.spread(operation);
        break;
      case 'send':
        this.post('send', operation.send, operation.peer, stream.message);
        break;
      case 'receive':
        this.post('receive', operation.receive, operation.peer, stream.message);
        break;
      case 'reduce_scatter':
        yield* this.reduce(this.blocks(operation.send, operation.counts), operation.receive);
        break;
      case 'all_reduce':
        yield* this.reduceAll(operation);
    }
    yield;
    for (const view of this.staged) this.host.staging.release(view);
  }

  private *reduceAll(operation: Operation): Generator<undefined, void> {
    const { group } = this;
    const { length } = operation.send;
    if (bytesOf(operation.type, length) <= smallReductionBytes) {
      const contributions = this.group.others.map((peer) => {
        this.post('send', operation.send, peer, stream.data);
        return { peer, view: this.stage(length, peer) };
      });
      yield;
      this.addUp(operation.send, operation.send, contributions);
      return;
    }
    const counts = reductionBlocks(length, group.size);
    const blocks = this.blocks(operation.send, counts);
    const own = at(blocks, group.place);
    yield* this.reduce(blocks, own);
    this.gather({ ...operation, send: own }, counts);
  }

  /** Each member collects the contributions to its block and adds them up in rank order. */
  private *reduce(blocks: readonly Extent[], target: Extent): Generator<undefined, void> {
    const own = at(blocks, this.group.place);
    const contributions = this.group.others.map((peer) => {
      this.post('send', at(blocks, peer), peer, stream.data);
      return { peer, view: this.stage(own.length, peer) };
    });
    yield;
    this.addUp(own, { ...target, length: own.length }, contributions);
  }

  private addUp(own: Extent, target: Extent, contributions: readonly { peer: number; view: View }[]): void {
    const { type, reduction } = this.party.operation;
    const inOrder = this.group.members.map((_, place) => contributions.find(({ peer }) => peer === place)?.view);
    this.host.staging.reduce({
      reduction,
      memory: this.host.memory,
      target: { type, ...target },
      own: { type, ...own },
      contributions: inOrder,
    });
  }

  /** Room for a contribution, and the receive into it. */
  private stage(length: number, peer: number): View {
    const { staging } = this.host;
    const view = staging.take(this.party.operation.type, length);
    this.staged.push(view);
    this.receiveInto(staging.u8(view), peer, stream.data);
    return view;
  }

  private exchange(operation: Operation): void {
    const { others, place } = this.group;
    const from = this.blocks(operation.receive, operation.receiveCounts);
    const to = this.blocks(operation.send, operation.counts);
    for (const peer of others) this.post('receive', at(from, peer), peer, stream.data);
    for (const peer of others) this.post('send', at(to, peer), peer, stream.data);
    this.copy(at(to, place), at(from, place));
  }

  /** `send` of every member into its block of `receive`. */
  private gather(operation: Operation, counts: Int32Array): void {
    const me = this.group.place;
    const own = { ...operation.send, length: at(counts, me) };
    const blocks = this.blocks(operation.receive, counts);
    for (const peer of this.group.others) this.post('receive', at(blocks, peer), peer, stream.data);
    for (const peer of this.group.others) this.post('send', own, peer, stream.data);
    this.copy(own, at(blocks, me));
  }

  private spread(operation: Operation): void {
    const root = operation.peer;
    if (root !== this.group.place) this.post('receive', operation.receive, root, stream.data);
    else for (const peer of this.group.others) this.post('send', operation.send, peer, stream.data);
  }

  private exchangeHeaders(): void {
    const { operation } = this.party;
    const bytes = headerBytes(this.group.size);
    const message = operation.kind === 'send' || operation.kind === 'receive';
    const peers = message ? [operation.peer] : this.group.others;
    const [own, theirs]: [Stream, Stream] = !message
      ? [stream.header, stream.header]
      : operation.kind === 'send'
        ? [stream.senderHeader, stream.receiverHeader]
        : [stream.receiverHeader, stream.senderHeader];
    const header = new Header(this.party, this.group.size);
    const room = new ArrayBuffer(bytes * peers.length);
    for (const [index, peer] of peers.entries()) {
      const answer = new Uint8Array(room, bytes * index, bytes);
      this.missing.add(peer);
      this.outstanding += 1;
      this.host.requests.receive(answer, at(this.group.members, peer), this.group.receiveTag(theirs), (error) => {
        this.outstanding -= 1;
        if (error === 0) this.compare(header, answer, peer);
        else this.note(error);
      });
    }
    for (const peer of peers) this.sendFrom(header.for(peer), peer, own);
  }

  private compare(mine: Header, theirs: Uint8Array, peer: number): void {
    const { group, party } = this;
    this.missing.delete(peer);
    this.ready = Math.max(this.ready, issuedOf(theirs));
    if (mine.same(theirs, peer)) return;
    const read = readHeader({
      from: theirs,
      rank: at(group.members, peer),
      place: peer,
      me: group.place,
      members: group.size,
    });
    const difference = describeMismatch(read, party, group.title);
    if (difference !== undefined) throw new CommunicationError(party.rank, difference);
  }

  private post(way: 'send' | 'receive', { byteOffset, length }: Extent, peer: number, kind: Stream): void {
    const buffer = this.host.memory.u8({ type: this.party.operation.type, byteOffset, length });
    if (way === 'receive') {
      this.receiveInto(buffer, peer, kind);
    } else {
      this.bytes += buffer.length;
      this.host.sentBytes[at(this.group.members, peer)] += buffer.length;
      this.sendFrom(buffer, peer, kind);
    }
  }

  private sendFrom(buffer: Uint8Array, peer: number, kind: Stream): void {
    this.outstanding += Requests.pieces(buffer.length);
    this.host.requests.send(buffer, at(this.group.members, peer), this.group.sendTag(peer, kind), this.arrived);
  }

  private receiveInto(buffer: Uint8Array, peer: number, kind: Stream): void {
    this.outstanding += Requests.pieces(buffer.length);
    this.host.requests.receive(buffer, at(this.group.members, peer), this.group.receiveTag(kind), this.arrived);
  }

  private readonly arrived = (error: number): void => {
    this.outstanding -= 1;
    if (error !== 0) this.note(error);
  };

  private note(code: number): void {
    this.problem ??= { code, since: this.host.now() };
  }

  private copy(from: Extent, to: Extent): void {
    if (from.byteOffset === to.byteOffset) return;
    const { type } = this.party.operation;
    const { memory, mpi } = this.host;
    mpi.copy(memory.u8({ type, ...to }), memory.u8({ type, ...from }));
  }

  /** Blocks of all places, one after another. */
  private blocks(whole: Extent, counts: Int32Array): Extent[] {
    const firsts = starts(counts);
    return this.group.members.map((_, place) =>
      part(this.party.operation.type, whole, at(firsts, place), at(counts, place)),
    );
  }
}

function part(type: Operation['type'], whole: Extent, start: number, length: number): Extent {
  return { byteOffset: whole.byteOffset + start * elementBytes[type], length };
}
