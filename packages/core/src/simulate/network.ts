/**
 * Flows in flight. Bytes are a fluid: rates are constant between events and max-min fair. Only the part of the network that a change
 * touches is worked out again, since flows that share no port, directly or through others, do not feel each other.
 */
import { maxMinShares } from './maxMin.js';
import type { Demand } from './maxMin.js';

/** Equal flows that start together: same ports, same work, hence one end. */
export interface Bundle extends Demand {
  /** Left of each flow; rate and remaining hold from `since` on. */
  remaining: number;
  rate: number;
  since: number;
  /** Rises with every change of rate, so that an end foreseen with an old rate is recognised. */
  version: number;
  /** Seconds during which each port was the one that held the rate down. */
  readonly heldBy: Map<number, number>;
  port: number;
}

/** Ends closer together than this share of the time until then are one: equal flows end together in spite of rounding. */
export const instant = 1e-13;

export class FluidNetwork<B extends Bundle> {
  readonly #capacity: number[];
  readonly #users: Set<B>[];
  readonly #dirty = new Set<number>();
  readonly #unbounded: B[] = [];

  constructor(capacities: readonly number[]) {
    this.#capacity = [...capacities];
    this.#users = capacities.map(() => new Set());
  }

  /** A bundle starts to flow; it has a rate after `settle`. */
  add(bundle: B): void {
    if (bundle.ports.length === 0) this.#unbounded.push(bundle);
    for (const port of bundle.ports) {
      this.#users[port]?.add(bundle);
      this.#dirty.add(port);
    }
  }

  /** A bundle has ended. */
  remove(bundle: B, now: number): void {
    this.#account(bundle, now);
    for (const port of bundle.ports) {
      this.#users[port]?.delete(bundle);
      this.#dirty.add(port);
    }
  }

  /** Changes a port's capacity from now on. */
  setCapacity(port: number, capacity: number): void {
    if (this.#capacity[port] === capacity) return;
    this.#capacity[port] = capacity;
    this.#dirty.add(port);
  }

  /** What the flows on a port take of it now. */
  load(port: number): number {
    let load = 0;
    for (const bundle of this.#users[port] ?? []) {
      load += bundle.count * bundle.rate * (bundle.weights[bundle.ports.indexOf(port)] ?? 1);
    }
    return load;
  }

  /**
   * Brings rates up to date after a batch of changes. For every part of the network that changed, `foresee` is told the bundles that end
   * first, and when.
   */
  settle(now: number, foresee: (bundle: B, end: number) => void): void {
    for (const bundle of this.#unbounded.splice(0)) foresee(bundle, now);
    const done = new Set<number>();
    for (const start of this.#dirty) {
      if (done.has(start)) continue;
      const members = this.#reach(start, done);
      const shares = maxMinShares(members, (port) => this.#capacity[port] ?? 0);
      let first = Infinity;
      members.forEach((bundle, index) => {
        const share = shares[index];
        if (!share) return;
        this.#account(bundle, now);
        bundle.port = share.port;
        if (share.rate !== bundle.rate) bundle.version += 1;
        bundle.rate = share.rate;
        if (bundle.rate > 0) first = Math.min(first, now + bundle.remaining / bundle.rate);
      });
      // when the first ones end, the rest of them is worked out again, so only they need to be foreseen
      const until = first + (first - now) * instant;
      for (const bundle of members) {
        if (bundle.rate === 0) continue;
        const end = now + bundle.remaining / bundle.rate;
        if (end <= until) foresee(bundle, end);
      }
    }
    this.#dirty.clear();
  }

  #account(bundle: B, now: number): void {
    const elapsed = now - bundle.since;
    if (elapsed > 0) {
      bundle.remaining = Math.max(0, bundle.remaining - bundle.rate * elapsed);
      bundle.heldBy.set(bundle.port, (bundle.heldBy.get(bundle.port) ?? 0) + elapsed);
    }
    bundle.since = now;
  }

  /** Bundles that share ports with `start`, directly or through others; marks their ports as done. */
  #reach(start: number, done: Set<number>): B[] {
    const members = new Set<B>();
    const open = [start];
    done.add(start);
    for (let port = open.pop(); port !== undefined; port = open.pop()) {
      for (const bundle of this.#users[port] ?? []) {
        if (members.has(bundle)) continue;
        members.add(bundle);
        for (const other of bundle.ports) {
          if (done.has(other)) continue;
          done.add(other);
          open.push(other);
        }
      }
    }
    return [...members];
  }
}
