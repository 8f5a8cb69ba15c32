/**
 * Groups over one MPI communicator. Making an MPI communicator blocks and is collective, which `Endpoint.communicator`
 * must not be: so a group is a number of each member's own choosing, which members tell each other in a message, and
 * messages of the group carry the receiver's number in their tag. Operations wait until all members' numbers are known.
 */
import { at } from '../at.js';
import { CommunicationError } from '../communication-error.js';
import { anySource } from './ffi.js';
import type { Requests } from './requests.js';

/** Streams of a group, in the tag's lowest bits. Messages of one stream and pair are matched in order. */
export const stream = { header: 0, data: 1, senderHeader: 2, receiverHeader: 3, message: 4 } as const;
export type Stream = (typeof stream)[keyof typeof stream];
const streamsPerGroup = 8;
/** Group 0's first tag is not used by any stream of a group, since groups count from 1. */
const noticeTag = 0;

export class Group {
  /** The number that each member gave to the group, by place; -1: not heard of yet. */
  private readonly numbers: number[];
  private unknown: number;
  /** The other places, the next one first, so that no member is everyone's first target. */
  readonly others: readonly number[];

  constructor(
    /** `lane/name`. */
    readonly title: string,
    readonly members: readonly number[],
    /** This rank's place. */
    readonly place: number,
    readonly number: number,
  ) {
    this.numbers = members.map((_, index) => (index === place ? number : -1));
    this.unknown = members.length - 1;
    this.others = Array.from({ length: members.length - 1 }, (_, index) => (place + 1 + index) % members.length);
  }

  get size(): number {
    return this.members.length;
  }

  /** All members have made it. */
  get complete(): boolean {
    return this.unknown === 0;
  }

  learn(place: number, number: number): void {
    if (at(this.numbers, place) >= 0) return;
    this.numbers[place] = number;
    this.unknown -= 1;
  }

  sendTag(to: number, kind: Stream): number {
    return at(this.numbers, to) * streamsPerGroup + kind;
  }

  receiveTag(kind: Stream): number {
    return this.number * streamsPerGroup + kind;
  }

  /** Global ranks that have not made the group. */
  absent(): number[] {
    return this.members.filter((_, place) => at(this.numbers, place) < 0);
  }
}

const what = { group: 1, goodbye: 2 } as const;
/** Kind, sender, number, members, bytes of the title; members and title follow. */
const fixedInts = 5;
const titleBytes = 256;

interface Notice {
  readonly rank: number;
  readonly number: number;
  readonly title: string;
  readonly members: readonly number[];
}

/** Makes groups, and hears of those that others make and of ranks that leave. */
export class Groups {
  private readonly made = new Map<string, Group>();
  /** Notices of groups that this rank has not made yet, by title. */
  private readonly early = new Map<string, Notice[]>();
  private readonly left = new Set<number>();
  private readonly noticeBytes: number;
  private slot = -1;
  /** Notices that MPI has not taken yet. */
  private sending = 0;

  constructor(
    private readonly requests: Requests,
    private readonly rank: number,
    private readonly size: number,
  ) {
    this.noticeBytes = 4 * (fixedInts + size) + titleBytes;
    this.listen();
  }

  /** Whether a rank has said that it submits nothing more. */
  hasLeft(rank: number): boolean {
    return this.left.has(rank);
  }

  /** All notices are on their way. */
  get quiet(): boolean {
    return this.sending === 0;
  }

  make(title: string, members: readonly number[]): Group {
    const group = new Group(title, members, members.indexOf(this.rank), this.made.size + 1);
    this.made.set(title, group);
    for (const member of members)
      if (member !== this.rank) this.tell({ to: member, kind: what.group, number: group.number, title, members });
    for (const notice of this.early.get(title) ?? []) this.join(group, notice);
    this.early.delete(title);
    return group;
  }

  goodbye(): void {
    for (let rank = 0; rank < this.size; rank++)
      if (rank !== this.rank) this.tell({ to: rank, kind: what.goodbye, number: 0, title: '', members: [] });
  }

  /** Takes no more notices. */
  close(): void {
    this.requests.cancel(this.slot);
  }

  private tell({
    to,
    kind,
    number,
    title,
    members,
  }: {
    readonly to: number;
    readonly kind: number;
    readonly number: number;
    readonly title: string;
    readonly members: readonly number[];
  }): void {
    const notice = new Uint8Array(new ArrayBuffer(this.noticeBytes));
    const text = new TextEncoder().encode(title).subarray(0, titleBytes);
    new Int32Array(notice.buffer).set([kind, this.rank, number, members.length, text.length, ...members]);
    notice.set(text, 4 * (fixedInts + members.length));
    this.sending += 1;
    this.requests.send(notice, to, noticeTag, () => {
      this.sending -= 1;
    });
  }

  private listen(): void {
    const notice = new Uint8Array(new ArrayBuffer(this.noticeBytes));
    this.slot = this.requests.receive(notice, anySource, noticeTag, () => {
      this.listen();
      this.hear(notice);
    });
  }

  private hear(notice: Uint8Array): void {
    const words = new Int32Array(notice.buffer);
    const [kind, rank, number, count, length] = [0, 1, 2, 3, 4].map((index) => at(words, index)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    if (kind === what.goodbye) {
      this.left.add(rank);
      return;
    }
    const end = 4 * (fixedInts + count);
    const title = new TextDecoder().decode(notice.subarray(end, end + length));
    const heard: Notice = { rank, number, title, members: [...words.subarray(fixedInts, fixedInts + count)] };
    const group = this.made.get(title);
    if (group !== undefined) this.join(group, heard);
    else this.early.set(title, [...(this.early.get(title) ?? []), heard]);
  }

  private join(group: Group, { rank, number, title, members }: Notice): void {
    if (members.join() !== group.members.join()) {
      throw new CommunicationError(
        this.rank,
        `communicator ${title}: rank ${rank} made it with members ${members.join(' ')}, rank ${this.rank} with ` +
          `members ${group.members.join(' ')}`,
      );
    }
    group.learn(members.indexOf(rank), number);
  }
}
