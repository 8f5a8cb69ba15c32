/**
 * Max-min fair rates (Bertsekas and Gallager, Data Networks, 6.5.2): rates rise together until a port is full; the
 * flows on it keep the rate they have, the others go on. With priorities, a class gets what higher classes leave.
 */

/** Equal flows on the same ports, taken together. */
export interface Demand {
  /** How many flows this stands for. */
  readonly count: number;
  /** Ports that each of them occupies, each port once. */
  readonly ports: readonly number[];
  /** What a rate of 1 takes from each of those ports. */
  readonly weights: readonly number[];
  /** Higher classes are served first. */
  readonly priority: number;
}

export interface Share {
  /** Of each flow, per second. */
  rate: number;
  /** The port that holds the rate down; -1 when nothing does. */
  port: number;
}

/**
 * Rates of all demands. `capacity(port)` is in units of rate x weight.
 * Takes O(ports^2 + sum of ports over demands) time. A demand without ports has an infinite rate.
 */
export function maxMinShares(demands: readonly Demand[], capacity: (port: number) => number): Share[] {
  const [only] = demands;
  if (only !== undefined && demands.length === 1) return [shareAlone(only, capacity)];
  const filling = new Filling(demands, capacity);
  let served = Infinity;
  for (;;) {
    let priority = -Infinity;
    for (let index = 0; index < demands.length; index++) {
      const own = demands[index]?.priority ?? -Infinity;
      if (own < served && own > priority) priority = own;
    }
    if (priority === -Infinity) return filling.shares;
    filling.serve(priority);
    served = priority;
  }
}

/** Nothing beside it: its narrowest port decides. */
function shareAlone({ count, ports, weights }: Demand, capacity: (port: number) => number): Share {
  const share: Share = { rate: Infinity, port: -1 };
  for (let index = 0; index < ports.length; index++) {
    const port = ports[index] ?? -1;
    const rate = Math.max(0, capacity(port)) / (count * (weights[index] ?? 1));
    if (rate < share.rate) {
      share.rate = rate;
      share.port = port;
    }
  }
  return share;
}

/** Up to so many ports are found by looking through the list of them. */
const fewPorts = 32;

/** Ports that demands have in common, and what is left of them. */
class Filling {
  readonly shares: Share[] = [];
  readonly #demands: readonly Demand[];
  /** Ports by their place in the lists that follow. */
  readonly #ids: number[] = [];
  #places: Map<number, number> | undefined;
  readonly #left: number[] = [];
  readonly #users: number[][] = [];
  /** Of the class that is served: by port, what its demands take of it and how many are open; by demand, whether. */
  readonly #load: number[] = [];
  readonly #openUsers: number[] = [];
  readonly #open: boolean[] = [];

  constructor(demands: readonly Demand[], capacity: (port: number) => number) {
    this.#demands = demands;
    for (let index = 0; index < demands.length; index++) {
      this.shares.push({ rate: Infinity, port: -1 });
      const ports = demands[index]?.ports ?? [];
      for (let k = 0; k < ports.length; k++) {
        const port = ports[k] ?? -1;
        const known = this.#placeOf(port);
        if (known >= 0) this.#users[known]?.push(index);
        else this.#add(port, capacity(port), index);
      }
    }
  }

  #add(port: number, capacity: number, user: number): void {
    const place = this.#ids.push(port) - 1;
    if (place === fewPorts) this.#places = new Map(this.#ids.map((id, at) => [id, at]));
    else this.#places?.set(port, place);
    this.#left.push(capacity);
    this.#users.push([user]);
  }

  #placeOf(port: number): number {
    return this.#places === undefined ? this.#ids.indexOf(port) : (this.#places.get(port) ?? -1);
  }

  /** Gives a class what higher ones have left. */
  serve(priority: number): void {
    this.#load.length = this.#openUsers.length = 0;
    for (let place = 0; place < this.#ids.length; place++) {
      this.#load.push(0);
      this.#openUsers.push(0);
    }
    for (let index = 0; index < this.#demands.length; index++) {
      const demand = this.#demands[index];
      const open = demand?.priority === priority && demand.ports.length > 0;
      this.#open[index] = open;
      if (open) this.#take(demand, 1, 0);
    }
    for (let tightest = this.#tightest(); tightest >= 0; tightest = this.#tightest()) this.#close(tightest);
  }

  /** The port that is full first; -1 where none has open users. */
  #tightest(): number {
    let tightest = -1;
    let rate = Infinity;
    for (let place = 0; place < this.#ids.length; place++) {
      // users are counted, since sums of weights do not come back to exactly zero
      if ((this.#openUsers[place] ?? 0) === 0) continue;
      const share = this.#shareAt(place);
      if (share < rate) {
        rate = share;
        tightest = place;
      }
    }
    return tightest;
  }

  #shareAt(place: number): number {
    return Math.max(0, this.#left[place] ?? 0) / (this.#load[place] ?? 1);
  }

  /** Demands on a port keep the rate that fills it. */
  #close(place: number): void {
    const rate = this.#shareAt(place);
    const users = this.#users[place] ?? [];
    for (let at = 0; at < users.length; at++) {
      const index = users[at] ?? -1;
      const [demand, share] = [this.#demands[index], this.shares[index]];
      if (this.#open[index] !== true || !demand || !share) continue;
      this.#open[index] = false;
      share.rate = rate;
      share.port = this.#ids[place] ?? -1;
      this.#take(demand, -1, rate);
    }
  }

  /** A demand comes to its ports (sign 1), or leaves them (sign -1) with its rate taken from what is left. */
  #take({ ports, weights, count }: Demand, sign: 1 | -1, rate: number): void {
    for (let k = 0; k < ports.length; k++) {
      const place = this.#placeOf(ports[k] ?? -1);
      const taken = count * (weights[k] ?? 1);
      this.#left[place] = (this.#left[place] ?? 0) - taken * rate;
      this.#load[place] = (this.#load[place] ?? 0) + sign * taken;
      this.#openUsers[place] = (this.#openUsers[place] ?? 0) + sign;
    }
  }
}
