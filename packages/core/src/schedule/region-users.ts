/** Who used which rows so far, so that what conflicts with a further use is found without asking all other chunks. */
import type { Use } from './schedule.js';

/**
 * Whether two chunks share rows. Chunk c of n of a block of m rows is floor(m*c/n)..floor(m*(c+1)/n); floor is
 * monotone, so chunks whose fractions [c/n, (c+1)/n) are disjoint share none, whatever m is.
 */
export const chunksOverlap = (a: Pick<Use, 'chunk' | 'of'>, b: Pick<Use, 'chunk' | 'of'>): boolean =>
  a.chunk * b.of < (b.chunk + 1) * a.of && b.chunk * a.of < (a.chunk + 1) * b.of;

interface User {
  readonly index: number;
  readonly mode: Use['mode'];
}

/** Users of a region by into how many chunks they cut it, then by chunk. */
type Cuts = Map<number, (User[] | undefined)[]>;

export class RegionUsers {
  readonly #byRegion = new Map<string, Cuts>();

  /** The operation at `index` uses rows. */
  add(index: number, { region, chunk, of, mode }: Use): void {
    let cuts = this.#byRegion.get(region);
    if (cuts === undefined) this.#byRegion.set(region, (cuts = new Map()));
    let chunks = cuts.get(of);
    if (chunks === undefined) cuts.set(of, (chunks = []));
    const users = (chunks[chunk] ??= []);
    users.push({ index, mode });
  }

  /** Adds the indices of those whose rows a use shares, where one of the two writes them, to `found`. */
  conflicting({ region, chunk, of, mode }: Use, found: number[]): void {
    const cuts = this.#byRegion.get(region);
    if (cuts === undefined) return;
    for (const [other, chunks] of cuts) {
      // chunks of one cut share no rows
      if (other === of) append(chunks[chunk], mode, found);
      else
        chunks.forEach((users, at) => {
          if (chunksOverlap({ chunk: at, of: other }, { chunk, of })) append(users, mode, found);
        });
    }
  }
}

function append(users: readonly User[] | undefined, mode: Use['mode'], found: number[]): void {
  for (const user of users ?? [])
    if ((mode !== 'read' || user.mode !== 'read') && !found.includes(user.index)) found.push(user.index);
}
