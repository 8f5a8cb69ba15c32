/**
 * Finds the fastest plan that fits. Bounds drop what cannot fit or cannot win; what is left is priced by a model of
 * steps, the most promising layouts first, and only what would win is asked for its memory. Nothing is dropped on a
 * guess: of all settings of the space, none that fits is faster by the model.
 */
import type { RunSetting } from '../../estimate/index.js';
import type { Layout } from '../../layout/layout.js';
import { minOf } from '../../units/lists.js';
import { legalLayouts } from '../space/climb.js';
import type { PlanProblem, SpacePoint } from '../space/problem.js';
import { Bounds } from './bounds.js';
import { bySharing, exchangeOf, type Branch, type Keeping, type Options, type Way } from './options.js';
import { kindOf, passingSettings, settingOf } from './settings.js';
import { SharedOptions, type Shared } from './shared-options.js';
import type { StepModel } from './step-model.js';
import { whyNothing } from './why-nothing.js';

/** A setting with what it is predicted to take. */
export interface Candidate {
  readonly setting: RunSetting;
  readonly seconds: number;
  readonly memoryBytes: number;
}

/** Settings of the space by what became of them: the second to the fourth add up to the first. */
export interface SearchCounts {
  readonly represented: number;
  /** Not even with everything computed again and shared do they fit. */
  readonly prunedByMemory: number;
  /** FLOPs at peak, larger micro-batches without a bubble, or less recomputation take no less than what is known. */
  readonly prunedByTime: number;
  /** Priced by the model. */
  readonly priced: number;
  /** Asked for their memory. */
  readonly weighed: number;
  /** Prices of layouts that bound theirs, beside `priced`. */
  readonly floors: number;
}

export interface SearchProgress {
  /** Share of the layouts that are done; 1 while runners-up are looked for. */
  readonly done: number;
  readonly counts: SearchCounts;
  readonly best: Candidate | undefined;
}

export interface SearchResult {
  readonly best: Candidate | undefined;
  /** The fastest of every other kind that was found, fastest first. */
  readonly others: readonly Candidate[];
  /** As many of the fastest as were asked for, whatever their kind, each with another layout, batching or way. */
  readonly fastest: readonly Candidate[];
  readonly counts: SearchCounts;
  /** Whether the whole space was searched. */
  readonly complete: boolean;
}

interface Entry {
  readonly layout: Layout;
  readonly shared: Shared;
  /** Least time that a step of the layout takes. */
  readonly floorSeconds: number;
}

/**
 * Least times of a layout at a micro-batch, by `exchangeOf`, and how many times those take without what fills the
 * bubble.
 */
interface Floors {
  readonly floors: readonly (number | undefined)[];
  readonly waiting: number;
}

/** What of a point is known of its memory: bytes by keeping, and whether a sort of schedule has room at all. */
interface Weights {
  readonly bytes: (Map<Keeping, number> | undefined)[];
  readonly room: (boolean | undefined)[];
}

const crossesOnce = ({ dispatcher }: Pick<Way, 'dispatcher'>): boolean => dispatcher === 'deduplicated';

/** Layouts that are priced between two reports, and those that are looked at for a runner-up of a kind. */
const [between, layoutsOfKind] = [16, 4];
/** Times the best's seconds up to which a runner-up is worth showing. */
const worthShowing = 1.5;

export class Search {
  readonly #problem: PlanProblem;
  readonly #model: StepModel;
  readonly #bounds: Bounds;
  readonly #capacity: number;
  readonly #passing: ReturnType<typeof passingSettings>;
  readonly #kinds = new Map<string, Candidate>();
  readonly #shared: SharedOptions;
  readonly #counts = { represented: 0, prunedByMemory: 0, prunedByTime: 0, priced: 0, weighed: 0, floors: 0 };
  readonly #kept: number;
  #best: Candidate | undefined;
  #fastest: readonly Candidate[] = [];
  /** What a price has to beat: the last of the fastest, or behind the search the best of a kind. */
  #beaten = Infinity;
  #complete = false;

  /** `kept`: how many of the fastest are wanted. */
  constructor(problem: PlanProblem, model: StepModel, kept = 1) {
    this.#problem = problem;
    this.#kept = kept;
    this.#model = model;
    this.#bounds = new Bounds(problem);
    this.#passing = passingSettings(problem);
    this.#shared = new SharedOptions(problem);
    this.#capacity = problem.cluster.device.memoryBytes;
  }

  /** What is known so far, at any time. */
  get result(): SearchResult {
    const others = [...this.#kinds.values()].filter((one) => one !== this.#best);
    return {
      best: this.#best,
      others: others.sort((a, b) => a.seconds - b.seconds),
      fastest: this.#fastest,
      counts: { ...this.#counts },
      complete: this.#complete,
    };
  }

  /** Searches, and reports now and then. Throws `InputError` where the space is empty. */
  *run(): Generator<SearchProgress, SearchResult> {
    const entries = this.#entries();
    if (this.#counts.represented === 0) throw whyNothing(this.#problem);
    for (const [index, entry] of entries.entries()) {
      if (index % between === 0) yield { done: index / entries.length, counts: { ...this.#counts }, best: this.#best };
      if (entry.floorSeconds >= this.#beaten) this.#counts.prunedByTime += entry.shared.settings;
      else this.#searchLayout(entry);
    }
    this.#complete = true;
    const { counts } = this.result;
    for (const kind of byDimensions(entries)) {
      yield { done: 1, counts, best: this.#best };
      this.#searchKind(kind);
    }
    Object.assign(this.#counts, counts);
    return this.result;
  }

  /** The fastest of layouts that split the same dimensions, among the most promising of them: a runner-up. */
  #searchKind(entries: readonly Entry[]): void {
    this.#beaten = (this.#best?.seconds ?? Infinity) * worthShowing;
    for (const entry of entries.slice(0, layoutsOfKind))
      if (entry.floorSeconds < this.#beaten) this.#searchLayout(entry);
  }

  /** Layouts whose states may fit, the most promising first. */
  #entries(): Entry[] {
    const entries: Entry[] = [];
    for (const layout of legalLayouts(this.#problem)) {
      const shared = this.#shared.of(layout);
      this.#counts.represented += shared.settings;
      if (this.#bounds.stateBytes(layout) > this.#capacity) this.#counts.prunedByMemory += shared.settings;
      else if (shared.settings > 0) {
        const floors = this.#floorsOf(layout, shared, shared.microBatch);
        entries.push({ layout, shared, floorSeconds: minOf(floors.filter((one) => one !== undefined)) });
      }
    }
    return entries.sort((a, b) => a.floorSeconds - b.floorSeconds);
  }

  /**
   * What a step of a layout takes at least with a micro-batch, by `exchangeOf`: without a bubble, with the least
   * recomputation, and with the experts' exchange beside other work whether it can be there or not.
   */
  #floorsOf(layout: Layout, { first, exchanges }: Shared, microBatch: number): (number | undefined)[] {
    const floors: (number | undefined)[] = [];
    const keeping = first?.keepings[0];
    if (keeping === undefined) return floors;
    const microBatches = this.#problem.globalBatch / (layout.dp * microBatch);
    const point = { layout, virtualStages: 1, microBatch, microBatches };
    for (const { dispatcher: own, precision } of exchanges) {
      // A token that crosses once a domain takes no longer than one that crosses once an expert.
      const dispatcher = own === 'all_to_all' && exchanges.some(crossesOnce) ? 'deduplicated' : own;
      const at = exchangeOf({ dispatcher, precision });
      if (floors[at] === undefined) {
        this.#counts.floors += 1;
        const way: Way = { dispatcher, precision, schedule: '1f1b', rankOrder: 'dp-pp', overlapsExperts: true };
        floors[at] = this.#model.floorSeconds(this.#passing(point, way, keeping));
      }
      floors[exchangeOf({ dispatcher: own, precision })] = floors[at];
    }
    return floors;
  }

  #searchLayout({ layout, shared, floorSeconds }: Entry): void {
    const known = new Map<number, (number | undefined)[]>();
    for (const { batchings, sorts } of shared.groups) {
      const [anyBatching] = batchings;
      if (anyBatching === undefined) continue;
      const { virtualStages, layersOfStages } = anyBatching;
      const fewest = this.#bounds.fewestLayers(layout, anyBatching);
      const room = this.#capacity - this.#bounds.firstStateBytes(layout, anyBatching, fewest);
      let full = false;
      for (let index = 0; index < batchings.length; index++) {
        const batching = batchings[index];
        const open = shared.options.get(sorts[index] ?? 0);
        if (batching === undefined || open === undefined) continue;
        full ||= this.#bounds.activationBytes(layout, batching, fewest) > room;
        if (full) {
          this.#counts.prunedByMemory += open.settings;
          continue;
        }
        const { microBatch, microBatches } = batching;
        // While a pipeline fills and drains, a stage waits for one micro-batch on all others.
        const waiting = 1 + (layout.pp - 1) / (virtualStages * microBatches);
        if (floorSeconds * (open.fills ? 1 : waiting) >= this.#beaten) {
          this.#counts.prunedByTime += open.settings;
          continue;
        }
        let floors = known.get(microBatch);
        if (floors === undefined) {
          floors = this.#floorsOf(layout, shared, microBatch);
          known.set(microBatch, floors);
        }
        const point = { layout, virtualStages, layersOfStages, microBatch, microBatches };
        full = !this.#searchPoint(point, open, { floors, waiting });
      }
    }
  }

  /** Prices what may be the fastest of a point. False where nothing of it fits. */
  #searchPoint(point: SpacePoint, options: Options, { floors, waiting }: Floors): boolean {
    const weights: Weights = { bytes: [], room: [] };
    for (const branch of options.branches) {
      const { way, keepings: open, sort } = branch;
      this.#counts.prunedByTime += branch.settings - open.length;
      const [first] = open;
      if (first === undefined) continue;
      if (weights.room[sort] === false) {
        this.#counts.prunedByMemory += open.length;
        continue;
      }
      if ((floors[branch.exchange] ?? 0) * (branch.fills ? 1 : waiting) >= this.#beaten) {
        this.#counts.prunedByTime += open.length;
        continue;
      }
      const relaxed = this.#seconds(point, way, first);
      if (relaxed >= this.#beaten) this.#counts.prunedByTime += open.length - 1;
      else if (this.#bytes({ point, branch, keeping: first }, weights) <= this.#capacity) {
        this.#counts.prunedByTime += open.length - 1;
        this.#take({ point, branch, keeping: first, seconds: relaxed }, weights);
      } else if (this.#hasRoom(point, branch, options, weights)) this.#searchKeepings(point, branch, weights);
      else this.#counts.prunedByMemory += open.length - 1;
    }
    return options.branches.length === 0 || options.branches.some(({ sort }) => weights.room[sort] !== false);
  }

  /** Whether a point fits with everything computed again, under any rule of sharing. */
  #hasRoom(point: SpacePoint, branch: Branch, { keepings }: Options, weights: Weights): boolean {
    const last = keepings.at(-1)?.recompute;
    // What a stage's passes keep does not depend on how rows travel.
    // Those that share most come last, and have room most often.
    return (weights.room[branch.sort] ??=
      keepings.findLast(
        (keeping) =>
          keeping.recompute === last &&
          this.#mayFit(point, branch, keeping) &&
          this.#bytes({ point, branch, keeping }, weights) <= this.#capacity,
      ) !== undefined);
  }

  /**
   * Takes the fastest of what may be kept that fits. The first of a branch, no slower than any other, does not.
   * Those of one rule of sharing lie together: the first costs least time, the last takes least memory.
   */
  #searchKeepings(point: SpacePoint, branch: Branch, weights: Weights): void {
    const { way, keepings: open } = branch;
    const fits = (keeping: Keeping): boolean => this.#bytes({ point, branch, keeping }, weights) <= this.#capacity;
    const found: { readonly keeping: Keeping; readonly seconds: number }[] = [];
    for (const [index, alike] of bySharing(open).entries()) {
      const [least] = alike;
      const last = alike.at(-1);
      if (least === undefined || last === undefined) continue;
      if (!this.#mayFit(point, branch, last)) {
        this.#counts.prunedByMemory += index === 0 ? alike.length - 1 : alike.length;
        continue;
      }
      const seconds = index === 0 ? 0 : this.#seconds(point, way, least);
      if (seconds >= this.#beaten) {
        this.#counts.prunedByTime += alike.length - 1;
        continue;
      }
      if (!fits(last)) {
        this.#counts.prunedByMemory += alike.length - 1;
        continue;
      }
      if (index > 0) found.push({ keeping: least, seconds });
      for (const keeping of alike.slice(1)) found.push({ keeping, seconds: this.#seconds(point, way, keeping) });
    }
    found.sort((a, b) => a.seconds - b.seconds);
    const best = found.find(({ keeping, seconds }) => seconds < this.#beaten && fits(keeping));
    if (best !== undefined) this.#take({ point, branch, ...best }, weights);
  }

  #seconds(point: SpacePoint, way: Way, keeping: Keeping): number {
    this.#counts.priced += 1;
    return this.#model.seconds(this.#passing(point, way, keeping));
  }

  /** Whether there is room for a keeping without what of its weights is gathered. */
  #mayFit(point: SpacePoint, { way }: Branch, keeping: Keeping): boolean {
    return this.#model.leastMemoryBytes(this.#passing(point, way, keeping)) <= this.#capacity;
  }

  /** Memory of a keeping, asked for once a point and sort of schedule. */
  #bytes(
    { point, branch, keeping }: { readonly point: SpacePoint; readonly branch: Branch; readonly keeping: Keeping },
    { bytes }: Weights,
  ): number {
    const known = (bytes[branch.sort] ??= new Map<Keeping, number>());
    const found = known.get(keeping);
    if (found !== undefined) return found;
    this.#counts.weighed += 1;
    const weighed = this.#model.memoryBytes(this.#passing(point, branch.way, keeping));
    known.set(keeping, weighed);
    return weighed;
  }

  /** A setting that fits and beats what was to be beaten. */
  #take(
    taken: { readonly point: SpacePoint; readonly branch: Branch; readonly keeping: Keeping; readonly seconds: number },
    weights: Weights,
  ): void {
    const { point, branch, keeping, seconds } = taken;
    const setting = settingOf(this.#problem, point, branch.way, keeping);
    const candidate = { setting, seconds, memoryBytes: this.#bytes(taken, weights) };
    const faster = (than: Candidate | undefined): boolean => than === undefined || seconds < than.seconds;
    this.#beaten = seconds;
    if (!this.#complete) {
      this.#fastest = [...this.#fastest, candidate].sort((a, b) => a.seconds - b.seconds).slice(0, this.#kept);
      this.#beaten = this.#fastest.length < this.#kept ? Infinity : (this.#fastest.at(-1)?.seconds ?? Infinity);
    }
    if (faster(this.#best)) this.#best = candidate;
    const kind = kindOf(setting);
    if (faster(this.#kinds.get(kind))) this.#kinds.set(kind, candidate);
  }
}

/** Layouts by the dimensions that they split, the most promising first. */
function byDimensions(entries: readonly Entry[]): Entry[][] {
  const kinds = new Map<string, Entry[]>();
  for (const entry of entries) {
    const { tp, cp, pp, ep, etp } = entry.layout;
    const key = [tp, cp, pp, ep, etp].map((degree) => Number(degree > 1)).join('');
    const kind = kinds.get(key) ?? [];
    kinds.set(key, kind);
    kind.push(entry);
  }
  return [...kinds.values()];
}
