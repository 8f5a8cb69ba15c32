/**
 * How tokens spread over experts. C[s][e] is the number of rows that source s sends to expert e; every token sends topK
 * rows to as many different experts.
 */
import { InputError } from '../units/errors.js';
import { Random } from '../units/random.js';
import { drawPicks } from './draw.js';
import { checkGroupLimit, groupLimitedPicks, groupLimitedReach, type GroupLimit } from './group-limited.js';
import { recordedPicks, recordedReach, recordedSource, type RecordedRouting } from './recorded.js';
import { inclusionProbabilities, meanProduct, missProbability, weightsForInclusion } from './successive.js';
import { maxOf } from '../units/index.js';

/**
 * uniform: every expert alike. zipf: the r-th most wanted expert in proportion to r^-exponent, experts ranked at random
 * by `seed` (in order of their numbers without). group-limited: every expert alike, those of a token from some groups.
 * recorded: as counted in a run.
 */
export type Routing =
  | { readonly kind: 'uniform' }
  | { readonly kind: 'zipf'; readonly exponent: number; readonly seed?: number }
  | ({ readonly kind: 'group-limited' } & GroupLimit)
  | RecordedRouting;

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
  /** Which sources they are, counted over the job: those of a recording differ; from 0 on when left out. */
  readonly firstSource?: number;
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
  if (routing.kind === 'group-limited') checkGroupLimit(routing, experts, topK);
  if (routing.kind === 'recorded' && routing.choices !== undefined && routing.topK !== topK) {
    throw new InputError(`the recorded choices are top-${routing.topK}, the model's top-${topK}`, {
      path: 'routing',
      expected: 'a recording of the same model',
    });
  }
  if (routing.kind === 'recorded' && routing.experts !== experts) {
    throw new InputError(`the recorded routing has ${routing.experts} experts, the model ${experts}`, {
      path: 'routing',
      expected: 'a recording of the same model',
    });
  }
}

/** Shares of the rows as recorded of a source. */
function recordedShares(routing: RecordedRouting, source: number): Float64Array {
  const row = routing.counts[recordedSource(routing, source)] ?? [];
  const sum = row.reduce((a, b) => a + b, 0);
  return Float64Array.from(row, (count) => count / sum);
}

/** Weights of draws of recordings by recorded source, which take long to find. */
const recordedWeights = new WeakMap<RecordedRouting, Map<number, Float64Array>>();

function weightsOf(routing: RecordedRouting, source: number): Float64Array {
  const known = recordedWeights.get(routing) ?? new Map<number, Float64Array>();
  recordedWeights.set(routing, known);
  const row = recordedSource(routing, source);
  const weights =
    known.get(row) ??
    weightsForInclusion(
      recordedShares(routing, source).map((share) => share * routing.topK),
      routing.topK,
    );
  known.set(row, weights);
  return weights;
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
    case 'group-limited':
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
    case 'recorded':
      return weightsOf(routing, source);
  }
  const sum = weights.reduce((a, b) => a + b, 0);
  if (sum <= 0) weights.fill(1 / experts);
  else for (let e = 0; e < experts; e++) weights[e] /= sum;
  return weights;
}

/** The picks of a source, [tokensPerSource][topK]. */
function picksOf(shape: RoutingShape & { readonly seed: number }, index: number): Int32Array {
  const { tokensPerSource: tokens, experts, topK, routing, seed, firstSource = 0 } = shape;
  const source = firstSource + index;
  const random = new Random(seed, index);
  if (routing.kind === 'group-limited') return groupLimitedPicks({ experts, topK, limit: routing, tokens }, random);
  const recorded = routing.kind === 'recorded' ? recordedPicks(routing, source, tokens) : undefined;
  if (recorded !== undefined) return recorded;
  const ids = new Int32Array(tokens * topK);
  let at = 0;
  drawPicks({ weights: expertProbabilities(routing, experts, source), tokens, topK, random }, (expert) => {
    ids[at++] = expert;
  });
  return ids;
}

/**
 * Draws counts: every token picks topK different experts, one after the other in proportion to the weights of those
 * left (exact sampling without replacement). Seeded; each source has a stream of its own, so that adding sources leaves
 * the others as they were. Recorded choices are taken as they are. Throws `InputError` for a shape that makes no sense.
 */
export function sampleCounts(shape: RoutingShape & { readonly seed: number }): Int32Array[] {
  checkShape(shape);
  return Array.from({ length: shape.sources }, (_, source) => {
    const counts = new Int32Array(shape.experts);
    for (const expert of picksOf(shape, source)) counts[expert]++;
    return counts;
  });
}

/**
 * The picks of one source, [tokensPerSource][topK] row-major, a token's in the order of drawing. With the same seed
 * they are those that `sampleCounts` counts for its first source. Throws `InputError` for a shape that makes no sense.
 */
export function sampleIds(shape: RoutingShape & { readonly seed: number }): Int32Array {
  checkShape(shape);
  return picksOf(shape, 0);
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
 * many of its picks lie there. Exact for uniform and skewed routing and for recorded choices; for recorded counts, for
 * draws that give back their shares; for routing limited to groups within some 0.1 %. Each range is worked out once.
 */
export function expectedReach(
  { experts, topK }: Pick<RoutingShape, 'experts' | 'topK'>,
  routing: Routing,
): (source: number, range: { readonly start: number; readonly end: number }) => number {
  const known = new Map<string, number>();
  const limited =
    routing.kind === 'group-limited' ? groupLimitedReach(experts, topK, routing) : (): number => Number.NaN;
  const share = (row: number, range: { readonly start: number; readonly end: number }): number => {
    const { start, end } = range;
    if (routing.kind === 'uniform') return 1 - missedEvenly(experts, end - start, topK);
    if (routing.kind === 'group-limited') return limited(range);
    const recorded = routing.kind === 'recorded' ? recordedReach(routing, row, range) : undefined;
    if (recorded !== undefined) return recorded;
    return 1 - missProbability(expertProbabilities(routing, experts, row), topK, start, end);
  };
  return (source, range) => {
    const row = routing.kind === 'recorded' ? recordedSource(routing, source) : 0;
    const { start, end } = range;
    const key = `${row} ${routing.kind === 'uniform' ? end - start : `${start} ${end}`}`;
    let reached = known.get(key);
    if (reached === undefined) known.set(key, (reached = share(row, range)));
    return reached;
  };
}

/** Chance that a pick of an expert by a source is kept, where capacity drops the rest. */
export type KeptShare = (source: number, expert: number) => number;

/**
 * Share of a source's tokens that have a kept pick among experts [start, end), as expected where capacity drops picks:
 * each pick of an expert is kept with the same chance, whatever else its token picked. Exact under that for uniform and
 * skewed routing, recorded choices and (by weights that give back their shares) recorded counts; for routing limited to
 * groups of a draw of 32,768 tokens.
 */
export function expectedKeptReach(
  { experts, topK }: Pick<RoutingShape, 'experts' | 'topK'>,
  routing: Routing,
  kept: KeptShare,
): (source: number, range: { readonly start: number; readonly end: number }) => number {
  let drawn: Int32Array | undefined;
  const picksOfSource = (source: number): Int32Array | undefined => {
    if (routing.kind === 'recorded') return routing.choices?.[recordedSource(routing, source)];
    if (routing.kind !== 'group-limited') return undefined;
    const tokens = 32_768;
    return (drawn ??= groupLimitedPicks({ experts, topK, limit: routing, tokens }, new Random(1)));
  };
  const missedOf = (source: number, start: number, end: number): number => {
    const factors = new Float64Array(experts).fill(1);
    for (let expert = start; expert < end; expert++) factors[expert] = 1 - kept(source, expert);
    const ids = picksOfSource(source);
    if (ids === undefined) return meanProduct(expertProbabilities(routing, experts, source), topK, factors);
    let missed = 0;
    for (let first = 0; first < ids.length; first += topK) {
      let product = 1;
      for (let pick = first; pick < first + topK; pick++) product *= factors[ids[pick] ?? 0] ?? 1;
      missed += product;
    }
    return (missed * topK) / ids.length;
  };
  const known = new Map<string, number>();
  return (source, { start, end }) => {
    const key = `${source} ${start} ${end}`;
    let missed = known.get(key);
    if (missed === undefined) known.set(key, (missed = missedOf(source, start, end)));
    return 1 - missed;
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
