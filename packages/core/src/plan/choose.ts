/**
 * Chooses how tokens travel: every pair of halves, every allowed expert tensor parallel size, every chunk count of either pass is simulated,
 * and the fastest stands beside the baseline and the best strategy that one could have fixed without looking.
 */
import { halvesName, strategyName } from '../schedule/dispatchers/strategy-names.js';
import type { UnknownEstimate } from '../cost/index.js';
import { InputError } from '../units/errors.js';
import type { Layout } from '../layout/layout.js';
import {
  allHalves,
  fixedStrategies,
  type Halves,
  inChunks,
  type Strategy,
  unsupportedStrategy,
} from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import type { Binding } from '../schedule/schedule.js';
import { passPrice, routedBinding, simulatePass, type LayerPass, type PassPrice, type Workload } from './workload.js';

export interface Candidate {
  /** As `scattered`, or `scattered etp 1` where etp is not the layout's own. */
  readonly name: string;
  readonly layout: Layout;
  readonly strategy: Strategy;
  readonly forward: PassPrice;
  readonly backward: PassPrice;
  /** Of both passes. */
  readonly seconds: number;
}

export interface Choice {
  readonly known: true;
  /** All that were priced with their best chunk counts, and the fixed ones, fastest first. */
  readonly candidates: readonly Candidate[];
  /** Those within a share of the best's seconds, in every pair of chunk counts that was priced, fastest first. */
  within(share: number): Candidate[];
  readonly best: Candidate;
  /** `duplicated`, unchunked; absent where the layout forbids it. */
  readonly baseline?: Candidate;
  /** The fastest of the strategies that need no choosing: duplicated, sliced and scattered unchunked, pipelined in 4 chunks. */
  readonly bestFixed: Candidate;
  /** The fastest candidate that differs from the best in more than chunk counts. */
  readonly runnerUp?: Candidate;
  /** Strategies that the layout forbids, and why. */
  readonly refused: readonly { readonly name: string; readonly why: string }[];
}

export interface ChoiceOptions {
  /** Chunk counts to try in either pass. */
  readonly chunkCounts?: readonly number[];
  /** Expert tensor parallel sizes to try; the layout's own when left out. */
  readonly expertTensorParallel?: readonly number[];
  /** Pairs of halves to try; all when left out. */
  readonly halves?: readonly Halves[];
}

export const defaultChunkCounts: readonly number[] = [1, 2, 3, 4, 6, 8, 12, 16];

/** Expert tensor parallel sizes that a layout could use with the same expert groups: divisors of tp for which every rank keeps experts. */
export function alternativeEtps(shape: MoeShape): number[] {
  const { layout, experts, expertFfn } = shape;
  const group = layout.etp * layout.ep;
  const sizes: number[] = [];
  for (let etp = 1; etp <= layout.tp; etp++)
    if (layout.tp % etp === 0 && group % etp === 0 && experts % (group / etp) === 0 && expertFfn % etp === 0)
      sizes.push(etp);
  return sizes;
}

/** The shape with another etp, its expert groups staying the same ranks. */
export function withEtp(shape: MoeShape, etp: number): MoeShape {
  const { layout } = shape;
  return { ...shape, layout: { ...layout, etp, ep: (layout.etp * layout.ep) / etp } };
}

/** By chunk count. */
type PassPrices = Readonly<Record<LayerPass, Map<number, PassPrice>>>;

class Pricer {
  readonly #workload: Workload;
  readonly #binding: Binding;
  readonly #prices = new Map<string, PassPrices>();

  constructor(workload: Workload) {
    this.#workload = workload;
    this.#binding = routedBinding(workload.shape, workload.routing, workload.seed);
  }

  price(halves: Halves, pass: LayerPass, chunks: number): PassPrice | UnknownEstimate {
    const prices = this.prices(halves)[pass];
    const known = prices.get(chunks);
    if (known) return known;
    const simulation = simulatePass(this.#workload, inChunks(halves, chunks), pass, this.#binding);
    if (!simulation.known) return simulation;
    const price = passPrice(simulation, this.#workload.cluster, chunks);
    prices.set(chunks, price);
    return price;
  }

  /** What was priced so far of these halves. */
  prices({ dispatch, combine }: Halves): PassPrices {
    const key = `${dispatch} ${combine}`;
    const prices = this.#prices.get(key) ?? { forward: new Map(), backward: new Map() };
    this.#prices.set(key, prices);
    return prices;
  }

  /**
   * The best chunk count: every second count first, then the neighbours of the best of them. Bytes on the busiest port do not depend on
   * the chunks, so when they alone take longer than `fastest`, a pass of another candidate, the first count is enough.
   */
  best(halves: Halves, pass: LayerPass, counts: readonly number[], fastest: number): PassPrice | UnknownEstimate {
    let best: PassPrice | undefined;
    const tryCount = (index: number): UnknownEstimate | undefined => {
      const chunks = counts[index];
      if (chunks === undefined) return undefined;
      const price = this.price(halves, pass, chunks);
      if ('known' in price) return price;
      if (!best || price.seconds < best.seconds) best = price;
      return undefined;
    };
    for (let index = 0; index < counts.length; index += 2) {
      const missing = tryCount(index);
      if (missing) return missing;
      if (best && best.boundSeconds > fastest) return best;
    }
    const at = counts.indexOf(best?.chunks ?? 1);
    for (const index of [at - 1, at + 1]) tryCount(index);
    return best ?? { known: false, missing: ['a chunk count to try'] };
  }
}

const pairs = ({ forward, backward }: PassPrices): [PassPrice, PassPrice][] =>
  [...forward.values()].flatMap((one) => [...backward.values()].map((other): [PassPrice, PassPrice] => [one, other]));

const sameWay = (a: Candidate, b: Candidate): boolean =>
  a.strategy.dispatch === b.strategy.dispatch &&
  a.strategy.combine === b.strategy.combine &&
  a.layout.etp === b.layout.etp;

/**
 * Prices all candidates of a workload and chooses. Returns `unknown` when the cost model can't price a kernel; throws `InputError` when no
 * strategy serves the layout.
 */
export function chooseDispatch(workload: Workload, options: ChoiceOptions = {}): Choice | UnknownEstimate {
  const counts = options.chunkCounts ?? defaultChunkCounts;
  const own = workload.shape.layout.etp;
  const candidates: Candidate[] = [];
  const fixed: Candidate[] = [];
  const priced: Candidate[] = [];
  const refused: { name: string; why: string }[] = [];
  const fastest = { forward: Infinity, backward: Infinity };
  for (const etp of options.expertTensorParallel ?? [own]) {
    const shape = withEtp(workload.shape, etp);
    const suffix = etp === own ? '' : ` etp ${etp}`;
    const pricer = new Pricer({ ...workload, shape });
    const candidate = (halves: Halves, forward: PassPrice, backward: PassPrice): Candidate => {
      const strategy = { ...halves, chunks: { forward: forward.chunks, backward: backward.chunks } };
      const name = `${strategyName(strategy)}${suffix}`;
      const seconds = forward.seconds + backward.seconds;
      return { name, layout: shape.layout, strategy, forward, backward, seconds };
    };
    for (const halves of options.halves ?? allHalves) {
      const why = unsupportedStrategy(halves, shape);
      if (why !== undefined) {
        refused.push({ name: `${halvesName(halves)}${suffix}`, why });
        continue;
      }
      const forward = pricer.best(halves, 'forward', counts, fastest.forward);
      if ('known' in forward) return forward;
      const backward = pricer.best(halves, 'backward', counts, fastest.backward);
      if ('known' in backward) return backward;
      fastest.forward = Math.min(fastest.forward, forward.seconds);
      fastest.backward = Math.min(fastest.backward, backward.seconds);
      candidates.push(candidate(halves, forward, backward));
      priced.push(...pairs(pricer.prices(halves)).map((pair) => candidate(halves, ...pair)));
    }
    for (const { chunks, ...halves } of fixedStrategies) {
      if (unsupportedStrategy(halves, shape) !== undefined) continue;
      const forward = pricer.price(halves, 'forward', chunks.forward);
      if ('known' in forward) return forward;
      const backward = pricer.price(halves, 'backward', chunks.backward);
      if ('known' in backward) return backward;
      fixed.push(candidate(halves, forward, backward));
    }
  }
  const bySeconds = (a: Candidate, b: Candidate): number => a.seconds - b.seconds;
  candidates.sort(bySeconds);
  fixed.sort(bySeconds);
  const best = candidates[0];
  const bestFixed = fixed[0];
  if (!best || !bestFixed)
    throw new InputError('no dispatcher serves this layout', {
      expected: refused.map(({ name, why }) => `${name}: ${why}`).join('; '),
    });
  const extra = fixed.filter((one) => !candidates.some((other) => sameWay(one, other) && sameChunks(one, other)));
  return {
    known: true,
    candidates: [...candidates, ...extra].sort(bySeconds),
    within: (share) => priced.filter(({ seconds }) => seconds <= best.seconds * (1 + share)).sort(bySeconds),
    best,
    baseline: fixed.find((one) => one.name === 'duplicated'),
    bestFixed,
    runnerUp: candidates.find((one) => !sameWay(one, best)),
    refused,
  };
}

const sameChunks = (a: Candidate, b: Candidate): boolean =>
  a.strategy.chunks.forward === b.strategy.chunks.forward && a.strategy.chunks.backward === b.strategy.chunks.backward;
