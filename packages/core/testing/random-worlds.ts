/** Random clusters of known families, some with a third tier, and random layouts that fill them. */
import { getCluster, type Cluster } from '#core/cluster/index.js';
import type { Layout } from '#core/layout/layout.js';
import type { Random } from '#core/units/random.js';

const divisors = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);

function pick<T>(random: Random, list: readonly T[]): T {
  const one = list[random.integer(list.length)];
  if (one === undefined) throw new RangeError('nothing to choose from');
  return one;
}

/** At most 32 ranks; the pipeline has one stage. */
export function randomWorld(random: Random): { cluster: Cluster; layout: Layout } {
  const family = pick(random, ['a800', 'h100', 'b200', 'mi300x']);
  const [nodes, devices] = [pick(random, [1, 2, 3, 4]), pick(random, [2, 4, 6, 8])];
  const nics = nodes === 1 ? '' : `-${pick(random, divisors(devices))}nic`;
  let cluster = getCluster(`${family}-${nodes}x${devices}${nics}`);
  const [inner, outer] = cluster.tiers;
  if (nodes === 4 && inner && outer && random.integer(3) === 0) {
    const spine = {
      ...outer,
      name: 'spine',
      size: 2,
      ports: pick(random, [1, 2]),
      bytesPerSecond: outer.bytesPerSecond / 2,
    };
    cluster = { ...cluster, name: `${cluster.name}-spine`, tiers: [inner, { ...outer, size: 2 }, spine] };
  }
  const world = nodes * devices;
  const tp = pick(random, divisors(devices));
  const dp = world / tp;
  const etp = pick(random, divisors(tp));
  const ep = pick(random, divisors(world / etp));
  const edp = world / (etp * ep);
  return { cluster, layout: { tp, cp: 1, dp, pp: 1, ep, etp, edp, sequenceParallel: random.integer(2) === 0 } };
}
