/**
 * Brings the submissions of all ranks together. Each rank has in-order queues (one per communicator for collectives,
 * one per pair and direction for messages); the head of a queue is *issued* once its `after` events are done, an
 * operation is *ready* when all its parties have issued it. Knows no threads and no clock of its own.
 */
import { at } from '../at.js';
import { CommunicationError } from '../communication-error.js';
import { describeMismatch } from '../mismatch.js';
import type { Operation } from '../operation.js';
import { describeOperation, type Party } from '../party.js';
import type { Submitted } from './submission.js';
import { minOf } from '@monta/core/units';

/** An operation that all its parties have issued. For messages the parties are the sender and the receiver. */
export interface ReadyOperation {
  readonly parties: readonly Party[];
  /** `lane/name`, as messages show it. */
  readonly communicator: string;
  readonly ready: number;
}

interface Group {
  readonly title: string;
  readonly members: readonly number[];
  /** Operations that not all parties have ended, by stream and sequence number. */
  readonly meetings: Map<string, Meeting>;
}

/** The place where the parties of one operation meet. */
interface Meeting {
  readonly key: string;
  readonly group: Group;
  /** Global ranks that take part, in order. */
  readonly ranks: readonly number[];
  readonly parties: (Party | undefined)[];
  issued: number;
  ended: number;
}

interface Entry {
  readonly party: Party;
  readonly meeting: Meeting;
}

interface Queue {
  readonly entries: Entry[];
  readonly rank: number;
  headIssued: boolean;
}

export interface MatchingHost {
  readonly eventDone: (rank: number, event: number) => boolean;
  readonly now: () => number;
  readonly start: (operation: ReadyOperation) => void;
}

export class Matching {
  private readonly labels: Map<number, string>[];
  private readonly groups: Map<number, Group>[];
  private readonly groupsByName = new Map<string, Group[]>();
  private readonly queues = new Map<string, Queue>();
  /** Queues whose head is not issued. */
  private readonly waiting = new Set<Queue>();
  private readonly meetings = new Set<Meeting>();
  private readonly queueOf = new Map<Party, Queue>();
  private readonly meetingOf = new Map<Party, Meeting>();

  constructor(
    size: number,
    private readonly host: MatchingHost,
  ) {
    this.labels = Array.from({ length: size }, () => new Map([[0, '']]));
    this.groups = Array.from({ length: size }, () => new Map<number, Group>());
  }

  submit(rank: number, submitted: Submitted): void {
    switch (submitted.what) {
      case 'label':
        at(this.labels, rank).set(submitted.id, submitted.text);
        return;
      case 'communicator':
        at(this.groups, rank).set(submitted.id, this.join(rank, submitted));
        return;
      case 'operation':
        this.enqueue(rank, submitted.operation);
    }
  }

  /** Issues what can be issued, and starts what is ready. */
  advance(): void {
    for (const queue of this.waiting) {
      const entry = at(queue.entries, 0);
      const { party, meeting } = entry;
      if (!party.operation.after.every((event) => this.host.eventDone(party.rank, event))) continue;
      party.issued = this.host.now();
      queue.headIssued = true;
      this.waiting.delete(queue);
      meeting.issued += 1;
      if (meeting.issued === meeting.ranks.length) {
        const parties = meeting.parties.filter((member) => member !== undefined);
        this.host.start({ parties, communicator: meeting.group.title, ready: this.host.now() });
      }
    }
  }

  /** A party of a started operation has ended: the next in its queue becomes head. */
  end(party: Party): void {
    const queue = this.queueOf.get(party);
    const meeting = this.meetingOf.get(party);
    if (queue === undefined || meeting === undefined) throw new Error('an operation ended twice');
    this.queueOf.delete(party);
    this.meetingOf.delete(party);
    queue.entries.shift();
    queue.headIssued = false;
    if (queue.entries.length > 0) this.waiting.add(queue);
    meeting.ended += 1;
    if (meeting.ended === meeting.ranks.length) {
      meeting.group.meetings.delete(meeting.key);
      this.meetings.delete(meeting);
    }
  }

  get idle(): boolean {
    return this.meetings.size === 0;
  }

  /**
   * Operations that wait for someone, each with the ranks that have not submitted it, those that have not issued it,
   * and since when the first party waits.
   */
  *pending(): Generator<{ title: string; missing: number[]; unissued: number[]; present: number[]; since: number }> {
    for (const meeting of this.meetings) {
      if (meeting.issued === meeting.ranks.length) continue;
      const missing = meeting.ranks.filter((_, index) => meeting.parties[index] === undefined);
      const submitted = meeting.parties.filter((party) => party !== undefined);
      const issued = submitted.filter((party) => party.issued >= 0);
      yield {
        title: describeOperation(at(submitted, 0), meeting.group.title),
        missing,
        unissued: submitted.filter((party) => party.issued < 0).map((party) => party.rank),
        present: issued.map((party) => party.rank),
        since: minOf(issued.map((party) => party.issued)),
      };
    }
  }

  private join(rank: number, made: { name: string; lane: string; members: readonly number[] }): Group {
    const title = `${made.lane}/${made.name}`;
    const others = this.groupsByName.get(title) ?? [];
    this.groupsByName.set(title, others);
    for (const group of others) {
      const shared = group.members.filter((member) => made.members.includes(member));
      if (group.members.join() === made.members.join()) return group;
      if (
        shared.length > 0 &&
        (group.members.includes(rank) || shared.some((member) => this.hasJoined(member, group)))
      ) {
        const other = shared.find((member) => this.hasJoined(member, group)) ?? at(shared, 0);
        throw new CommunicationError(
          rank,
          `communicator ${title}: rank ${rank} made it with members ${made.members.join(' ')}, rank ${other} with ` +
            `members ${group.members.join(' ')}`,
        );
      }
    }
    const group: Group = { title, members: made.members, meetings: new Map() };
    others.push(group);
    return group;
  }

  private hasJoined(rank: number, group: Group): boolean {
    return [...at(this.groups, rank).values()].includes(group);
  }

  private enqueue(rank: number, operation: Operation): void {
    const group = at(this.groups, rank).get(operation.communicator);
    const label = at(this.labels, rank).get(operation.label);
    if (group === undefined || label === undefined) {
      throw new Error(`rank ${rank} used a communicator or label before defining it`);
    }
    const place = group.members.indexOf(rank);
    const { stream, ranks, index } = streamOf(operation, group, place);
    const key = `${stream}#${operation.sequence}`;
    let meeting = group.meetings.get(key);
    if (meeting === undefined) {
      meeting = { key, group, ranks, parties: ranks.map(() => undefined), issued: 0, ended: 0 };
      group.meetings.set(key, meeting);
      this.meetings.add(meeting);
    }
    const party: Party = { rank, place, operation, label, issued: -1 };
    for (const other of meeting.parties) {
      const difference = other === undefined ? undefined : describeMismatch(other, party, group.title);
      if (difference !== undefined) throw new CommunicationError(rank, difference);
    }
    meeting.parties[index] = party;
    const queueKey = `${rank}:${operation.communicator}:${stream}:${operation.kind === 'receive' ? 'r' : 's'}`;
    let queue = this.queues.get(queueKey);
    if (queue === undefined) {
      queue = { entries: [], rank, headIssued: false };
      this.queues.set(queueKey, queue);
    }
    queue.entries.push({ party, meeting });
    this.queueOf.set(party, queue);
    this.meetingOf.set(party, meeting);
    if (!queue.headIssued) this.waiting.add(queue);
  }
}

/** Collectives of a communicator form one stream, with all members; messages one per ordered pair: sender, receiver. */
function streamOf(
  operation: Operation,
  group: Group,
  place: number,
): { stream: string; ranks: readonly number[]; index: number } {
  if (operation.kind !== 'send' && operation.kind !== 'receive') {
    return { stream: 'all', ranks: group.members, index: place };
  }
  const sends = operation.kind === 'send';
  const [from, to] = sends ? [place, operation.peer] : [operation.peer, place];
  return { stream: `${from}>${to}`, ranks: [at(group.members, from), at(group.members, to)], index: sends ? 0 : 1 };
}
