/**
 * How tokens spread over experts. C[s][e] is the number of rows that source s sends to expert e; every token sends topK
 * rows to as many different experts.
 */
import { readDocument } from '../units/document.js';
import { InputError } from '../units/errors.js';
import { limits } from '../units/limits.js';
import { Random } from '../units/random.js';
import { inclusionProbabilities, missProbability, weightsForInclusion } from './successive.js';
import { maxOf } from '../units/index.js';

/**
 * uniform: every expert alike. zipf: the r-th most wanted expert in proportion to r^-exponent, experts ranked at random
 * by `seed` (in order of their numbers without). recorded: as counted in a run, rows by source (or one row for all) and
 * expert.
 */
export type Routing =
  | { readonly kind: 'uniform' }
  | { readonly kind: 'zipf'; readonly exponent: number; readonly seed?: number }
  | {
      readonly kind: 'recorded';
      readonly experts: number;
      readonly topK: number;
      readonly counts: readonly (readonly number[])[];
    };

/** Row counts by source and expert, [source][expert]. */
export type RoutingCounts = readonly Int32Array[];

/** What a layer routes. */
export interface RoutingShape {
  /** Ranks that hold tokens of their own. */
  readonly sources: number;
  readonly tokensPerSource: number;
  readonly experts: number;
  readonly topK: number;
  readonly routing: Routing;
}

function checkShape({ sources, tokensPerSource, experts, topK, routing }: RoutingShape): void {
  for (const [path, value] of Object.entries({ sources, experts, topK })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new InputError(`${value} is out of range`, {
        path,
        expected: 'a whole number of at least 1',
        ...(path === 'experts' && value === 0 ? { hint: 'a model without experts dispatches nothing' } : {}),
      });
    }
  }
  if (!Number.isSafeInteger(tokensPerSource) || tokensPerSource < 0) {
    throw new InputError(`${tokensPerSource} is out of range`, { path: 'tokensPerSource', expected: 'a whole number' });
  }
  if (topK > experts) {
    throw new InputError(`top-${topK} of ${experts} experts`, { path: 'topK', expected: `at most ${experts}` });
  }
  if (routing.kind === 'recorded' && routing.experts !== experts) {
    throw new InputError(`the recorded routing has ${routing.experts} experts, the model ${experts}`, {
      path: 'routing',
      expected: 'a recording of the same model',
    });
  }
}

/**
 * Shares of the rows as recorded, of source `source` (rows of the recording are reused in turn when there are fewer).
 */
function recordedShares(routing: Extract<Routing, { kind: 'recorded' }>, source: number): Float64Array {
  const row = routing.counts[source % routing.counts.length];
  const sum = row.reduce((a, b) => a + b, 0);
  return Float64Array.from(row, (count) => count / sum);
}

/**
 * How much each expert is wanted, summing to one: the weights of successive draws without replacement. With topK > 1 an
 * expert's share of the rows is flatter than its weight, since no token visits an expert twice; `expectedShares` gives
 * the shares. For recorded routing the weights are those whose draws give back the recorded shares.
 */
export function expertProbabilities(routing: Routing, experts: number, source = 0): Float64Array {
  const weights = new Float64Array(experts);
  switch (routing.kind) {
    case 'uniform':
      weights.fill(1);
      break;
    case 'zipf': {
      if (!(routing.exponent >= 0 && Number.isFinite(routing.exponent))) {
        throw new InputError(`${routing.exponent} is no exponent`, {
          path: 'routing.exponent',
          expected: 'at least 0',
        });
      }
      const order = Array.from({ length: experts }, (_, e) => e);
      if (routing.seed !== undefined) new Random(routing.seed).shuffle(order);
      for (const [place, expert] of order.entries()) weights[expert] = (place + 1) ** -routing.exponent;
      break;
    }
    case 'recorded': {
      const visits = recordedShares(routing, source).map((share) => share * routing.topK);
      return weightsForInclusion(visits, routing.topK);
    }
  }
  const sum = weights.reduce((a, b) => a + b, 0);
  if (sum <= 0) weights.fill(1 / experts);
  else for (let e = 0; e < experts; e++) weights[e] /= sum;
  return weights;
}

/**
 * Draws counts: every token picks topK different experts, one after the other in proportion to the weights of those
 * left (exact sampling without replacement). Seeded; each source has a stream of its own, so that adding sources leaves
 * the others as they were. Throws `InputError` for a shape that makes no sense.
 */
export function sampleCounts(shape: RoutingShape & { readonly seed: number }): Int32Array[] {
  checkShape(shape);
  const { sources, tokensPerSource, experts, topK, routing, seed } = shape;
  const common = routing.kind === 'recorded' ? undefined : expertProbabilities(routing, experts);
  return Array.from({ length: sources }, (_, source) => {
    const counts = new Int32Array(experts);
    const weights = common ?? expertProbabilities(routing, experts, source);
    const random = new Random(seed, source);
    drawPicks({ weights, tokens: tokensPerSource, topK, random }, (expert) => counts[expert]++);
    return counts;
  });
}

/**
 * The picks of one source, [tokensPerSource][topK] row-major, a token's in the order of drawing. With the same seed
 * they are those that `sampleCounts` counts for its first source. Throws `InputError` for a shape that makes no sense.
 */
export function sampleIds(shape: RoutingShape & { readonly seed: number }): Int32Array {
  checkShape(shape);
  const { tokensPerSource, experts, topK, routing, seed } = shape;
  const ids = new Int32Array(tokensPerSource * topK);
  let at = 0;
  const weights = expertProbabilities(routing, experts);
  drawPicks({ weights, tokens: tokensPerSource, topK, random: new Random(seed, 0) }, (expert) => {
    ids[at++] = expert;
  });
  return ids;
}

/** How often each expert is drawn, for how many tokens, and from what numbers. */
interface Draw {
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
function drawPicks({ weights, tokens, topK, random }: Draw, onPick: (expert: number) => void): void {
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

/**
 * Largest-remainder rounding of `total` rows by shares that sum to one, none above `most`; `turn` rotates who gets a
 * tie first.
 */
function apportion(shares: Float64Array, total: number, most: number, turn: number): Int32Array {
  const n = shares.length;
  const counts = new Int32Array(n);
  const rests: { expert: number; rest: number }[] = [];
  let left = total;
  for (let e = 0; e < n; e++) {
    const exact = Math.min(most, shares[e] * total);
    // 1e-9: a share of a third times three rows is one row, whatever the last bit says.
    counts[e] = Math.floor(exact + 1e-9);
    left -= counts[e];
    rests.push({ expert: e, rest: Math.max(0, exact - counts[e]) });
  }
  const place = (expert: number): number => (expert - turn + n) % n;
  rests.sort((a, b) => (Math.abs(a.rest - b.rest) > 1e-9 ? b.rest - a.rest : place(a.expert) - place(b.expert)));
  // A pass gives each expert at most one more row; with `most` >= total / n, passes end when none is left.
  while (left > 0) {
    for (const { expert } of rests) {
      if (left === 0) break;
      if (counts[expert] >= most) continue;
      counts[expert]++;
      left--;
    }
  }
  return counts;
}

/**
 * Shares of the rows that experts can expect, summing to one and none above 1 / topK: the probabilities that a token
 * visits them, over topK. Recorded shares are taken as they were counted when topK is that of the recording.
 */
export function expectedShares(routing: Routing, experts: number, topK: number, source = 0): Float64Array {
  if (routing.kind === 'recorded' && routing.topK === topK) return recordedShares(routing, source);
  return inclusionProbabilities(expertProbabilities(routing, experts, source), topK).map((p) => p / topK);
}

/**
 * Deterministic counts, as even as whole rows allow for uniform routing and near the expected shares otherwise: largest
 * remainder per source, ties rotating from source to source so that no expert collects all the odd rows. Rows of a
 * source sum to tokensPerSource·topK, and no expert gets more than tokensPerSource from one source. Throws
 * `InputError`.
 */
export function balancedCounts(shape: RoutingShape): Int32Array[] {
  checkShape(shape);
  const { sources, tokensPerSource, experts, topK, routing } = shape;
  const rows = tokensPerSource * topK;
  const odd = rows % experts;
  const common = routing.kind === 'recorded' ? undefined : expectedShares(routing, experts, topK);
  return Array.from({ length: sources }, (_, source) =>
    apportion(
      common ?? expectedShares(routing, experts, topK, source),
      rows,
      tokensPerSource,
      (source * odd) % experts,
    ),
  );
}

/**
 * How many of `groups` equal groups of experts (nodes, replicas, ranks) hold an expert of a token, on average, when its
 * k experts are drawn uniformly without replacement: groups·(1 - C(E - E/groups, k) / C(E, k)). Throws RangeError when
 * groups do not divide the experts or k is beyond them.
 */
export function expectedGroupsPerToken(experts: number, groups: number, topK: number): number {
  if (experts % groups !== 0 || topK > experts || topK < 0) {
    throw new RangeError(`${groups} groups of ${experts} experts, top-${topK}`);
  }
  return groups * (1 - missedEvenly(experts, experts / groups, topK));
}

/**
 * Share of a source's tokens that have a pick among experts [start, end), as expected: a token counts once, however
 * many of its picks lie there. Exact for every kind of routing (of a recording, for draws that give back its shares);
 * each range is worked out once.
 */
export function expectedReach(
  { experts, topK }: Pick<RoutingShape, 'experts' | 'topK'>,
  routing: Routing,
): (source: number, range: { readonly start: number; readonly end: number }) => number {
  const known = new Map<string, number>();
  const weights = new Map<number, Float64Array>();
  return (source, { start, end }) => {
    const row = routing.kind === 'recorded' ? source % routing.counts.length : 0;
    const key = `${row} ${routing.kind === 'uniform' ? end - start : `${start} ${end}`}`;
    let share = known.get(key);
    if (share === undefined) {
      let drawn = weights.get(row);
      if (drawn === undefined) weights.set(row, (drawn = expertProbabilities(routing, experts, row)));
      share =
        routing.kind === 'uniform'
          ? 1 - missedEvenly(experts, end - start, topK)
          : 1 - missProbability(drawn, topK, start, end);
      known.set(key, share);
    }
    return share;
  };
}

/**
 * C(E - m, k) / C(E, k) as a product, for binomials overflow: the chance that k different experts, drawn evenly, miss m
 * of them.
 */
function missedEvenly(experts: number, range: number, topK: number): number {
  let missed = 1;
  for (let i = 0; i < topK; i++) missed *= Math.max(0, experts - range - i) / (experts - i);
  return missed;
}

/** Rows per group of experts (`groups` equal runs of experts, as EP ranks hold them), summed over sources. */
export function rowsPerGroup(counts: RoutingCounts, groups: number): Float64Array {
  const experts = counts[0]?.length ?? 0;
  if (experts % groups !== 0) throw new RangeError(`${groups} groups of ${experts} experts`);
  const rows = new Float64Array(groups);
  for (const row of counts) for (const [e, n] of row.entries()) rows[Math.floor((e * groups) / experts)] += n;
  return rows;
}

/**
 * Largest over mean of the rows per group of experts (per rank of EP with `groups` = ep); 1 is balance, also with no
 * rows.
 */
export function imbalance(counts: RoutingCounts, groups: number): number {
  const rows = rowsPerGroup(counts, groups);
  const sum = rows.reduce((a, b) => a + b, 0);
  return sum === 0 ? 1 : (maxOf(rows) * groups) / sum;
}

/**
 * Reads a recording: JSON `{ experts, topK, counts: number[][] }`, counts by source (or one row for all) and expert.
 * Throws `InputError`.
 */
export function readRecordedRouting(text: string, fileName: string): Extract<Routing, { kind: 'recorded' }> {
  const map = readDocument(text, fileName).map(['experts', 'topK', 'counts']);
  const experts = map.need('experts', 'the number of experts').integer({ max: limits.experts });
  const topK = map.need('topK', 'experts per token').integer({ min: 1, max: experts });
  const counts = map
    .need('counts', 'rows by source and expert')
    .list(1, limits.ranks)
    .map((row) => {
      const cells = row.list();
      if (cells.length !== experts) {
        throw row.error(`${cells.length} counts for ${experts} experts`, { expected: `${experts} numbers` });
      }
      const values = cells.map((cell) => cell.integer({ min: 0, max: limits.sequence }));
      if (values.every((value) => value === 0)) throw row.error('all counts are 0', { expected: 'some rows' });
      const largest = values.reduce((a, b) => Math.max(a, b), 0);
      const sum = values.reduce((a, b) => a + b, 0);
      // A token visits an expert once, so no expert can have more than one row of every token.
      if (largest * topK > sum) {
        throw row.error(`an expert has ${largest} of ${sum} rows, more than one per token with top-${topK}`, {
          expected: `at most ${Math.floor(sum / topK)} rows an expert`,
        });
      }
      return values;
    });
  return { kind: 'recorded', experts, topK, counts };
}
