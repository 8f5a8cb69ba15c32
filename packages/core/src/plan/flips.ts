/**
 * Where the answer changes: scans one figure of the workload at a time and narrows down the first flip on either side.
 */
import type { Cluster } from '../cluster/cluster.js';
import { halvesName } from '../schedule/dispatchers/strategy-names.js';
import type { OverlapKind } from '../schedule/overlap.js';
import { chooseDispatch, type Candidate, type ChoiceOptions } from './choose.js';
import { withOverlap } from './choose-overlap.js';
import type { Workload } from './workload.js';
import { appendAll } from '../units/index.js';

export interface Flip {
  /** What was varied, as `tokens` or `infiniband bandwidth`. */
  readonly figure: string;
  /** Present value; tokens, or bytes/s of one port. */
  readonly now: number;
  /** Planned with this value, the choice is `to`. */
  readonly at: number;
  /** Planned with this value, nearer to the present one, it is still the present choice. */
  readonly until: number;
  /** What is chosen there. */
  readonly to: string;
}

export interface FlipSearch {
  readonly flips: readonly Flip[];
  /** Figures at none of whose values tried the choice was another. */
  readonly steady: readonly { readonly figure: string; readonly tried: readonly number[] }[];
}

/** Halved again and again. */
const scanFactors = [1 / 2, 1 / 4, 1 / 8, 1 / 16] as const;
/** Narrows a factor of 2 down to 4 %. */
const bisections = 4;

/**
 * Names a choice by its program, as `deduplicated`, or `deduplicated, etp 1, ep 16` where experts are not sliced as
 * attention is: chunk counts drift with every figure and are no change of mind.
 */
export const choiceName = ({ strategy, layout }: Pick<Candidate, 'strategy' | 'layout'>): string =>
  `${halvesName(strategy)}${layout.etp < layout.tp ? `, etp ${layout.etp}, ep ${layout.ep}` : ''}`;

function scaledTier(cluster: Cluster, tier: number, factor: number): Cluster {
  return {
    ...cluster,
    tiers: cluster.tiers.map((one, index) =>
      index === tier
        ? {
            ...one,
            bytesPerSecond: one.bytesPerSecond * factor,
            ...(one.reducingBytesPerSecond === undefined
              ? {}
              : { reducingBytesPerSecond: one.reducingBytesPerSecond * factor }),
          }
        : one,
    ),
  };
}

/** A figure that is varied: its value at a factor, and the workload with it. */
interface Figure {
  readonly figure: string;
  readonly now: number;
  readonly at: (factor: number) => { readonly value: number; readonly workload: Workload };
}

/** The figures that flips are looked for in: tokens, and the bandwidth of every tier that the workload uses. */
export function figuresOf(workload: Workload): Figure[] {
  const { tokens } = workload.shape;
  return [
    {
      figure: 'tokens',
      now: tokens,
      at: (factor) => {
        const value = Math.max(1, Math.round(tokens * factor));
        return { value, workload: { ...workload, shape: { ...workload.shape, tokens: value } } };
      },
    },
    ...workload.cluster.tiers.map(({ name, bytesPerSecond }, tier): Figure => ({
      figure: `${name} bandwidth`,
      now: bytesPerSecond,
      at: (factor) => ({
        value: bytesPerSecond * factor,
        workload: { ...workload, cluster: scaledTier(workload.cluster, tier, factor) },
      }),
    })),
  ];
}

/** How a plan was made that flips are searched of. */
export interface FlipOptions extends ChoiceOptions {
  /** Overlap is chosen too, but for these kinds; it is not when left out. */
  readonly overlapGiven?: readonly OverlapKind[];
}

function bestOf(workload: Workload, { overlapGiven, ...options }: FlipOptions): Candidate | undefined {
  const choice = chooseDispatch(workload, { ...options, onlyBest: overlapGiven === undefined });
  if (!choice.known || overlapGiven === undefined) return choice.known ? choice.best : undefined;
  const { chunkCounts, draws } = options;
  const chosen = withOverlap(workload, choice, {
    given: overlapGiven,
    ...(chunkCounts === undefined ? {} : { chunkCounts }),
    ...(draws === undefined ? {} : { draws }),
  });
  return chosen.known ? chosen.best : undefined;
}

/**
 * Varies tokens and every tier's bandwidth by factors of 2 up to 16 either way and plans anew with the same options;
 * the place of a flip is narrowed down to 4 %. What lies between the values tried was not looked at.
 */
export function findFlips(workload: Workload, best: Candidate, options: FlipOptions): FlipSearch {
  const present = choiceName(best);
  const flips: Flip[] = [];
  const steady: { figure: string; tried: number[] }[] = [];
  for (const { figure, now, at } of figuresOf(workload)) {
    const winner = (factor: number): string | undefined => {
      const there = bestOf(at(factor).workload, options);
      return there && choiceName(there);
    };
    const tried: number[] = [];
    const found = (['down', 'up'] as const).flatMap((direction): Flip[] => {
      let same = 1;
      for (const step of scanFactors) {
        const factor = direction === 'down' ? step : 1 / step;
        const there = winner(factor);
        if (there === undefined) return [];
        tried.push(at(factor).value);
        if (there !== present) return [narrowed(same, factor, there)];
        same = factor;
      }
      return [];
    });
    function narrowed(from: number, until: number, name: string): Flip {
      let [same, other, to] = [from, until, name];
      for (let i = 0; i < bisections; i++) {
        const middle = Math.sqrt(same * other);
        const there = winner(middle);
        if (there === undefined || there === present) same = middle;
        else [other, to] = [middle, there];
      }
      return { figure, now, at: at(other).value, until: at(same).value, to };
    }
    appendAll(flips, found);
    if (found.length === 0) steady.push({ figure, tried: tried.sort((a, b) => a - b) });
  }
  return { flips, steady };
}
