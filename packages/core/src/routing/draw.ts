/** Draws of a token's experts, one after the other without replacement. */
import type { Random } from '../units/random.js';

/** How often each expert is drawn, for how many tokens, and from what numbers. */
export interface Draw {
  readonly weights: Float64Array;
  readonly tokens: number;
  readonly topK: number;
  readonly random: Random;
}

/**
 * Draws topK experts for each of `tokens` tokens and tells them one after another. Drawing with replacement and passing
 * over repeats is drawing without; when repeats abound, the rest is drawn by exponential clocks (equal to the Gumbel
 * top-k of Kool, van Hoof and Welling, ICML 2019), which is as exact, for what was drawn before does not matter to
 * those left.
 */
export function drawPicks({ weights, tokens, topK, random }: Draw, onPick: (expert: number) => void): void {
  const experts = weights.length;
  const upTo = new Float64Array(experts);
  let total = 0;
  for (let e = 0; e < experts; e++) upTo[e] = total += weights[e];
  /** The last token that picked each expert. */
  const pickedBy = new Int32Array(experts).fill(-1);
  const mostTries = 4 * topK;
  for (let token = 0; token < tokens; token++) {
    let picked = 0;
    for (let tries = 0; picked < topK && tries < mostTries; tries++) {
      const expert = firstAbove(upTo, random.uniform() * total);
      if (pickedBy[expert] === token) continue;
      pickedBy[expert] = token;
      onPick(expert);
      picked++;
    }
    if (picked < topK) {
      for (const expert of firstClocks(weights, topK - picked, random, (e) => pickedBy[e] !== token)) {
        onPick(expert);
      }
    }
  }
}

/** Index of the first value above x in ascending values; the last when there is none. */
function firstAbove(values: Float64Array, x: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] > x) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The k allowed experts whose clocks ring first; those of weight 0 ring last, in order of their numbers. */
function firstClocks(weights: Float64Array, k: number, random: Random, allowed: (expert: number) => boolean): number[] {
  const clocks: { expert: number; time: number }[] = [];
  for (const [expert, weight] of weights.entries()) {
    if (allowed(expert)) clocks.push({ expert, time: -Math.log(1 - random.uniform()) / weight });
  }
  clocks.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : a.expert - b.expert));
  return clocks.slice(0, k).map(({ expert }) => expert);
}
