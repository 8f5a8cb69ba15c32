/** From the degrees that a person gives to a whole layout, and back to text. */
import { InputError } from '../units/errors.js';
import { limits } from '../units/limits.js';
import { didYouMean } from '../units/nearest.js';
import { deviceCount } from '../cluster/ports.js';
import { occupiedCluster } from '../cluster/occupied.js';
import type { Cluster } from '../cluster/cluster.js';
import type { Layout } from './layout.js';
import { worldSize } from './mesh.js';

/** Degrees as people give them: what is left out is filled in. */
export type PartialLayout = Partial<Omit<Layout, 'edp'>>;

const degrees = ['tp', 'cp', 'dp', 'pp', 'ep', 'etp'] as const;

/** Divisors of n, ascending. */
const divisors = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);

/**
 * Fills in a layout. Degrees default to 1, `etp` to tp, `dp` to what fills `world` ranks when that is given, and edp =
 * world / (etp·ep·pp) follows. `sequenceParallel` defaults to false. Throws InputError that names the product that does
 * not work out, and what would.
 */
export function resolveLayout(partial: PartialLayout, world?: number): Layout {
  for (const key of degrees) {
    const degree = partial[key];
    if (degree !== undefined && (!Number.isSafeInteger(degree) || degree < 1 || degree > limits.ranks)) {
      throw new InputError(`${degree} is not a parallel degree`, {
        path: key,
        expected: `a whole number from 1 to ${limits.ranks}`,
      });
    }
  }
  const { tp = 1, cp = 1, pp = 1, ep = 1, etp = tp, sequenceParallel = false } = partial;
  const dp = partial.dp ?? fillDp(tp, cp, pp, world);
  const ranks = tp * cp * dp * pp;
  if (ranks > limits.ranks)
    throw new InputError(`tp·cp·dp·pp = ${tp}·${cp}·${dp}·${pp} = ${ranks} ranks`, {
      path: 'layout',
      expected: `at most ${limits.ranks}`,
    });
  if (world !== undefined && ranks !== world) {
    const others = tp * cp * pp;
    throw new InputError(`tp·cp·dp·pp = ${tp}·${cp}·${dp}·${pp} = ${ranks}, but there are ${world} ranks`, {
      expected: `a product of ${world}`,
      hint:
        world % others === 0
          ? `dp=${world / others} would fit`
          : `tp·cp·pp = ${others} does not divide ${world}: lower one of them first`,
    });
  }
  const stage = tp * cp * dp;
  if (stage % (etp * ep) !== 0) {
    const fitting = stage % etp === 0 ? divisors(stage / etp) : [];
    throw new InputError(
      `etp·ep = ${etp}·${ep} = ${etp * ep} does not divide tp·cp·dp = ${tp}·${cp}·${dp} = ${stage}`,
      {
        expected: 'etp·ep·edp = tp·cp·dp for a whole edp',
        hint:
          fitting.length > 0
            ? `with etp=${etp}, ep can be ${fitting.join(', ')}`
            : `etp=${etp} cannot fit; it can be ${divisors(stage).join(', ')} (etp is tp unless given)`,
      },
    );
  }
  const { ranksPerNode } = partial;
  const layout = { tp, cp, dp, pp, ep, etp, edp: stage / (etp * ep), sequenceParallel };
  return ranksPerNode === undefined ? layout : { ...layout, ranksPerNode };
}

function fillDp(tp: number, cp: number, pp: number, world?: number): number {
  if (world === undefined) return 1;
  const others = tp * cp * pp;
  if (world % others === 0) return world / others;
  throw new InputError(`tp·cp·pp = ${tp}·${cp}·${pp} = ${others} does not divide the ${world} ranks`, {
    expected: 'a product that divides the number of ranks',
    hint: `it can be ${divisors(world).join(', ')}`,
  });
}

/** Degrees as they are written, none filled in. Throws InputError. */
function readDegrees(text: string): PartialLayout {
  const expected = 'degrees like tp=8,dp=2,ep=2 (and sp for sequence parallelism)';
  const partial: { -readonly [K in keyof PartialLayout]: PartialLayout[K] } = {};
  const seen = new Set<string>();
  for (const part of text.split(/[,\s]+/u).filter((part) => part !== '')) {
    const [key = '', value, ...rest] = part.split('=');
    if (rest.length > 0) throw new InputError(`"${part}" is not a degree`, { path: 'layout', expected });
    if (seen.has(key)) throw new InputError(`"${key}" is given twice`, { path: 'layout', expected });
    seen.add(key);
    const degree = degrees.find((d) => d === key);
    if (key === 'sp') {
      if (value !== undefined && value !== 'true' && value !== 'false') {
        throw new InputError(`"${part}" is not on or off`, { path: 'layout', expected: 'sp, sp=true or sp=false' });
      }
      partial.sequenceParallel = value !== 'false';
    } else if (degree === undefined) {
      throw new InputError(`"${key}" is not a degree`, {
        path: 'layout',
        expected,
        hint: didYouMean(key, [...degrees, 'sp']),
      });
    } else if (value === undefined || !/^\d+$/u.test(value)) {
      throw new InputError(`"${part}" has no whole number`, { path: 'layout', expected });
    } else {
      partial[degree] = Number(value);
    }
  }
  if (seen.size === 0) throw new InputError('the layout is empty', { path: 'layout', expected });
  return partial;
}

/**
 * Reads `tp=8,dp=2,ep=2` (any of tp, cp, dp, pp, ep, etp, and `sp` or `sp=false` for sequence parallelism), then
 * resolves it. Throws InputError.
 */
export const parseLayout = (text: string, world?: number): Layout => resolveLayout(readDegrees(text), world);

/**
 * What a layout, as `parseLayout` reads it, occupies of a cluster: all of it where dp is left out, since dp then fills
 * it; where all degrees are given, as many devices as ranks, tensor parallel ones on one node where that can be
 * (`occupiedCluster`). Throws InputError.
 */
export function occupiedBy(given: string | PartialLayout, cluster: Cluster): Cluster {
  const degrees = typeof given === 'string' ? readDegrees(given) : given;
  if (degrees.dp === undefined) return cluster;
  const layout = resolveLayout(degrees);
  const ranks = worldSize(layout);
  return ranks < deviceCount(cluster) ? occupiedCluster(cluster, ranks, layout.tp) : cluster;
}

/**
 * The shortest text that `parseLayout` reads back: degrees of 1 and what follows from others are left out; beside a
 * cluster of which it occupies a part dp is not, so that `occupiedBy` finds the same part.
 */
export function formatLayout(layout: Layout, cluster?: Cluster): string {
  const parts = degrees
    .filter((key) => (key === 'etp' ? layout.etp !== layout.tp : layout[key] !== 1 || (key === 'dp' && cluster?.part)))
    .map((key) => `${key}=${layout[key]}`);
  if (parts.length === 0) parts.push('tp=1');
  if (layout.sequenceParallel) parts.push('sp');
  return parts.join(',');
}
