/**
 * Chooses how tokens travel: every pair of halves, every allowed expert tensor parallel size, every chunk count of
 * either pass is simulated unless its bytes alone take longer than what is already known, and the fastest stands beside
 * the baseline and the best strategy that one could have fixed without looking.
 */
import type { UnknownEstimate } from '../cost/index.js';
import { InputError } from '../units/errors.js';
import { Recent } from '../units/recent.js';
import type { Layout } from '../layout/layout.js';
import { placedOn } from '../layout/mesh.js';
import { strategyName } from '../schedule/dispatchers/strategy-names.js';
import {
  fixedStrategies,
  searchedHalves,
  inChunks,
  plainPair,
  unsupportedStrategy,
  type Halves,
  type Strategy,
} from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import type { Overlap } from '../schedule/overlap.js';
import { closeShare } from './judge.js';
import { Pricer } from './pricer.js';
import type { LayerPass, PassPrice, Workload } from './workload.js';

export interface Candidate {
  /** As `scattered`, or `scattered etp 1 ep 16` where they are not the layout's own. */
  readonly name: string;
  readonly layout: Layout;
  readonly strategy: Strategy;
  /** Equal for candidates that run the same operations (all of them where tp is 1), chunk counts aside. */
  readonly program: string;
  /** Equal for candidates that do the same, whatever of it runs beside what. */
  readonly way: string;
  readonly forward: PassPrice;
  readonly backward: PassPrice;
  /** What is switched off of what would run beside, where that was chosen; else as the workload's shape says. */
  readonly overlap?: Overlap;
  /** Of both passes; the median over draws where routing is drawn at random. */
  readonly seconds: number;
}

export interface Choice {
  readonly known: true;
  /**
   * One for each program, with its best chunk counts where it may be among the two fastest, and the fixed ones; fastest
   * first. The others stand with one chunk. Where a replica is one rank, what is fixed by name is a program among them,
   * and nothing is added. Only the best where all are one program.
   */
  readonly candidates: readonly Candidate[];
  /** Those within a share of the best's seconds, in every pair of chunk counts that was priced, fastest first. */
  within(share: number): Candidate[];
  readonly best: Candidate;
  /** `duplicated`, unchunked; absent where the layout forbids it. */
  readonly baseline?: Candidate;
  /** The fastest of the strategies that need no choosing (`fixedStrategies`): in one piece, pipelined in 4 chunks. */
  readonly bestFixed: Candidate;
  /** The fastest candidate of another program than the best, whatever of it runs beside what. */
  readonly runnerUp?: Candidate;
  /** Strategies that the layout forbids, and why. */
  readonly refused: readonly { readonly name: string; readonly why: string }[];
}

export interface ChoiceOptions {
  /** Chunk counts to try in either pass. */
  readonly chunkCounts?: readonly number[];
  /** Expert tensor parallel sizes to try; the layout's own when left out. */
  readonly expertTensorParallel?: readonly number[];
  /** Pairs of halves to try; `searchedHalves` when left out. Fixed strategies are of these, and the plain ones. */
  readonly halves?: readonly Halves[];
  /** Draws of random routing that are priced; their median counts. */
  readonly draws?: number;
  /** Only `best` matters: whatever cannot be it keeps the price of one chunk, and `bestFixed` is not looked for. */
  readonly onlyBest?: boolean;
}

export const defaultChunkCounts: readonly number[] = [1, 2, 3, 4, 6, 8, 12, 16];

/**
 * Expert tensor parallel sizes that a layout could use with the same expert groups: divisors of tp for which every rank
 * keeps experts.
 */
export function alternativeEtps(shape: MoeShape): number[] {
  const { layout, experts, expertFfn } = shape;
  const group = layout.etp * layout.ep;
  const sizes: number[] = [];
  for (let etp = 1; etp <= layout.tp; etp++)
    if (layout.tp % etp === 0 && group % etp === 0 && experts % (group / etp) === 0 && expertFfn % etp === 0)
      sizes.push(etp);
  return sizes;
}

const variants = new WeakMap<MoeShape, Map<string, MoeShape>>();

/** Of a search for flips, which comes with the same shapes on one cluster after another: etps, and kinds of overlap. */
const mostShapes = 32;
const recentShapes = new Recent<MoeShape>(mostShapes);

/**
 * The object that stands for all equal shapes: programs depend on nothing else, and those that were made for it are
 * found again.
 */
export const alikeShape = (shape: MoeShape): MoeShape => recentShapes.of(JSON.stringify(shape), () => shape);

/**
 * The shape with another etp, its expert groups staying the same ranks, and with so many ranks a node where that is
 * said. One object for the same question, so that what was worked out for it is found again.
 */
export function withEtp(shape: MoeShape, etp: number, ranksPerNode = shape.layout.ranksPerNode): MoeShape {
  let known = variants.get(shape);
  if (known === undefined) variants.set(shape, (known = new Map()));
  const key = `${etp} ${ranksPerNode}`;
  let variant = known.get(key);
  if (variant === undefined) {
    const { layout } = shape;
    const placed = ranksPerNode === undefined ? {} : { ranksPerNode };
    const ep = (layout.etp * layout.ep) / etp;
    const made = { ...shape, layout: { ...layout, etp, ep, ...placed } };
    variant = alikeShape(made);
    known.set(key, variant);
  }
  return variant;
}

/** Whether two ways take the same to the last bit and move as much: one program in different words. */
const sameTimes = (a: Candidate, b: Candidate): boolean =>
  a.layout.etp === b.layout.etp &&
  (['forward', 'backward'] as const).every(
    (pass) =>
      a[pass].seconds === b[pass].seconds &&
      a[pass].bytes.every(({ perRank, busiest }, tier) => {
        const other = b[pass].bytes[tier];
        return perRank === other?.perRank && busiest === other.busiest;
      }),
  );

/** Whether two candidates are the same plan, in whatever words. */
export const samePlan = (a: Candidate, b: Candidate): boolean =>
  a.forward.chunks === b.forward.chunks &&
  a.backward.chunks === b.backward.chunks &&
  (a.program === b.program || sameTimes(a, b));

/** Halves on a layout, and the pricer that knows what they take. */
export interface Way {
  readonly pricer: Pricer;
  readonly layout: Layout;
  readonly halves: Halves;
  readonly program: string;
  readonly way: string;
  readonly suffix: string;
  readonly overlap?: Overlap;
}

/** Behind a way's name: how experts are mapped, where that is not the layout's own. */
export const mappingText = ({ etp, ep }: Layout, own: Layout): string =>
  etp === own.etp ? '' : ` etp ${etp} ep ${ep}`;

function candidateOf(
  { layout, halves, program, way, suffix, overlap }: Way,
  forward: PassPrice,
  backward: PassPrice,
): Candidate {
  const strategy = { ...halves, chunks: { forward: forward.chunks, backward: backward.chunks } };
  const name = `${strategyName(strategy)}${suffix}`;
  const seconds = forward.seconds + backward.seconds;
  const ran = { name, layout, strategy, program, way, forward, backward, seconds };
  return overlap === undefined ? ran : { ...ran, overlap };
}

/** Chunk counts of a candidate. */
export const chunksOf = ({ forward, backward }: Candidate): Strategy['chunks'] => ({
  forward: forward.chunks,
  backward: backward.chunks,
});

/** Both passes in so many chunks each. */
export function inPieces(way: Way, { forward, backward }: Strategy['chunks']): Candidate | UnknownEstimate {
  const first = way.pricer.price(way.halves, 'forward', forward);
  if ('known' in first) return first;
  const second = way.pricer.price(way.halves, 'backward', backward);
  if ('known' in second) return second;
  return candidateOf(way, first, second);
}

/**
 * Every second count, then the neighbours of the best of them: time falls with what overlaps and rises with latencies,
 * so it has one valley.
 */
function* worthTrying(counts: readonly number[], best: () => number | undefined): Generator<number> {
  const sorted = [...counts].sort((a, b) => a - b);
  yield* sorted.filter((_, index) => index % 2 === 0);
  const middle = sorted.indexOf(best() ?? 0);
  yield* sorted.filter((_, index) => index % 2 === 1 && Math.abs(index - middle) === 1);
}

/**
 * The fastest chunk counts of both passes. Where the forward pass and the bytes of the backward pass take longer than
 * `enough`, the backward pass keeps the chunk count of `whole`.
 */
export function fastestPieces(
  way: Way,
  counts: readonly number[],
  whole: Candidate,
  enough: number,
): Candidate | UnknownEstimate {
  const fastest = (pass: LayerPass): PassPrice | UnknownEstimate => {
    let best: PassPrice | undefined;
    for (const chunks of worthTrying(counts, () => best?.chunks)) {
      const price = way.pricer.price(way.halves, pass, chunks);
      if ('known' in price) return price;
      if (!best || price.seconds < best.seconds) best = price;
    }
    return best ?? { known: false, missing: ['a chunk count to try'] };
  };
  const forward = fastest('forward');
  if ('known' in forward) return forward;
  if (forward.seconds + whole.backward.boundSeconds >= enough) return candidateOf(way, forward, whole.backward);
  const backward = fastest('backward');
  return 'known' in backward ? backward : candidateOf(way, forward, backward);
}

export const bySeconds = (a: Candidate, b: Candidate): number => a.seconds - b.seconds;
/**
 * Bytes on the busiest port do not depend on chunks, and larger messages are no slower: no chunk count is below this.
 */
const boundOf = ({ forward, backward }: Candidate): number => forward.boundSeconds + backward.boundSeconds;

/**
 * Prices all candidates of a workload and chooses. Returns `unknown` when the cost model can't price a kernel; throws
 * `InputError` when no strategy serves the layout.
 */
export function chooseDispatch(workload: Workload, options: ChoiceOptions = {}): Choice | UnknownEstimate {
  const search = dispatchSearch(workload, options);
  for (;;) {
    const { done, value } = search.next();
    if (done === true) return value;
  }
}

/** The same in pieces: every way that was priced is a good moment to look whether the answer is still wanted. */
export function* dispatchSearch(
  workload: Workload,
  options: ChoiceOptions = {},
): Generator<Candidate, Choice | UnknownEstimate> {
  const counts = options.chunkCounts ?? defaultChunkCounts;
  const { ways, fixedWays, refused } = waysOf(workload, options);
  const [leastChunks = 1] = counts;
  const whole: { readonly way: Way; readonly candidate: Candidate }[] = [];
  for (const way of ways) {
    const candidate = inPieces(way, { forward: leastChunks, backward: leastChunks });
    if ('known' in candidate) return candidate;
    yield candidate;
    if (!whole.some((one) => sameTimes(one.candidate, candidate))) whole.push({ way, candidate });
  }
  // The likely first, then those with the least bytes, so that what cannot be fast is left as it is: its bytes alone
  // take longer than the two fastest that are known.
  whole.sort((a, b) => bySeconds(a.candidate, b.candidate));
  const [likely, ...others] = whole;
  others.sort((a, b) => boundOf(a.candidate) - boundOf(b.candidate));
  const candidates: Candidate[] = [];
  let [first, second] = [Infinity, Infinity];
  for (const { way, candidate } of likely === undefined ? [] : [likely, ...others]) {
    const enough = options.onlyBest ? first : Math.max(second, first * (1 + closeShare));
    const fastest = boundOf(candidate) >= enough ? candidate : fastestPieces(way, counts, candidate, enough);
    if ('known' in fastest) return fastest;
    yield fastest;
    candidates.push(fastest);
    [first = Infinity, second = Infinity] = [first, second, fastest.seconds].sort((a, b) => a - b);
  }
  // Before the fixed ones are priced, whose chunk counts may be others than those to choose from.
  const priced = whole.flatMap(({ way }) =>
    way.pricer.pairs(way.halves).map(([one, other]) => candidateOf(way, one, other)),
  );
  const fixed: Candidate[] = [];
  for (const { way, chunks } of options.onlyBest ? [] : fixedWays) {
    const candidate = inPieces(way, chunks);
    if ('known' in candidate) return candidate;
    fixed.push(candidate);
  }
  candidates.sort(bySeconds);
  fixed.sort(bySeconds);
  const best = candidates[0];
  const bestFixed = fixed[0] ?? (options.onlyBest ? best : undefined);
  if (!best || !bestFixed)
    throw new InputError('no dispatcher serves this layout', {
      expected: refused.map(({ name, why }) => `${name}: ${why}`).join('; '),
    });
  const shown = [...candidates];
  // Where all are one program (tp=1), so are the fixed ones, whatever they are called: there is nothing to compare.
  const alone = [...candidates, ...fixed].every(({ program }) => program === best.program);
  const single = workload.shape.layout.tp === 1;
  for (const one of alone ? [] : fixed)
    if (!shown.some((other) => samePlan(one, other) || (single && one.program === other.program))) shown.push(one);
  return {
    known: true,
    candidates: shown.sort(bySeconds),
    within: (share) => priced.filter(({ seconds }) => seconds <= best.seconds * (1 + share)).sort(bySeconds),
    best,
    baseline: fixed.find(({ name }) => name === 'duplicated'),
    bestFixed,
    runnerUp: candidates.find(({ program }) => program !== best.program),
    refused,
  };
}

/** What a search goes through: one way for each program, the fixed strategies, and what the layout refuses. */
interface Ways {
  readonly ways: readonly Way[];
  readonly fixedWays: readonly { readonly way: Way; readonly chunks: Strategy['chunks'] }[];
  readonly refused: readonly { readonly name: string; readonly why: string }[];
}

function waysOf(workload: Workload, options: ChoiceOptions): Ways {
  const own = workload.shape.layout.etp;
  const ways: Way[] = [];
  const fixedWays: { way: Way; chunks: Strategy['chunks'] }[] = [];
  const refused: { name: string; why: string }[] = [];
  const { ranksPerNode } = placedOn(workload.shape.layout, workload.cluster);
  for (const etp of options.expertTensorParallel ?? [own]) {
    const shape = withEtp(workload.shape, etp, ranksPerNode);
    const suffix = mappingText(shape.layout, workload.shape.layout);
    const pricer = new Pricer({ ...workload, shape }, options.draws);
    const wayOf = (halves: Halves): Way => {
      const program = `etp ${etp} ${pricer.programOf(halves)}`;
      return { pricer, layout: shape.layout, halves, program, way: program, suffix };
    };
    const searched = options.halves ?? searchedHalves();
    for (const halves of searched) {
      const why = unsupportedStrategy(halves, shape);
      if (why !== undefined) {
        refused.push({ name: `${strategyName(inChunks(halves, 1))}${suffix}`, why });
        continue;
      }
      const way = wayOf(halves);
      if (!ways.some(({ program }) => program === way.program)) ways.push(way);
    }
    const among = ({ dispatch, combine }: Halves): boolean =>
      searched.some((one) => one.dispatch === dispatch && one.combine === combine);
    for (const { chunks, ...halves } of fixedStrategies)
      if ((plainPair(halves) || among(halves)) && unsupportedStrategy(halves, shape) === undefined)
        fixedWays.push({ way: wayOf(halves), chunks });
  }
  return { ways, fixedWays, refused };
}
