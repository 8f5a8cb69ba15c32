/**
 * What layouts leave open, worked out once for all that leave the same: virtual stages, splits of the layers and
 * micro-batches follow from stages and replicas, the rest from which dimensions a layout splits.
 */
import { canOrder, pipelineSchedules } from '../../estimate/index.js';
import type { Layout } from '../../layout/layout.js';
import { maxOf } from '../../units/lists.js';
import { batchingGroups, type Batching, type BatchingGroup, type MicroBatching } from '../space/climb.js';
import type { PlanProblem } from '../space/problem.js';
import { runsAs } from '../space/schedules.js';
import { exchangeOf, optionsOf, shardsKey, shardsKeys, type Options, type Way } from './options.js';

/** Points of layouts with as many stages and replicas, and the same dimensions: what they leave open is the same. */
export interface Shared {
  readonly groups: readonly Group[];
  /** What points leave open, by their sort. */
  readonly options: readonly Options[];
  /** Of all groups. */
  readonly settings: number;
  /** The largest micro-batch of a legal point. */
  readonly microBatch: number;
  /** Of the first point that leaves anything open. */
  readonly first: Options | undefined;
  readonly floors: readonly FloorWay[];
}

/** A way to price for the least time of a layout, and by `exchangeOf` the ways that take no less. */
export interface FloorWay {
  readonly way: Way;
  readonly exchanges: Int32Array;
}

/** Of each micro-batch, its sort: points of one sort leave the same open. */
export interface Group extends BatchingGroup {
  readonly sorts: Int32Array;
}

/** A sort of points: a key, the first point, and how many there are. */
interface Sort {
  readonly key: number;
  readonly batching: Batching;
  batchings: number;
}

/** Batchings of as many stages and replicas, and their sorts in the order of their first. */
interface Stages {
  readonly groups: readonly Group[];
  readonly sorts: readonly Sort[];
  readonly microBatch: number;
}

/** Which dimensions a layout splits, as bits. */
const splitsOf = ({ dp, cp, ep, etp, edp }: Layout): number =>
  Number(dp * cp > 1) + 2 * Number(edp > 1) + 4 * Number(ep * etp > 1);
const splitKeys = 8;

export class SharedOptions {
  readonly #problem: PlanProblem;
  readonly #shared = new Map<number, Shared>();
  readonly #stages = new Map<number, Stages>();
  readonly #options = new Map<number, Options>();

  constructor(problem: PlanProblem) {
    this.#problem = problem;
  }

  of(layout: Layout): Shared {
    const place = layout.pp * 2 ** 20 + layout.dp;
    const key = place * 2 * splitKeys * shardsKeys + this.#keyOf(layout);
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    let stages = this.#stages.get(place);
    if (stages === undefined) {
      stages = byStages(batchingGroups(this.#problem, layout), layout.pp);
      this.#stages.set(place, stages);
    }
    const made = this.#sharedOf(layout, stages);
    this.#shared.set(key, made);
    return made;
  }

  #sharedOf(layout: Layout, { groups, sorts, microBatch }: Stages): Shared {
    let settings = 0;
    let first: Options | undefined;
    const options: Options[] = [];
    const ofLayout = this.#keyOf(layout) * sortKeys;
    for (const { key, batching, batchings } of sorts) {
      const open = this.#options.get(ofLayout + key) ?? this.#newOptions(layout, batching, ofLayout + key);
      options.push(open);
      settings += batchings * open.settings;
      if (open.settings > 0) first ??= open;
    }
    return { groups, options, settings, microBatch, first, floors: floorWays(options) };
  }

  /** What of a layout decides what its points leave open, beside their stages and micro-batches. */
  #keyOf(layout: Layout): number {
    const order = Number(canOrder(layout, 'pp-dp'));
    return (shardsKey(this.#problem, layout) * 2 + order) * splitKeys + splitsOf(layout);
  }

  /** What a point leaves open depends on which dimensions it splits, and on which schedules its stages have. */
  optionsOf(layout: Layout, batching: Batching): Options {
    const key = this.#keyOf(layout) * sortKeys + sortOf(layout.pp, batching);
    return this.#options.get(key) ?? this.#newOptions(layout, batching, key);
  }

  #newOptions(layout: Layout, batching: Batching, key: number): Options {
    const made = optionsOf(this.#problem, { layout, ...batching });
    this.#options.set(key, made);
    return made;
  }
}

/** What of stages and micro-batches decides what a point leaves open, as bits: which schedules they have. */
function sortOf(pp: number, batching: Batching): number {
  let sort = 2 * Number(pp > 1) + Number(batching.microBatches > 1);
  for (const schedule of pipelineSchedules) sort = 2 * sort + Number(runsAs(schedule, pp, batching));
  return sort;
}
const sortKeys = 2 ** (2 + pipelineSchedules.length);

function byStages(batchings: readonly BatchingGroup[], pp: number): Stages {
  const sorts: Sort[] = [];
  const known = new Map<BatchingGroup['sizes'], Int32Array>();
  const groups = batchings.map((group): Group => {
    const { virtualStages, layersOfStages, sizes } = group;
    const placeOf = (size: MicroBatching): number => {
      const batching = { virtualStages, layersOfStages, ...size };
      const key = sortOf(pp, batching);
      const place = sorts.findIndex((sort) => sort.key === key);
      return place < 0 ? sorts.push({ key, batching, batchings: 0 }) - 1 : place;
    };
    const places = known.get(sizes) ?? Int32Array.from(sizes, placeOf);
    known.set(sizes, places);
    for (const place of places) {
      const sort = sorts[place];
      if (sort !== undefined) sort.batchings += 1;
    }
    return { virtualStages, layersOfStages, sizes, sorts: places };
  });
  return { groups, sorts, microBatch: maxOf([1, ...batchings.map(({ sizes }) => sizes.at(-1)?.microBatch ?? 1)]) };
}

/**
 * Without a bubble, and with the experts' exchange beside other work whether it can be there or not. A token that
 * crosses once a domain takes no longer than one that crosses once an expert.
 */
function floorWays(options: readonly Options[]): FloorWay[] {
  const ways = new Map(options.flatMap(({ branches }) => branches.map(({ way, exchange }) => [exchange, way])));
  const crossesOnce = [...ways.values()].some(({ dispatcher }) => dispatcher === 'deduplicated');
  const floors = new Map<number, { readonly way: Way; readonly exchanges: number[] }>();
  for (const [exchange, { dispatcher: own, precision }] of ways) {
    const dispatcher = own === 'all_to_all' && crossesOnce ? 'deduplicated' : own;
    const way: Way = { dispatcher, precision, schedule: '1f1b', rankOrder: 'dp-pp', overlapsExperts: true };
    const priced = floors.get(exchangeOf(way)) ?? { way, exchanges: [] };
    floors.set(exchangeOf(way), priced);
    priced.exchanges.push(exchange);
  }
  return Array.from(floors.values(), ({ way, exchanges }) => ({ way, exchanges: Int32Array.from(exchanges) }));
}
