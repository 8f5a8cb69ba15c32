/** The cards of this machine as a cluster, for runs that name none. */
import { getCluster, type Cluster } from '@monta/core/cluster';
import { InputError } from '@monta/core/units';
import { cudaAvailable, firstCard } from '../device/cuda/bindings/index.js';

/** Families of core's presets, as they stand in the names of cards: `NVIDIA H100 80GB HBM3`. */
const families = /\b(A100|A800|H100|H800|H200|H20|B200|B300|GB200|GB300)\b/u;

/** How many cards this machine has. Throws `InputError` where it has none. */
export function cardsHere(): number {
  const { devices, reason = 'none is installed' } = cudaAvailable();
  if (devices === 0) throw new InputError('no CUDA device here', { path: 'cluster', expected: reason });
  return devices;
}

/**
 * As many cards as there are ranks, in nodes of `perNode`. Links are the family's, until they are measured. Throws
 * `InputError` for cards of no known family.
 */
export function cardsCluster(ranks: number, perNode = ranks): Cluster {
  cardsHere();
  const { name = '' } = firstCard() ?? {};
  const family = families.exec(name)?.[1]?.toLowerCase();
  if (family === undefined)
    throw new InputError(`${name} is no family of cards that is known`, {
      path: 'cluster',
      expected: 'a cluster file or preset that says what the cards and links are',
    });
  return getCluster(`${family}-${ranks / perNode}x${perNode}`);
}
