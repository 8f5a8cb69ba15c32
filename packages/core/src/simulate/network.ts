/**
 * Flows in flight. Bytes are a fluid: rates are constant between events and max-min fair. Only the part of the network
 * that a change touches is worked out again, since flows that share no port, directly or through others, do not feel
 * each other.
 */
import { removeFrom } from '../units/index.js';
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
  readonly #capacityOf = (port: number): number => this.#capacity[port] ?? 0;
  /** By port, who uses it, in the order in which they came. */
  readonly #users: B[][];
  /** Ports with changes, each once. */
  readonly #dirty: number[] = [];
  readonly #isDirty: Uint8Array;
  readonly #unbounded: B[] = [];
  readonly #visited: Int32Array;
  #visit = 0;

  constructor(capacities: readonly number[]) {
    this.#capacity = [...capacities];
    this.#users = capacities.map(() => []);
    this.#isDirty = new Uint8Array(capacities.length);
    this.#visited = new Int32Array(capacities.length);
  }

  /** A bundle starts to flow; it has a rate after `settle`. */
  add(bundle: B): void {
    const { ports } = bundle;
    if (ports.length === 0) this.#unbounded.push(bundle);
    for (let place = 0; place < ports.length; place++) {
      const port = ports[place] ?? -1;
      this.#users[port]?.push(bundle);
      this.#change(port);
    }
  }

  /** A bundle has ended. */
  remove(bundle: B): void {
    const { ports } = bundle;
    for (let place = 0; place < ports.length; place++) {
      const port = ports[place] ?? -1;
      removeFrom(this.#users[port] ?? [], bundle);
      this.#change(port);
    }
  }

  #change(port: number): void {
    if (this.#isDirty[port] !== 0) return;
    this.#isDirty[port] = 1;
    this.#dirty.push(port);
  }

  /** Changes a port's capacity from now on. */
  setCapacity(port: number, capacity: number): void {
    if (this.#capacity[port] === capacity) return;
    this.#capacity[port] = capacity;
    this.#change(port);
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
    for (let bundle = this.#unbounded.shift(); bundle !== undefined; bundle = this.#unbounded.shift())
      foresee(bundle, now);
    if (this.#dirty.length === 0) return;
    this.#visit += 1;
    for (let place = 0; place < this.#dirty.length; place++) {
      const start = this.#dirty[place] ?? 0;
      this.#isDirty[start] = 0;
      if (this.#visited[start] !== this.#visit) this.#settlePart(this.#reach(start), now, foresee);
    }
    this.#dirty.length = 0;
  }

  /** The same for bundles that share ports with each other and with no others. */
  #settlePart(members: readonly B[], now: number, foresee: (bundle: B, end: number) => void): void {
    const shares = maxMinShares(members, this.#capacityOf);
    let first = Infinity;
    for (let index = 0; index < members.length; index++) {
      const bundle = members[index];
      const share = shares[index];
      if (bundle === undefined || share === undefined) continue;
      this.#account(bundle, now);
      if (share.port !== bundle.port) held(bundle, share.port, now);
      if (share.rate !== bundle.rate) bundle.version += 1;
      bundle.rate = share.rate;
      if (bundle.rate > 0) first = Math.min(first, now + bundle.remaining / bundle.rate);
    }
    // when the first ones end, the rest of them is worked out again, so only they need to be foreseen
    const until = first + (first - now) * instant;
    for (let index = 0; index < members.length; index++) {
      const bundle = members[index];
      if (bundle === undefined || bundle.rate === 0) continue;
      const end = now + bundle.remaining / bundle.rate;
      if (end <= until) foresee(bundle, end);
    }
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
      const users = this.#users[port] ?? [];
      for (let place = 0; place < users.length; place++) {
        const bundle = users[place];
        if (bundle === undefined || bundle.visit === this.#visit) continue;
        bundle.visit = this.#visit;
        members.push(bundle);
        const { ports } = bundle;
        for (let index = 0; index < ports.length; index++) {
          const other = ports[index] ?? -1;
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
