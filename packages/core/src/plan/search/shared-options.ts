/**
 * What layouts leave open, worked out once for all that leave the same: virtual stages, splits of the layers and
 * micro-batches follow from stages and replicas, the rest from which dimensions a layout splits.
 */
import { canOrder, pipelineSchedules } from '../../estimate/index.js';
import type { Layout } from '../../layout/layout.js';
import { maxOf } from '../../units/lists.js';
import { legalBatchings, type Batching } from '../space/climb.js';
import type { PlanProblem } from '../space/problem.js';
import { runsAs } from '../space/schedules.js';
import { optionsOf, shardsKey, shardsKeys, type Options, type Way } from './options.js';

/** Points of layouts with as many stages and replicas, and the same dimensions: what they leave open is the same. */
export interface Shared {
  readonly groups: readonly Group[];
  /** What points leave open, by their sort. */
  readonly options: ReadonlyMap<number, Options>;
  /** Of all groups. */
  readonly settings: number;
  /** The largest micro-batch of a legal point. */
  readonly microBatch: number;
  /** Of the first point that leaves anything open. */
  readonly first: Options | undefined;
  /** Exchanges of rows, and precisions, of the ways of any point. */
  readonly exchanges: readonly Pick<Way, 'dispatcher' | 'precision'>[];
}

/** Batchings with the same virtual stages and layers on them, micro-batches ascending, and the sort of each. */
export interface Group {
  readonly batchings: readonly Batching[];
  readonly sorts: readonly number[];
}

/** Batchings of as many stages and replicas, and how many there are of each sort, in the order of their first. */
interface Stages {
  readonly groups: readonly Group[];
  readonly counts: ReadonlyMap<number, { readonly batching: Batching; readonly batchings: number }>;
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
      stages = byStages(legalBatchings(this.#problem, layout), layout.pp);
      this.#stages.set(place, stages);
    }
    const made = this.#sharedOf(layout, stages);
    this.#shared.set(key, made);
    return made;
  }

  #sharedOf(layout: Layout, { groups, counts }: Stages): Shared {
    let settings = 0;
    let first: Options | undefined;
    const options = new Map<number, Options>();
    const exchanges = new Map<number, Way>();
    const ofLayout = this.#keyOf(layout) * sortKeys;
    for (const [sort, { batching, batchings }] of counts) {
      const open = this.#options.get(ofLayout + sort) ?? this.#newOptions(layout, batching, ofLayout + sort);
      options.set(sort, open);
      settings += batchings * open.settings;
      if (open.settings === 0) continue;
      first ??= open;
      for (const { way, exchange } of open.branches) exchanges.set(exchange, way);
    }
    const microBatch = maxOf([1, ...groups.map(({ batchings }) => batchings.at(-1)?.microBatch ?? 1)]);
    return { groups, options, settings, microBatch, first, exchanges: [...exchanges.values()] };
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

function byStages(batchings: readonly Batching[], pp: number): Stages {
  const groups = new Map<readonly number[] | number, { readonly batchings: Batching[]; readonly sorts: number[] }>();
  const counts = new Map<number, { readonly batching: Batching; batchings: number }>();
  for (const batching of batchings) {
    const key = batching.layersOfStages ?? batching.virtualStages;
    const group = groups.get(key) ?? { batchings: [], sorts: [] };
    groups.set(key, group);
    const sort = sortOf(pp, batching);
    group.batchings.push(batching);
    group.sorts.push(sort);
    const count = counts.get(sort);
    if (count === undefined) counts.set(sort, { batching, batchings: 1 });
    else count.batchings += 1;
  }
  return { groups: [...groups.values()], counts };
}
