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
  const shares = demands.map((): Share => ({ rate: Infinity, port: -1 }));
  let highest = -1;
  for (const demand of demands) for (const port of demand.ports) highest = Math.max(highest, port);
  const local = new Int32Array(highest + 1).fill(-1);
  const ids: number[] = [];
  const left: number[] = [];
  const users: number[][] = [];
  demands.forEach((demand, index) => {
    for (const port of demand.ports) {
      let slot = local[port] ?? -1;
      if (slot < 0) {
        slot = ids.length;
        local[port] = slot;
        ids.push(port);
        left.push(capacity(port));
        users.push([]);
      }
      users[slot]?.push(index);
    }
  });
  const classes = [...new Set(demands.map((demand) => demand.priority))].sort((a, b) => b - a);
  for (const priority of classes) serve(priority, { demands, shares, local, ids, left, users });
  return shares;
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

interface Filling {
  readonly demands: readonly Demand[];
  readonly shares: Share[];
  /** Place of a port in the lists that follow. */
  readonly local: Int32Array;
  readonly ids: readonly number[];
  readonly left: number[];
  readonly users: readonly (readonly number[])[];
}

function serve(priority: number, { demands, shares, local, ids, left, users }: Filling): void {
  const load: number[] = ids.map(() => 0);
  const openUsers: number[] = ids.map(() => 0);
  const open = demands.map((demand) => demand.priority === priority && demand.ports.length > 0);
  demands.forEach((demand, index) => {
    if (!open[index]) return;
    demand.ports.forEach((port, k) => {
      const slot = local[port] ?? 0;
      load[slot] = (load[slot] ?? 0) + demand.count * (demand.weights[k] ?? 1);
      openUsers[slot] = (openUsers[slot] ?? 0) + 1;
    });
  });
  for (;;) {
    let tightest = -1;
    let rate = Infinity;
    for (let slot = 0; slot < ids.length; slot++) {
      // users are counted, since sums of weights do not come back to exactly zero
      if ((openUsers[slot] ?? 0) === 0) continue;
      const share = Math.max(0, left[slot] ?? 0) / (load[slot] ?? 1);
      if (share < rate) {
        rate = share;
        tightest = slot;
      }
    }
    if (tightest < 0) return;
    for (const index of users[tightest] ?? []) {
      const demand = demands[index];
      const share = shares[index];
      if (!open[index] || !demand || !share) continue;
      open[index] = false;
      share.rate = rate;
      share.port = ids[tightest] ?? -1;
      demand.ports.forEach((port, k) => {
        const slot = local[port] ?? 0;
        const taken = demand.count * (demand.weights[k] ?? 1);
        left[slot] = (left[slot] ?? 0) - taken * rate;
        load[slot] = (load[slot] ?? 0) - taken;
        openUsers[slot] = (openUsers[slot] ?? 0) - 1;
      });
    }
  }
}
