/**
 * Routing limited to groups of experts, as DeepSeek-V3 routes (arXiv 2412.19437, 2.1.2): a token visits the groups
 * whose two largest affinities have the largest sum, and its k experts are the largest within them. Affinities are
 * sigmoids of independent standard normal logits, so that experts and groups are alike. Of other distributions of the
 * logits (uniform affinities, exponentials) the expected number of groups per token differs by up to 0.3 %.
 */
import { InputError } from '../units/errors.js';
import { Random } from '../units/random.js';

export interface GroupLimit {
  /** Equal runs of experts. */
  readonly groups: number;
  /** Of which a token visits so many. */
  readonly chosen: number;
}

/** Throws `InputError` where experts and groups do not go together. */
export function checkGroupLimit({ groups, chosen }: GroupLimit, experts: number, topK: number): void {
  const size = experts / groups;
  if (!Number.isInteger(size) || size < 2 || chosen < 1 || chosen > groups || topK > chosen * size)
    throw new InputError(`${chosen} of ${groups} groups of ${experts} experts, top-${topK}`, {
      path: 'routing',
      expected: `groups of equally many experts, two at least, and ${topK} experts in the chosen ones`,
    });
}

/** Indices of the n largest values, largest first; they are overwritten. */
function takeLargest(values: Float64Array, n: number): number[] {
  const taken: number[] = [];
  while (taken.length < n) {
    let largest = 0;
    for (let i = 1; i < values.length; i++) if (values[i] > values[largest]) largest = i;
    values[largest] = -Infinity;
    taken.push(largest);
  }
  return taken;
}

/** The k experts of a token with these affinities, best first. */
export function groupLimitedExperts(affinities: Float64Array, k: number, { groups, chosen }: GroupLimit): number[] {
  const size = affinities.length / groups;
  const scores = new Float64Array(groups);
  for (let group = 0; group < groups; group++) {
    let [first, second] = [-Infinity, -Infinity];
    for (let e = group * size; e < (group + 1) * size; e++) {
      const value = affinities[e];
      if (value > first) [first, second] = [value, first];
      else if (value > second) second = value;
    }
    scores[group] = first + second;
  }
  const allowed = takeLargest(scores, chosen);
  const values = new Float64Array(chosen * size);
  for (const [place, group] of allowed.entries())
    values.set(affinities.subarray(group * size, (group + 1) * size), place * size);
  return takeLargest(values, k).map((i) => allowed[Math.floor(i / size)] * size + (i % size));
}

/** Experts of so many tokens, [tokens][k], drawn one token after another. */
export function groupLimitedPicks(
  { experts, topK, limit, tokens }: { experts: number; topK: number; limit: GroupLimit; tokens: number },
  random: Random,
): Int32Array {
  const ids = new Int32Array(tokens * topK);
  const affinities = new Float64Array(experts);
  for (let token = 0; token < tokens; token++) {
    for (let e = 0; e < experts; e++) affinities[e] = 1 / (1 + Math.exp(-random.normal()));
    ids.set(groupLimitedExperts(affinities, topK, limit), token * topK);
  }
  return ids;
}

/** How a token's picks spread over the groups: picks of each group that has any, and the share of tokens with them. */
interface Spread {
  readonly picks: readonly number[];
  readonly share: number;
}

/** Tokens whose spreads are counted: the expected number of groups is then known to some 0.05 %. */
const countedTokens = 16_384;

function spreadsOf(experts: number, topK: number, limit: GroupLimit): Spread[] {
  const ids = groupLimitedPicks({ experts, topK, limit, tokens: countedTokens }, new Random(1));
  const size = experts / limit.groups;
  const found = new Map<string, { picks: number[]; tokens: number }>();
  for (let first = 0; first < ids.length; first += topK) {
    const picks = Array.from({ length: limit.groups }, () => 0);
    for (const id of ids.subarray(first, first + topK)) picks[Math.floor(id / size)]++;
    const sorted = picks.filter((n) => n > 0).sort((a, b) => b - a);
    const known = found.get(sorted.join());
    if (known) known.tokens++;
    else found.set(sorted.join(), { picks: sorted, tokens: 1 });
  }
  return [...found.values()].map(({ picks, tokens }) => ({ picks, share: tokens / countedTokens }));
}

/** C(n - m, k) / C(n, k): the chance that k of n things, drawn evenly, miss m of them. */
function missed(n: number, m: number, k: number): number {
  let chance = 1;
  for (let i = 0; i < k; i++) chance *= Math.max(0, n - m - i) / (n - i);
  return chance;
}

/**
 * Chance that a token's picks miss a set of experts that has `wanted[i]` of the `size` experts of some groups: which
 * groups have how many picks, and which experts of a group, is even. `left` counts groups by their number of picks.
 */
function missWith(wanted: readonly number[], size: number, left: Map<number, number>, groups: number): number {
  const [first, ...rest] = wanted;
  if (first === undefined) return 1;
  let chance = 0;
  for (const [picks, count] of left) {
    if (count === 0) continue;
    const here = missed(size, first, picks);
    if (here === 0) continue;
    left.set(picks, count - 1);
    chance += (count / groups) * here * missWith(rest, size, left, groups - 1);
    left.set(picks, count);
  }
  return chance;
}

/**
 * Share of tokens with a pick among experts [start, end), by range: from how often a token's picks spread over groups
 * in which way, which is counted of drawn tokens, and exact from there.
 */
export function groupLimitedReach(
  experts: number,
  topK: number,
  limit: GroupLimit,
): (range: { readonly start: number; readonly end: number }) => number {
  let spreads: Spread[] | undefined;
  const size = experts / limit.groups;
  return ({ start, end }) => {
    spreads ??= spreadsOf(experts, topK, limit);
    const wanted = Array.from({ length: limit.groups }, (_, group) =>
      Math.max(0, Math.min(end, (group + 1) * size) - Math.max(start, group * size)),
    ).filter((n) => n > 0);
    return spreads.reduce((sum, { picks, share }) => {
      const left = new Map<number, number>([[0, limit.groups - picks.length]]);
      for (const n of picks) left.set(n, (left.get(n) ?? 0) + 1);
      return sum + share * (1 - missWith(wanted, size, left, limit.groups));
    }, 0);
  };
}
