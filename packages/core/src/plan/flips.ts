/** Where the answer changes: scans one figure of the workload at a time and narrows down the first flip on either side. */
import { halvesName } from '../schedule/dispatchers/strategy-names.js';
import type { Cluster } from '../cluster/cluster.js';
import { chooseDispatch, type Candidate, type ChoiceOptions } from './choose.js';
import type { Workload } from './workload.js';

export interface Flip {
  /** What was varied, as `tokens` or `infiniband bandwidth`. */
  readonly figure: string;
  /** Present value; tokens, or bytes/s of one port. */
  readonly now: number;
  /** The winner changes between these two values; `at` is their geometric mean. */
  readonly at: number;
  readonly to: string;
}

export interface FlipSearch {
  readonly flips: readonly Flip[];
  /** Figures that were varied without a flip, and over what range. */
  readonly steady: readonly { readonly figure: string; readonly from: number; readonly to: number }[];
}

const scanFactors = [1 / 4, 1 / 16] as const;
const bisections = 3;

const winnerName = ({ strategy, layout }: Candidate): string =>
  `${halvesName(strategy)}${strategy.chunks.forward > 1 ? ', chunked' : ''}${layout.etp < layout.tp ? `, etp ${layout.etp}` : ''}`;

function scaledTier(cluster: Cluster, tier: number, factor: number): Cluster {
  return {
    ...cluster,
    tiers: cluster.tiers.map((one, index) =>
      index === tier ? { ...one, bytesPerSecond: one.bytesPerSecond * factor } : one,
    ),
  };
}

/** Varies tokens and every tier's bandwidth by up to 16 either way, with chunk counts 1 and 4 only; the place of a flip is narrowed down to a fifth. */
export function findFlips(workload: Workload, best: Candidate, options: ChoiceOptions): FlipSearch {
  const quick: ChoiceOptions = { ...options, chunkCounts: [1, 4] };
  const winner = (changed: Workload): string | undefined => {
    const choice = chooseDispatch(changed, quick);
    return choice.known ? winnerName(choice.best) : undefined;
  };
  const figures = [
    {
      figure: 'tokens',
      now: workload.shape.tokens,
      at: (factor: number): Workload => ({
        ...workload,
        shape: { ...workload.shape, tokens: Math.max(1, Math.round(workload.shape.tokens * factor)) },
      }),
    },
    ...workload.cluster.tiers.map(({ name, bytesPerSecond }, tier) => ({
      figure: `${name} bandwidth`,
      now: bytesPerSecond,
      at: (factor: number): Workload => ({ ...workload, cluster: scaledTier(workload.cluster, tier, factor) }),
    })),
  ];
  const present = winner(workload) ?? winnerName(best);
  const flips: Flip[] = [];
  const steady: { figure: string; from: number; to: number }[] = [];
  for (const { figure, now, at } of figures) {
    let found = false;
    for (const direction of ['down', 'up'] as const) {
      let same = 1;
      for (const step of scanFactors) {
        const factor = direction === 'down' ? step : 1 / step;
        const there = winner(at(factor));
        if (there === undefined) break;
        if (there === present) {
          same = factor;
          continue;
        }
        let other = factor;
        let to = there;
        for (let i = 0; i < bisections; i++) {
          const middle = Math.sqrt(same * other);
          const name = winner(at(middle));
          if (name === undefined || name === present) same = middle;
          else [other, to] = [middle, name];
        }
        flips.push({ figure, now, at: now * Math.sqrt(same * other), to });
        found = true;
        break;
      }
    }
    if (!found) steady.push({ figure, from: now / 16, to: now * 16 });
  }
  return { flips, steady };
}
