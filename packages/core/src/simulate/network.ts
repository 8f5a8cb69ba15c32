/**
 * Flows in flight. Bytes are a fluid: rates are constant between events and max-min fair. Only the part of the network
 * that a change touches is worked out again, since flows that share no port, directly or through others, do not feel
 * each other.
 */
import { maxMinShares } from './max-min.js';
import type { Demand } from './max-min.js';

/** Equal flows that start together: same ports, same work, hence one end. */
export interface Bundle extends Demand {
  /** Left of each flow; rate and remaining hold from `since` on. */
  remaining: number;
  rate: number;
  since: number;
  /** Rises with every change of rate, so that an end foreseen with an old rate is recognised. */
  version: number;
  /** The port that holds the rate down now, since when; and what others did before. */
  port: number;
  portSince: number;
  heldBy: Map<number, number> | undefined;
  /** Last visit of the network, see `settle`. */
  visit: number;
}

/**
 * Ends closer together than this share of the time until then are one: equal flows end together in spite of rounding.
 */
export const instant = 1e-13;

export class FluidNetwork<B extends Bundle> {
  readonly #capacity: number[];
  readonly #users: Set<B>[];
  readonly #dirty = new Set<number>();
  readonly #unbounded: B[] = [];
  readonly #visited: Int32Array;
  #visit = 0;

  constructor(capacities: readonly number[]) {
    this.#capacity = [...capacities];
    this.#users = capacities.map(() => new Set());
    this.#visited = new Int32Array(capacities.length);
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
  remove(bundle: B): void {
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
   * Brings rates up to date after a batch of changes. For every part of the network that changed, `foresee` is told the
   * bundles that end first, and when.
   */
  settle(now: number, foresee: (bundle: B, end: number) => void): void {
    for (const bundle of this.#unbounded.splice(0)) foresee(bundle, now);
    this.#visit += 1;
    for (const start of this.#dirty) {
      if (this.#visited[start] === this.#visit) continue;
      const members = this.#reach(start);
      const shares = maxMinShares(members, (port) => this.#capacity[port] ?? 0);
      let first = Infinity;
      members.forEach((bundle, index) => {
        const share = shares[index];
        if (!share) return;
        this.#account(bundle, now);
        if (share.port !== bundle.port) held(bundle, share.port, now);
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
    bundle.remaining = Math.max(0, bundle.remaining - bundle.rate * (now - bundle.since));
    bundle.since = now;
  }

  /** Bundles that share ports with `start`, directly or through others; marks their ports as visited. */
  #reach(start: number): B[] {
    const members: B[] = [];
    const open = [start];
    this.#visited[start] = this.#visit;
    for (let port = open.pop(); port !== undefined; port = open.pop()) {
      for (const bundle of this.#users[port] ?? []) {
        if (bundle.visit === this.#visit) continue;
        bundle.visit = this.#visit;
        members.push(bundle);
        for (const other of bundle.ports) {
          if (this.#visited[other] === this.#visit) continue;
          this.#visited[other] = this.#visit;
          open.push(other);
        }
      }
    }
    return members;
  }
}

/** From now on `port` holds the bundle back. */
function held(bundle: Bundle, port: number, now: number): void {
  if (now > bundle.portSince && bundle.port >= 0) {
    bundle.heldBy ??= new Map();
    bundle.heldBy.set(bundle.port, (bundle.heldBy.get(bundle.port) ?? 0) + now - bundle.portSince);
  }
  bundle.port = port;
  bundle.portSince = now;
}

/** The port that held an ended bundle back longest; -1 when none did. */
export function heldLongest(bundle: Bundle, now: number): number {
  if (!bundle.heldBy) return bundle.port;
  held(bundle, bundle.port, now);
  let longest = bundle.port;
  for (const [port, seconds] of bundle.heldBy) if (seconds > (bundle.heldBy.get(longest) ?? 0)) longest = port;
  return longest;
}
