/**
 * The shared memory through which the threads of a local job talk: abort flag, doorbell of the mover, and per rank a
 * submission ring and a record ring. Everything here is safe to touch from any thread of the job.
 */
import { at } from '../at.js';
import { createWordRing } from './ring.js';

/**
 * Words of a rank's submission ring: thousands of ordinary descriptors; see `LocalEndpoint` for what happens when it is
 * full.
 */
const ringWords = 1 << 17;
const recordCapacity = 1 << 12;
const abortTextBytes = 8192;
/** Within which a cause is written that somebody has begun to write. */
const publishMilliseconds = 1000;

const header = { abortState: 0, abortRank: 1, abortLength: 2, doorbell: 16, stop: 32, words: 48 } as const;
const abortState = { none: 0, claimed: 1, published: 2 } as const;

/** What a rank's thread is doing, for the mover's search for jobs that cannot go on. */
export const rankState = { running: 0, waiting: 1, finished: 2 } as const;

/** Words of a rank's block, each on its own cache line. */
const rankWord = { wake: 0, state: 16, sleptOn: 32, overflowing: 48, words: 64 } as const;

/** What each thread of the job receives: plain data and shared buffers. */
export interface SharedControl {
  readonly size: number;
  readonly header: SharedArrayBuffer;
  readonly abortText: SharedArrayBuffer;
  readonly ranks: readonly SharedRank[];
  /** Monotonic clock at the start of the job, nanoseconds. */
  readonly startNanoseconds: bigint;
  readonly trace: boolean;
}

export interface SharedRank {
  readonly words: SharedArrayBuffer;
  readonly ring: SharedArrayBuffer;
  /** Float64 fields of TransferRecords, see `records.ts`. */
  readonly records: SharedArrayBuffer;
}

export function createControl(size: number, trace: boolean): SharedControl {
  return {
    size,
    header: new SharedArrayBuffer(header.words * 4),
    abortText: new SharedArrayBuffer(abortTextBytes),
    ranks: Array.from({ length: size }, () => ({
      words: new SharedArrayBuffer(rankWord.words * 4),
      ring: createWordRing(ringWords),
      records: createWordRing(trace ? recordCapacity * 16 : 16),
    })),
    startNanoseconds: process.hrtime.bigint(),
    trace,
  };
}

/** One thread's view of the control memory. */
export class Control {
  readonly size: number;
  readonly trace: boolean;
  private readonly header: Int32Array;
  private readonly abortText: Uint8Array;
  private readonly words: readonly Int32Array[];
  private readonly start: bigint;

  constructor(readonly shared: SharedControl) {
    this.size = shared.size;
    this.trace = shared.trace;
    this.header = new Int32Array(shared.header);
    this.abortText = new Uint8Array(shared.abortText);
    this.words = shared.ranks.map((rank) => new Int32Array(rank.words));
    this.start = shared.startNanoseconds;
  }

  /** Seconds since the start of the job, on a clock that all threads of the process share. */
  now(): number {
    return Number(process.hrtime.bigint() - this.start) / 1e9;
  }

  // A rank's wake counter: whoever may have ended a rank's wait counts it up and notifies.

  wakeCount(rank: number): number {
    return Atomics.load(at(this.words, rank), rankWord.wake);
  }

  wake(rank: number): void {
    const words = at(this.words, rank);
    Atomics.add(words, rankWord.wake, 1);
    Atomics.notify(words, rankWord.wake);
  }

  /**
   * Sleeps until the wake counter differs from `seen` (read before the caller checked its condition) or the time-out
   * passes. While `blocked`, the mover may conclude that this rank will not submit anything before something of its own
   * ends.
   */
  sleep(rank: number, seen: number, milliseconds: number, blocked: boolean): void {
    const words = at(this.words, rank);
    if (blocked) {
      Atomics.store(words, rankWord.sleptOn, seen);
      Atomics.store(words, rankWord.state, rankState.waiting);
    }
    Atomics.wait(words, rankWord.wake, seen, milliseconds);
    if (blocked) Atomics.store(words, rankWord.state, rankState.running);
  }

  finishRank(rank: number): void {
    Atomics.store(at(this.words, rank), rankWord.state, rankState.finished);
    this.ringDoorbell();
  }

  rankFinished(rank: number): boolean {
    return Atomics.load(at(this.words, rank), rankWord.state) === rankState.finished;
  }

  /** True when the rank's thread sleeps in a wait and has seen everything that ended so far. */
  rankBlocked(rank: number): boolean {
    const words = at(this.words, rank);
    return (
      Atomics.load(words, rankWord.state) === rankState.waiting &&
      Atomics.load(words, rankWord.sleptOn) === Atomics.load(words, rankWord.wake)
    );
  }

  setOverflowing(rank: number, overflowing: boolean): void {
    Atomics.store(at(this.words, rank), rankWord.overflowing, overflowing ? 1 : 0);
  }

  overflowing(rank: number): boolean {
    return Atomics.load(at(this.words, rank), rankWord.overflowing) === 1;
  }

  // The mover's doorbell.

  doorbellCount(): number {
    return Atomics.load(this.header, header.doorbell);
  }

  ringDoorbell(): void {
    Atomics.add(this.header, header.doorbell, 1);
    Atomics.notify(this.header, header.doorbell);
  }

  waitForDoorbell(seen: number, milliseconds: number): void {
    Atomics.wait(this.header, header.doorbell, seen, milliseconds);
  }

  /** Asks the mover to end once it has nothing in flight. */
  requestStop(): void {
    Atomics.store(this.header, header.stop, 1);
    this.ringDoorbell();
  }

  stopRequested(): boolean {
    return Atomics.load(this.header, header.stop) === 1;
  }

  // Abort: the first cause wins; its text is published before the flag.

  /**
   * Ends the job: wakes everyone. `rank` is the failing rank, -1 when none is (stopped from outside). Later causes are
   * ignored. When it returns the job is aborted, whoever did it: else a launcher that hears of a failure while its rank
   * still writes the cause would take the job for done.
   */
  abort(rank: number, reason: string): void {
    const before = Atomics.compareExchange(this.header, header.abortState, abortState.none, abortState.claimed);
    if (before === abortState.published) return;
    // A thread that was ended while it wrote never publishes: then this cause is as good.
    if (
      before === abortState.claimed &&
      Atomics.wait(this.header, header.abortState, abortState.claimed, publishMilliseconds) !== 'timed-out'
    )
      return;
    const text = new TextEncoder().encode(reason).subarray(0, abortTextBytes);
    this.abortText.set(text);
    Atomics.store(this.header, header.abortRank, rank);
    Atomics.store(this.header, header.abortLength, text.length);
    Atomics.store(this.header, header.abortState, abortState.published);
    Atomics.notify(this.header, header.abortState);
    for (let other = 0; other < this.size; other++) this.wake(other);
    this.ringDoorbell();
  }

  aborted(): boolean {
    return Atomics.load(this.header, header.abortState) === abortState.published;
  }

  abortCause(): { rank: number; reason: string } {
    const length = Atomics.load(this.header, header.abortLength);
    // TextDecoder refuses shared memory, hence the copy.
    const reason = new TextDecoder().decode(this.abortText.slice(0, length));
    return { rank: Atomics.load(this.header, header.abortRank), reason };
  }
}
