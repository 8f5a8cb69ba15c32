/**
 * Finds the fastest plan that fits. Bounds drop what cannot fit or cannot win; what is left is priced by a model of
 * steps, the most promising layouts first, and only what would win is asked for its memory. Nothing is dropped on a
 * guess: of all settings of the space, none that fits is faster by the model.
 */
import type { RunSetting } from '../../estimate/index.js';
import type { Layout } from '../../layout/layout.js';
import { legalLayouts } from '../space/climb.js';
import type { PlanProblem, SpacePoint } from '../space/problem.js';
import { Bounds, leastWaiting, timesWaiting } from './bounds.js';
import { countAt, Counts, type SearchCounts } from './counts.js';
import { bySharing, exchangeKinds, type Branch, type Keeping, type Options, type Way } from './options.js';
import { kindOf, passingSettings, settingOf } from './settings.js';
import { SharedOptions, type Group, type Shared } from './shared-options.js';
import type { StepModel } from './step-model.js';
import { whyNothing } from './why-nothing.js';

/** A setting with what it is predicted to take. */
export interface Candidate {
  readonly setting: RunSetting;
  readonly seconds: number;
  readonly memoryBytes: number;
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

/** What of a point is known of its memory: bytes by keeping, and whether a sort of schedule has room at all. */
interface Weights {
  readonly bytes: (Map<Keeping, number> | undefined)[];
  readonly room: (boolean | undefined)[];
}

/** A setting of a point, and its seconds. */
interface Priced {
  readonly point: SpacePoint;
  readonly branch: Branch;
  readonly keeping: Keeping;
  readonly seconds: number;
}

/** What may be kept under one rule of sharing, its place among such, and the least seconds that it takes. */
interface Alike {
  readonly place: number;
  readonly keepings: readonly Keeping[];
  readonly seconds: number;
}

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
  readonly #counts = new Counts();
  readonly #kept: number;
  #best: Candidate | undefined;
  #fastest: readonly Candidate[] = [];
  /** What a price has to beat: the last of the fastest, or behind the search the best of a kind. */
  #beaten = Infinity;
  #complete = false;
  /** Least times of the layout at hand, by where its micro-batches have theirs and `exchangeOf`. */
  #floors = new Float64Array(exchangeKinds);
  readonly #floorsAt = new Map<number, number>();

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
      counts: this.#counts.all,
      complete: this.#complete,
    };
  }

  /** Searches, and reports now and then. Throws `InputError` where the space is empty. */
  *run(): Generator<SearchProgress, SearchResult> {
    const entries = this.#entries();
    if (this.#counts.all.represented === 0) throw whyNothing(this.#problem);
    for (const [index, entry] of entries.entries()) {
      if (index % between === 0) yield { done: index / entries.length, counts: this.#counts.all, best: this.#best };
      if (entry.floorSeconds >= this.#beaten) this.#counts.add(countAt.prunedByTime, entry.shared.settings);
      else this.#searchLayout(entry);
    }
    this.#complete = true;
    const counts = this.#counts.all;
    for (const kind of byDimensions(entries)) {
      yield { done: 1, counts, best: this.#best };
      this.#searchKind(kind);
    }
    this.#counts.all = counts;
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
      this.#counts.add(countAt.represented, shared.settings);
      if (this.#bounds.stateBytes(layout) > this.#capacity) this.#counts.add(countAt.prunedByMemory, shared.settings);
      else if (shared.settings > 0)
        entries.push({ layout, shared, floorSeconds: this.#writeFloors(layout, shared, shared.microBatch, 0) });
    }
    return entries.sort((a, b) => a.floorSeconds - b.floorSeconds);
  }

  /**
   * Writes what a step of a layout takes at least with a micro-batch, with the least recomputation; returns the least
   * of it.
   */
  #writeFloors(layout: Layout, { first, floors }: Shared, microBatch: number, to: number): number {
    let least = Infinity;
    const keeping = first?.keepings[0];
    if (keeping === undefined) return least;
    const microBatches = this.#problem.globalBatch / (layout.dp * microBatch);
    const point = { layout, virtualStages: 1, layersOfStages: undefined, microBatch, microBatches };
    for (let index = 0; index < floors.length; index++) {
      const floor = floors[index];
      if (floor === undefined) continue;
      this.#counts.add(countAt.floors, 1);
      const seconds = this.#model.floorSeconds(this.#passing(point, floor.way, keeping));
      for (let at = 0; at < floor.exchanges.length; at++) this.#floors[to + (floor.exchanges[at] ?? 0)] = seconds;
      least = Math.min(least, seconds);
    }
    return least;
  }

  /** Where the least times of the layout at hand with a micro-batch lie in `#floors`. */
  #floorsOf(layout: Layout, shared: Shared, microBatch: number): number {
    const known = this.#floorsAt.get(microBatch);
    if (known !== undefined) return known;
    const at = this.#floorsAt.size * exchangeKinds;
    if (at === this.#floors.length) {
      const more = new Float64Array(2 * at);
      more.set(this.#floors);
      this.#floors = more;
    }
    this.#floorsAt.set(microBatch, at);
    this.#writeFloors(layout, shared, microBatch, at);
    return at;
  }

  #searchLayout({ layout, shared, floorSeconds }: Entry): void {
    this.#floorsAt.clear();
    for (let index = 0; index < shared.groups.length; index++) {
      const group = shared.groups[index];
      if (group !== undefined) this.#searchGroup(layout, shared, group, floorSeconds);
    }
  }

  #searchGroup(layout: Layout, shared: Shared, group: Group, floorSeconds: number): void {
    const { virtualStages, layersOfStages, sizes, sorts } = group;
    const fewest = this.#bounds.fewestLayers(layout, group);
    const room = this.#capacity - this.#bounds.firstStateBytes(layout, group, fewest);
    let full = false;
    for (let index = 0; index < sizes.length; index++) {
      const size = sizes[index];
      const open = shared.options[sorts[index] ?? 0];
      if (size === undefined || open === undefined) continue;
      const { microBatch, microBatches } = size;
      const point = { layout, virtualStages, layersOfStages, microBatch, microBatches };
      full ||= this.#bounds.activationBytes(point, fewest) > room;
      if (full) {
        this.#counts.add(countAt.prunedByMemory, open.settings);
        continue;
      }
      if (floorSeconds * leastWaiting(point, open.schedules) >= this.#beaten)
        this.#counts.add(countAt.prunedByTime, open.settings);
      else full = !this.#searchPoint(point, open, this.#floorsOf(layout, shared, microBatch));
    }
  }

  /** Prices what may be the fastest of a point. False where nothing of it fits. `floors`: where its least times lie. */
  #searchPoint(point: SpacePoint, options: Options, floors: number): boolean {
    const { branches } = options;
    let weights: Weights | undefined;
    for (let index = 0; index < branches.length; index++) {
      const branch = branches[index];
      const keeping = branch?.keepings[0];
      if (branch === undefined || keeping === undefined) {
        this.#counts.add(countAt.prunedByTime, branch?.settings ?? 0);
        continue;
      }
      const open = branch.keepings.length;
      this.#counts.add(countAt.prunedByTime, branch.settings - open);
      if (weights?.room[branch.sort] === false) {
        this.#counts.add(countAt.prunedByMemory, open);
        continue;
      }
      if ((this.#floors[floors + branch.exchange] ?? 0) * timesWaiting(point, branch.way.schedule) >= this.#beaten) {
        this.#counts.add(countAt.prunedByTime, open);
        continue;
      }
      const seconds = this.#seconds(point, branch.way, keeping);
      if (seconds >= this.#beaten) this.#counts.add(countAt.prunedByTime, open - 1);
      else this.#searchBranch({ point, branch, keeping, seconds }, options, (weights ??= { bytes: [], room: [] }));
    }
    return weights === undefined || branches.some(({ sort }) => weights.room[sort] !== false);
  }

  /** Of a branch whose first would be the fastest. */
  #searchBranch(first: Priced, options: Options, weights: Weights): void {
    const { branch } = first;
    const others = branch.keepings.length - 1;
    if (this.#fits(first, first.keeping, weights)) {
      this.#counts.add(countAt.prunedByTime, others);
      this.#take(first, weights);
    } else if (this.#hasRoom(first, options, weights)) this.#searchKeepings(first, weights);
    else this.#counts.add(countAt.prunedByMemory, others);
  }

  /** Whether a point fits with everything computed again, under any rule of sharing. */
  #hasRoom(at: Priced, { keepings }: Options, { bytes, room }: Weights): boolean {
    const last = keepings.at(-1)?.recompute;
    // What a stage's passes keep does not depend on how rows travel.
    // Those that share most come last, and have room most often.
    return (room[at.branch.sort] ??=
      keepings.findLast(
        (keeping) =>
          keeping.recompute === last && this.#mayFit(at, keeping) && this.#fits(at, keeping, { bytes, room }),
      ) !== undefined);
  }

  /** Takes the fastest of what may be kept that fits. `first` of the branch, no slower than any other, does not. */
  #searchKeepings(first: Priced, weights: Weights): void {
    let best: (Priced & Pick<Alike, 'place'>) | undefined;
    for (const alike of this.#alikeWithRoom(first)) {
      const { place, keepings, seconds } = alike;
      // Of settings that take as long the first of the branch is taken.
      const limit = best === undefined ? this.#beaten : best.seconds;
      if (seconds > limit || (seconds === limit && place > (best?.place ?? -1))) {
        this.#counts.add(countAt.prunedByTime, keepings.length - 1);
        continue;
      }
      const last = keepings.at(-1);
      if (last === undefined || !this.#fits(first, last, weights)) {
        this.#counts.add(countAt.prunedByMemory, keepings.length - 1);
        continue;
      }
      const found = this.#pricedOf(first, alike).find(
        (one) =>
          (one.seconds < limit || (one.seconds === limit && place < (best?.place ?? -1))) &&
          this.#fits(one, one.keeping, weights),
      );
      if (found !== undefined) best = { ...found, place };
    }
    if (best !== undefined) this.#take(best, weights);
  }

  /**
   * Rules of sharing under which a point may fit and win, those first that may take least. Keepings of one lie
   * together: the first costs least time, the last takes least memory.
   */
  #alikeWithRoom(first: Priced): Alike[] {
    const { point, branch } = first;
    const found: Alike[] = [];
    const all = bySharing(branch.keepings);
    for (let place = 0; place < all.length; place++) {
      const keepings = all[place];
      const least = keepings?.[0];
      const last = keepings?.at(-1);
      if (keepings === undefined || least === undefined || last === undefined) continue;
      // The first of all is priced already.
      const others = place === 0 ? keepings.length - 1 : keepings.length;
      if (!this.#mayFit(first, last)) {
        this.#counts.add(countAt.prunedByMemory, others);
        continue;
      }
      const seconds = place === 0 ? first.seconds : this.#seconds(point, branch.way, least);
      if (seconds < this.#beaten) found.push({ place, keepings, seconds });
      else this.#counts.add(countAt.prunedByTime, keepings.length - 1);
    }
    return found.sort((a, b) => a.seconds - b.seconds);
  }

  /** Prices the rest of them: what of all may fit, fastest first. */
  #pricedOf({ point, branch }: Priced, { place, keepings, seconds: least }: Alike): Priced[] {
    const priced = keepings.map((keeping, index): Priced => {
      const seconds = index === 0 ? least : this.#seconds(point, branch.way, keeping);
      return { point, branch, keeping, seconds };
    });
    // The first of the branch does not fit.
    return (place === 0 ? priced.slice(1) : priced).sort((a, b) => a.seconds - b.seconds);
  }

  #seconds(point: SpacePoint, way: Way, keeping: Keeping): number {
    this.#counts.add(countAt.priced, 1);
    return this.#model.seconds(this.#passing(point, way, keeping));
  }

  /** Whether there is room for a keeping without what of its weights is gathered. */
  #mayFit({ point, branch }: Priced, keeping: Keeping): boolean {
    return this.#model.leastMemoryBytes(this.#passing(point, branch.way, keeping)) <= this.#capacity;
  }

  #fits(at: Priced, keeping: Keeping, weights: Weights): boolean {
    return this.#bytes(at, keeping, weights) <= this.#capacity;
  }

  /** Memory of a keeping, asked for once a point and sort of schedule. */
  #bytes({ point, branch }: Priced, keeping: Keeping, { bytes }: Weights): number {
    const known = (bytes[branch.sort] ??= new Map<Keeping, number>());
    const found = known.get(keeping);
    if (found !== undefined) return found;
    this.#counts.add(countAt.weighed, 1);
    const weighed = this.#model.memoryBytes(this.#passing(point, branch.way, keeping));
    known.set(keeping, weighed);
    return weighed;
  }

  /** A setting that fits and beats what was to be beaten. */
  #take(taken: Priced, weights: Weights): void {
    const { point, branch, keeping, seconds } = taken;
    const setting = settingOf(this.#problem, point, branch.way, keeping);
    const candidate = { setting, seconds, memoryBytes: this.#bytes(taken, keeping, weights) };
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
