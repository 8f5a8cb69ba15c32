/**
 * What a rank does while it waits. Where every rank has a core, it looks again at once for a while and then naps briefly; where ranks
 * outnumber cores, it naps soon, because whoever it waits for may need its core.
 */
import { availableParallelism } from 'node:os';

const spinMilliseconds = 0.3;
const shortestNapMilliseconds = 0.05;
const longestNapMilliseconds = 0.5;

export class Patience {
  private readonly cell = new Int32Array(new SharedArrayBuffer(4));
  private readonly spin: number;
  private since = 0;
  private nap = shortestNapMilliseconds;

  /** `localRanks`: ranks on this host. */
  constructor(localRanks: number) {
    this.spin = localRanks <= availableParallelism() ? spinMilliseconds : 0;
  }

  /** Something happened: be quick again. */
  reset(): void {
    this.since = 0;
    this.nap = shortestNapMilliseconds;
  }

  /** Nothing happened: returns at once while spinning, else after a nap that doubles up to half a millisecond. */
  idle(): void {
    const now = performance.now();
    if (this.since === 0) this.since = now;
    if (now - this.since < this.spin) return;
    Atomics.wait(this.cell, 0, 0, this.nap);
    this.nap = Math.min(longestNapMilliseconds, 2 * this.nap);
  }
}
