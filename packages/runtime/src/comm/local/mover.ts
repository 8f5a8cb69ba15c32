/**
 * The mover: a thread of its own that takes submissions from all ranks and moves their bytes, so that communication
 * runs beside a rank's computation even while that rank's thread sits inside a matrix product. This file is its loop.
 */
import { at } from '../at.js';
import { CommunicationError } from '../communication-error.js';
import type { Party } from '../party.js';
import type { EventTable } from '../../device/cpu/event-table.js';
import type { Control } from './control.js';
import type { Engine } from './engine.js';
import { Matching, type ReadyOperation } from './matching.js';
import { RecordWriter } from './records.js';
import { RingReader } from './ring.js';
import { decode } from './submission.js';
import { bytesSent } from './transfers.js';

/** Longest sleep: bounds how late a lost condition (a rank that finished, a backlog of records) is noticed. */
const idleMilliseconds = 100;

export interface MoverOptions {
  /** Of the ranks' devices. */
  readonly events: readonly EventTable[];
  /** A rank that keeps others waiting longer than this, though it still runs, ends the job. Infinity: never. */
  readonly stuckAfterSeconds: number;
}

export class Mover {
  private readonly rings: readonly RingReader[];
  private readonly records: readonly RecordWriter[];
  private readonly matching: Matching;
  private readonly started = new Map<Party, ReadyOperation>();

  constructor(
    private readonly control: Control,
    private readonly engine: Engine,
    private readonly options: MoverOptions,
  ) {
    this.rings = control.shared.ranks.map((rank) => new RingReader(rank.ring));
    this.records = control.shared.ranks.map((rank) => new RecordWriter(rank.records));
    this.matching = new Matching(control.size, {
      eventDone: (rank, event) => at(options.events, rank).done(event),
      now: () => control.now(),
      start: (operation) => {
        for (const party of operation.parties) this.started.set(party, operation);
        engine.start(operation);
      },
    });
  }

  /**
   * Runs until the job is stopped or aborted; returns when nothing is in flight. Misuse of the communicators aborts the
   * job.
   */
  run(): void {
    try {
      while (!this.control.aborted()) {
        const bell = this.control.doorbellCount();
        const finished = this.finishedRanks();
        const progressed = this.step();
        if (this.control.aborted()) return;
        if (this.control.stopRequested() && this.matching.idle && !this.engine.busy) return;
        if (progressed) continue;
        this.checkForMissing(finished, bell);
        const pause = Math.min(idleMilliseconds, (this.engine.nextWake() - this.control.now()) * 1000);
        if (pause > 0) this.control.waitForDoorbell(bell, pause);
      }
    } catch (error) {
      if (!(error instanceof CommunicationError)) throw error;
      this.control.abort(error.rank, error.message);
    }
  }

  /** One round; true when anything was taken in or ended. */
  private step(): boolean {
    let progressed = false;
    for (const [rank, ring] of this.rings.entries()) {
      for (let message = ring.read(); message !== undefined; message = ring.read()) {
        this.matching.submit(rank, decode(message));
        progressed = true;
      }
      // The rank sleeps with submissions that did not fit: there is room now.
      if (progressed && this.control.overflowing(rank)) this.control.wake(rank);
    }
    this.matching.advance();
    const ended = this.engine.advance(this.control.now());
    for (const party of ended) this.finish(party);
    if (ended.length > 0) for (const rank of new Set(ended.map((party) => party.rank))) this.control.wake(rank);
    if (this.control.trace) for (const records of this.records) records.flush();
    return progressed || ended.length > 0;
  }

  private finish(party: Party): void {
    const operation = this.started.get(party);
    if (operation === undefined) throw new Error('the engine ended an operation that it was not given');
    this.started.delete(party);
    if (this.control.trace) {
      at(this.records, party.rank).write({
        event: party.operation.event,
        issued: party.issued,
        ready: operation.ready,
        end: this.control.now(),
        bytes: bytesSent(
          operation.parties.map((other) => other.operation),
          operation.parties.indexOf(party),
        ),
      });
    }
    this.matching.end(party);
    at(this.options.events, party.rank).finish(party.operation.event);
  }

  private finishedRanks(): boolean[] {
    return Array.from({ length: this.control.size }, (_, rank) => this.control.rankFinished(rank));
  }

  /**
   * Ends the job when an operation waits for a rank that will not come. `finished` and `bell` were read before the
   * rings were emptied.
   */
  private checkForMissing(finished: readonly boolean[], bell: number): void {
    const now = this.control.now();
    const inert = finished.map((done, rank) => done || this.control.rankBlocked(rank));
    // Ranks ring the doorbell before they sleep: if it rang since this round began, there is something new to look at.
    const quiet = this.control.doorbellCount() === bell && !this.engine.busy;
    const deadlocked = quiet && inert.every(Boolean) && (finished.includes(false) || !this.matching.idle);
    const lines: string[] = [];
    let culprit = -1;
    for (const { title, missing, unissued, present, since } of this.matching.pending()) {
      const gone = missing.filter((rank) => finished[rank]);
      const late = now - since > this.options.stuckAfterSeconds;
      if (gone.length === 0 && !late && !deadlocked) continue;
      const absent = gone.length > 0 ? gone : [...missing, ...unissued];
      if (culprit < 0) culprit = at(absent, 0);
      const how = gone.length > 0 ? 'returned without submitting it' : this.describeAbsence(absent, unissued, finished);
      const whoWaits = present.length > 0 ? `, awaited by ${rankList(present)}` : '';
      lines.push(`${title}: ${rankList(absent)} ${how}${whoWaits}`);
    }
    if (lines.length > 0) {
      const why = deadlocked
        ? 'every rank waits and nothing can move'
        : 'an operation waits for a rank that does not come';
      throw new CommunicationError(culprit, `${why}:\n  ${lines.join('\n  ')}`);
    }
  }

  private describeAbsence(
    absent: readonly number[],
    unissued: readonly number[],
    finished: readonly boolean[],
  ): string {
    if (absent.every((rank) => unissued.includes(rank))) {
      return 'submitted it, but an earlier operation of its communicator or an event that it comes after has not ended';
    }
    return absent.some((rank) => finished[rank]) ? 'did not submit it' : 'has not submitted it';
  }
}

function rankList(ranks: readonly number[]): string {
  return ranks.length === 1 ? `rank ${ranks.join('')}` : `ranks ${ranks.join(', ')}`;
}
