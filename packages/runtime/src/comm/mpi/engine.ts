/**
 * The operations of one rank: in-order queues, whose heads start when the events they come after are done, and the
 * transfers under way. Nothing moves by itself: `advance` does all the work, called from whatever the rank does.
 */
import { at } from '../at.js';
import { CommunicationError } from '../communication-error.js';
import { describeOperation, type Party } from '../party.js';
import type { Group, Groups } from './group.js';
import { Transfer, type TransferHost } from './transfer.js';

/** How long an error of a message waits for the header that may explain it. */
const explanationSeconds = 2;

interface Entry {
  readonly party: Party;
  readonly group: Group;
}

interface Queue {
  readonly entries: Entry[];
  active: Transfer | undefined;
}

export interface EngineHost extends TransferHost {
  readonly groups: Groups;
  eventDone(event: number): boolean;
  ended(transfer: Transfer): void;
}

export class Engine {
  private readonly queues = new Map<string, Queue>();
  /** Queues whose head has not started. */
  private readonly waiting = new Set<Queue>();
  private readonly active = new Map<Transfer, Queue>();

  constructor(private readonly host: EngineHost) {}

  get idle(): boolean {
    return this.waiting.size === 0 && this.active.size === 0;
  }

  submit(party: Party, group: Group): void {
    const { operation } = party;
    const message = operation.kind === 'send' || operation.kind === 'receive';
    const key = `${group.number} ${message ? `${operation.kind} ${operation.peer}` : ''}`;
    let queue = this.queues.get(key);
    if (queue === undefined) {
      queue = { entries: [], active: undefined };
      this.queues.set(key, queue);
    }
    queue.entries.push({ party, group });
    if (queue.active === undefined) this.waiting.add(queue);
  }

  /** Moves everything as far as it goes without waiting. True when something happened. Throws `CommunicationError`. */
  advance(): boolean {
    let happened = false;
    while (this.start() || this.host.requests.poll() || this.finish()) happened = true;
    return happened;
  }

  /**
   * Throws `CommunicationError` when an operation cannot end: a rank that it needs has left without submitting it, or
   * has kept this rank waiting for longer than `patienceSeconds`.
   */
  checkForMissing(patienceSeconds: number): void {
    const now = this.host.now();
    for (const transfer of this.active.keys()) {
      const absent = transfer.absent();
      this.complain(transfer.describe(), absent, transfer.party.rank, now - transfer.since > patienceSeconds);
      if (absent.length === 0 && now - transfer.since > patienceSeconds) {
        throw new CommunicationError(
          transfer.party.rank,
          `${transfer.describe()}: all ranks take part, but rank ${transfer.party.rank} has waited for its bytes ` +
            `for ${patienceSeconds} s`,
        );
      }
    }
    for (const { entries } of this.waiting) {
      const { party, group } = at(entries, 0);
      if (group.complete) continue;
      if (party.issued < 0) party.issued = now;
      const title = describeOperation(party, group.title);
      this.complain(title, group.absent(), party.rank, now - party.issued > patienceSeconds);
    }
  }

  private complain(title: string, absent: readonly number[], rank: number, late: boolean): void {
    const gone = absent.filter((other) => this.host.groups.hasLeft(other));
    const [culprit] = gone.length > 0 ? gone : absent;
    if (culprit === undefined || (gone.length === 0 && !late)) return;
    const how = gone.length > 0 ? 'returned without submitting it' : 'has not submitted it';
    const who = gone.length > 0 ? gone : absent;
    throw new CommunicationError(
      culprit,
      `an operation waits for a rank that does not come:\n  ${title}: ${who.length === 1 ? 'rank' : 'ranks'} ` +
        `${who.join(', ')} ${how}, awaited by rank ${rank}`,
    );
  }

  private start(): boolean {
    let started = false;
    for (const queue of this.waiting) {
      const { party, group } = at(queue.entries, 0);
      if (!group.complete || !party.operation.after.every((event) => this.host.eventDone(event))) continue;
      this.waiting.delete(queue);
      queue.active = new Transfer(this.host, party, group);
      this.active.set(queue.active, queue);
      queue.active.advance();
      started = true;
    }
    return started;
  }

  private finish(): boolean {
    let finished = false;
    for (const [transfer, queue] of this.active) {
      transfer.throwProblem(explanationSeconds);
      if (!transfer.advance()) continue;
      this.active.delete(transfer);
      queue.active = undefined;
      queue.entries.shift();
      if (queue.entries.length > 0) this.waiting.add(queue);
      this.host.ended(transfer);
      finished = true;
    }
    return finished;
  }
}
