/**
 * Finds the fastest plan that fits. Bounds drop what cannot fit or cannot win; what is left is priced by a model of
 * steps, the most promising layouts first, and only what would win is asked for its memory. Nothing is dropped on a
 * guess: of all settings of the space, none that fits is faster by the model.
 */
import type { RunSetting } from '../../estimate/index.js';
import type { Layout } from '../../layout/layout.js';
import { maxOf } from '../../units/lists.js';
import { legalBatchings, legalLayouts, whyEmpty, type Batching } from '../space/climb.js';
import type { PlanProblem, SpacePoint } from '../space/problem.js';
import { Bounds } from './bounds.js';
import { optionsOf, type Keeping, type Options, type Way } from './options.js';
import { kindOf, settingOf } from './settings.js';
import type { StepModel } from './step-model.js';

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
  readonly counts: SearchCounts;
  /** Whether the whole space was searched. */
  readonly complete: boolean;
}

/**
 * Batchings of a layout with the same virtual stages, micro-batches ascending, and the settings that they leave
 * open.
 */
interface Group {
  readonly batchings: readonly Batching[];
  readonly options: readonly Options[];
  readonly settings: number;
}

interface Entry {
  readonly layout: Layout;
  readonly groups: readonly Group[];
  /** Least time that a step of the layout takes. */
  readonly floorSeconds: number;
}

/** Memory of what a point keeps: known once asked for. */
type Weights = (number | undefined)[];

const fills = ({ schedule }: Way): boolean => schedule === 'zero-bubble' || schedule === 'dualpipe';

/** Layouts that are priced between two reports, and those that are looked at for a runner-up of a kind. */
const [between, layoutsOfKind] = [16, 4];
/** Times the best's seconds up to which a runner-up is worth showing. */
const worthShowing = 1.5;

export class Search {
  readonly #problem: PlanProblem;
  readonly #model: StepModel;
  readonly #bounds: Bounds;
  readonly #capacity: number;
  readonly #kinds = new Map<string, Candidate>();
  readonly #optionSets = new Map<number, Options>();
  readonly #counts = { represented: 0, prunedByMemory: 0, prunedByTime: 0, priced: 0, weighed: 0, floors: 0 };
  #best: Candidate | undefined;
  /** What a price has to beat: the best, or behind the search the best of a kind. */
  #beaten = Infinity;
  #complete = false;

  constructor(problem: PlanProblem, model: StepModel) {
    this.#problem = problem;
    this.#model = model;
    this.#bounds = new Bounds(problem);
    this.#capacity = problem.cluster.device.memoryBytes;
  }

  /** What is known so far, at any time. */
  get result(): SearchResult {
    const others = [...this.#kinds.values()].filter((one) => one !== this.#best);
    return {
      best: this.#best,
      others: others.sort((a, b) => a.seconds - b.seconds),
      counts: { ...this.#counts },
      complete: this.#complete,
    };
  }

  /** Searches, and reports now and then. Throws `InputError` where the space is empty. */
  *run(): Generator<SearchProgress, SearchResult> {
    const entries = this.#entries();
    if (this.#counts.represented === 0) throw whyEmpty(this.#problem);
    for (const [index, entry] of entries.entries()) {
      if (index % between === 0) yield { done: index / entries.length, counts: { ...this.#counts }, best: this.#best };
      for (const group of entry.groups)
        if (entry.floorSeconds >= this.#beaten) this.#counts.prunedByTime += group.settings;
        else this.#searchGroup(entry, group);
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
      if (entry.floorSeconds < this.#beaten) for (const group of entry.groups) this.#searchGroup(entry, group);
  }

  /** Layouts that may fit, the most promising first. */
  #entries(): Entry[] {
    const batchings = new Map<string, Batching[][]>();
    const entries: Entry[] = [];
    for (const layout of legalLayouts(this.#problem)) {
      const key = `${layout.pp} ${layout.dp}`;
      const found = batchings.get(key) ?? byVirtualStages(legalBatchings(this.#problem, layout));
      batchings.set(key, found);
      const groups = this.#groupsOf(layout, found);
      if (groups.length > 0) entries.push({ layout, groups, floorSeconds: this.#floorOf(layout, groups) });
    }
    return entries.sort((a, b) => a.floorSeconds - b.floorSeconds);
  }

  /** Counts what a layout stands for, and leaves out what cannot fit. */
  #groupsOf(layout: Layout, found: readonly (readonly Batching[])[]): Group[] {
    const room = this.#capacity - this.#bounds.stateBytes(layout);
    return found.flatMap((batchings): Group[] => {
      const kept: Batching[] = [];
      const options: Options[] = [];
      let settings = 0;
      for (const batching of batchings) {
        const open = this.#optionsOf(layout, batching);
        const count = open.settings;
        this.#counts.represented += count;
        if (this.#bounds.activationBytes(layout, batching) > room) this.#counts.prunedByMemory += count;
        else if (count > 0) {
          settings += count;
          kept.push(batching);
          options.push(open);
        }
      }
      return kept.length > 0 ? [{ batchings: kept, options, settings }] : [];
    });
  }

  /** Options are the same for points that have the same dimensions. */
  #optionsOf(layout: Layout, { virtualStages, microBatches, microBatch }: Batching): Options {
    const { dp, cp, pp, ep, etp, edp } = layout;
    const key =
      Number(dp * cp > 1) +
      2 * Number(edp > 1) +
      4 * Number(pp > 1) +
      8 * Number(ep * etp > 1) +
      16 * Number(virtualStages > 1) +
      32 * Number(microBatches > 1);
    const known =
      this.#optionSets.get(key) ?? optionsOf(this.#problem, { layout, virtualStages, microBatches, microBatch });
    this.#optionSets.set(key, known);
    return known;
  }

  /**
   * What a step of a layout takes at least: with its largest micro-batch, without a bubble, with the least
   * recomputation, and with the experts' exchange beside other work whether it can be there or not.
   */
  #floorOf(layout: Layout, groups: readonly Group[]): number {
    const microBatch = maxOf(groups.map(({ batchings }) => batchings.at(-1)?.microBatch ?? 1));
    const open = groups[0]?.options[0];
    const keeping = open?.keepings[0];
    if (open === undefined || keeping === undefined) return Infinity;
    const batching = {
      virtualStages: 1,
      microBatch,
      microBatches: this.#problem.globalBatch / (layout.dp * microBatch),
    };
    let least = Infinity;
    const dispatchers = new Set(open.ways.map((way) => way.dispatcher));
    // A token that crosses once a domain takes no longer than one that crosses once an expert.
    if (dispatchers.has('deduplicated')) dispatchers.delete('all_to_all');
    for (const dispatcher of dispatchers) {
      this.#counts.floors += 1;
      const way: Way = { dispatcher, schedule: '1f1b', overlapsExperts: true };
      const setting = settingOf(this.#problem, { layout, ...batching }, way, keeping);
      least = Math.min(least, this.#model.floorSeconds(setting));
    }
    return least;
  }

  #searchGroup({ layout, floorSeconds }: Entry, { batchings, options }: Group): void {
    let full = false;
    for (const [index, batching] of batchings.entries()) {
      const open = options[index];
      if (open === undefined) continue;
      if (full) {
        this.#counts.prunedByMemory += open.settings;
        continue;
      }
      // While a pipeline fills and drains, a stage waits for one micro-batch on all others.
      const waiting = (layout.pp - 1) / (batching.virtualStages * batching.microBatches);
      const bound = floorSeconds * (open.ways.some(fills) ? 1 : 1 + waiting);
      if (bound >= this.#beaten) this.#counts.prunedByTime += open.settings;
      else full = !this.#searchPoint({ layout, ...batching }, open);
    }
  }

  /** Prices what may be the fastest of a point. False where nothing of it fits. */
  #searchPoint(point: SpacePoint, options: Options): boolean {
    const weights: Weights = [];
    let left = options.settings;
    for (const { way, keepings: open, settings } of options.branches) {
      left -= settings;
      this.#counts.prunedByTime += settings - open.length;
      const [first] = open;
      if (first === undefined) continue;
      const relaxed = this.#seconds(point, way, first);
      if (relaxed >= this.#beaten) {
        this.#counts.prunedByTime += open.length - 1;
        continue;
      }
      if (this.#searchKeepings({ point, way, options, weights, open, relaxed })) continue;
      // What a stage's passes keep does not depend on how rows travel, but DualPipe keeps two stages.
      if (way.schedule === 'dualpipe' || this.#hasRoom(point, way, options, weights)) continue;
      this.#counts.prunedByMemory += left;
      return false;
    }
    return true;
  }

  /** Whether a point fits with everything computed again, under any rule of sharing. */
  #hasRoom(point: SpacePoint, way: Way, { keepings }: Options, weights: Weights): boolean {
    const last = keepings.at(-1)?.recompute;
    return keepings.some(
      (keeping, place) =>
        keeping.recompute === last && this.#bytes({ point, way, keeping }, weights, place) <= this.#capacity,
    );
  }

  /** Takes the fastest of what may be kept that fits; false where none of the faster ones does. */
  #searchKeepings({
    point,
    way,
    options,
    weights,
    open,
    relaxed,
  }: {
    readonly point: SpacePoint;
    readonly way: Way;
    readonly options: Options;
    readonly weights: Weights;
    readonly open: readonly Keeping[];
    readonly relaxed: number;
  }): boolean {
    const faster = open
      .map((keeping, index) => ({ keeping, seconds: index === 0 ? relaxed : this.#seconds(point, way, keeping) }))
      .filter(({ seconds }) => seconds < this.#beaten);
    const fits = (keeping: Keeping): boolean =>
      this.#bytes({ point, way, keeping }, weights, options.keepings.indexOf(keeping)) <= this.#capacity;
    // Further along recomputation less is kept: where the last of a rule of sharing has no room, none has.
    const full = new Set<Keeping['sharing']>();
    for (const sharing of new Set(faster.map(({ keeping }) => keeping.sharing))) {
      const last = faster.findLast(({ keeping }) => keeping.sharing === sharing);
      if (last !== undefined && !fits(last.keeping)) full.add(sharing);
    }
    const found = faster
      .filter(({ keeping }) => !full.has(keeping.sharing))
      .sort((a, b) => a.seconds - b.seconds)
      .find(({ keeping }) => fits(keeping));
    if (found === undefined) return false;
    const setting = settingOf(this.#problem, point, way, found.keeping);
    const memoryBytes = this.#bytes(
      { point, way, keeping: found.keeping },
      weights,
      options.keepings.indexOf(found.keeping),
    );
    this.#take({ setting, seconds: found.seconds, memoryBytes });
    return true;
  }

  #seconds(point: SpacePoint, way: Way, keeping: Keeping): number {
    this.#counts.priced += 1;
    return this.#model.seconds(settingOf(this.#problem, point, way, keeping));
  }

  /** Memory of the keeping at a place, asked for once a point; DualPipe's apart. */
  #bytes(
    { point, way, keeping }: { readonly point: SpacePoint; readonly way: Way; readonly keeping: Keeping },
    weights: Weights,
    place: number,
  ): number {
    const at = 2 * place + Number(way.schedule === 'dualpipe');
    const known = weights[at];
    if (known !== undefined) return known;
    this.#counts.weighed += 1;
    const bytes = this.#model.memoryBytes(settingOf(this.#problem, point, way, keeping));
    weights[at] = bytes;
    return bytes;
  }

  /** A setting that fits and beats what was to be beaten. */
  #take(candidate: Candidate): void {
    const { setting, seconds } = candidate;
    const faster = (than: Candidate | undefined): boolean => than === undefined || seconds < than.seconds;
    this.#beaten = seconds;
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

function byVirtualStages(batchings: readonly Batching[]): Batching[][] {
  const groups = new Map<number, Batching[]>();
  for (const batching of batchings) {
    const group = groups.get(batching.virtualStages) ?? [];
    groups.set(batching.virtualStages, group);
    group.push(batching);
  }
  return [...groups.values()];
}
