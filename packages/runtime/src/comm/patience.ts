/**
 * What a rank does while it waits. Where every rank has a core, it looks again at once for a while and then naps; where
 * ranks outnumber cores, it naps at once, because whoever it waits for may need its core. A nap costs a core some 30 us
 * on a virtual machine, so naps grow with the time waited: what comes late is noticed a little later still. The more
 * ranks share a core, the longer their first naps, so that looking costs the host the same.
 */
import { availableParallelism } from 'node:os';

const shortSpinMilliseconds = 0.3;
const shortestNapMilliseconds = 0.05;
const longestNapMilliseconds = 2;
/** A nap may add this much to a wait. */
const napShare = 1 / 16;

export class Patience {
  private readonly cell = new Int32Array(new SharedArrayBuffer(4));
  private readonly spin: number;
  private readonly firstNap: number;
  private since = 0;

  /** `localRanks`: ranks on this host. `spinMilliseconds`: how long one that has a core looks again at once. */
  constructor(localRanks: number, spinMilliseconds = shortSpinMilliseconds) {
    const cores = availableParallelism();
    this.spin = localRanks <= cores ? spinMilliseconds : 0;
    this.firstNap = shortestNapMilliseconds * Math.max(1, localRanks / cores);
  }

  /** Something happened: be quick again. */
  reset(): void {
    this.since = 0;
  }

  /** Nothing happened: returns at once while spinning, else after a nap. */
  idle(): void {
    const now = performance.now();
    if (this.since === 0) this.since = now;
    const waited = now - this.since;
    if (waited < this.spin) return;
    const nap = Math.min(longestNapMilliseconds, Math.max(this.firstNap, waited * napShare));
    Atomics.wait(this.cell, 0, 0, nap);
  }
}
