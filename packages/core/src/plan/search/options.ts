/** What a point of the space leaves open: how experts' rows travel, the pipeline's schedule, who keeps what. */
import { sharingRules, type MegatronModule, type SharingName, type WeightShards } from '../../memory/index.js';
import {
  canOrder,
  computePrecisions,
  dispatchKinds,
  hostOf,
  rankOrders,
  shardSizes,
  shardsOf,
  type ComputePrecision,
  type DispatchKind,
  type PipelineSchedule,
  type RankOrder,
  type RecomputeSetting,
} from '../../estimate/index.js';
import type { Layout } from '../../layout/layout.js';
import type { MoeModel } from '../../model/model.js';
import { limitsOf } from '../space/frameworks.js';
import type { PlanProblem, SpacePoint } from '../space/problem.js';
import { runsAs, wantedSchedules } from '../space/schedules.js';

/** How passes run; memory hardly depends on it. */
export interface Way {
  readonly dispatcher: DispatchKind;
  readonly schedule: PipelineSchedule;
  /** Whether the experts' exchange runs beside the passes of another micro-batch. */
  readonly overlapsExperts: boolean;
  /** Of matrix products. */
  readonly precision: ComputePrecision;
  readonly rankOrder: RankOrder;
}

/** What is kept, and by whom: more time for less memory. */
export interface Keeping {
  readonly sharing: SharingName;
  readonly recompute: RecomputeSetting;
  /** Whether the optimizer's states lie in the host's memory. */
  readonly hostStates: boolean;
  readonly weightShards: WeightShards | undefined;
}

/** A way, and what may be kept under it. */
export interface Branch {
  readonly way: Way;
  /** `exchangeOf` of the way. */
  readonly exchange: number;
  /** Of its schedule, by what a stage keeps: 0 but for DualPipe and DualPipe in a V. */
  readonly sort: number;
  /** Without those that another way outdoes. */
  readonly keepings: readonly Keeping[];
  /** Legal settings of the way, outdone ones too. */
  readonly settings: number;
}

export interface Options {
  readonly ways: readonly Way[];
  /** Those that cost least time first; the first is no slower than any other. */
  readonly keepings: readonly Keeping[];
  readonly branches: readonly Branch[];
  /** Of the branches, each once. */
  readonly schedules: readonly PipelineSchedule[];
  /** Legal settings of all ways. */
  readonly settings: number;
}

const known = new WeakMap<MoeModel, readonly RecomputeSetting[]>();

/**
 * Recomputation from nothing to everything, module by module. Attention's core is not among it: kernels that keep no
 * scores leave nothing to drop.
 */
function recomputesOfModel(model: MoeModel): readonly RecomputeSetting[] {
  const found = known.get(model);
  if (found !== undefined) return found;
  const choices: readonly (readonly (readonly MegatronModule[])[])[] = [
    [[], ['layernorm']],
    ...(model.moeLayers.includes(false) ? [[[], ['mlp']] as const] : []),
    // Experts that run again have nothing left to keep of their activation.
    ...(model.moeLayers.includes(true) ? [[[], ['moe_act'], ['moe']] as const] : []),
  ];
  let sets: readonly (readonly MegatronModule[])[] = [[]];
  for (const choice of choices) sets = sets.flatMap((set) => choice.map((modules) => [...set, ...modules]));
  const [, ...some] = [...sets].sort((a, b) => a.length - b.length);
  const all: readonly RecomputeSetting[] = ['none', ...some, 'full'];
  known.set(model, all);
  return all;
}

/** Recomputation that a model has something for: nothing first, everything last. */
function recomputesOf(problem: PlanProblem): readonly RecomputeSetting[] {
  const { model, fixed } = problem;
  if (fixed.recompute !== undefined) return [fixed.recompute];
  const { recomputes } = limitsOf(problem);
  if (recomputes === false) return ['none'];
  return recomputes === true ? recomputesOfModel(model) : recomputes;
}

function sharingsOf(problem: PlanProblem, { layout }: SpacePoint): readonly SharingName[] {
  const { fixed } = problem;
  if (fixed.sharing !== undefined) return [fixed.sharing];
  const { sharings, shardsInPipelines } = limitsOf(problem);
  const { dp, cp, pp, edp } = layout;
  // Where nobody else holds the same parameters, all rules of sharing say the same.
  if (dp * cp === 1 && edp === 1) return sharings.slice(0, 1);
  return sharings.filter((name) => pp === 1 || shardsInPipelines || !sharingRules[name].gradients);
}

/** Where the optimizer's states may lie: on the device first. */
function hostStatesOf(problem: PlanProblem, sharing: SharingName): readonly boolean[] {
  const { fixed, cluster } = problem;
  const can = limitsOf(problem).hostStates.includes(sharing) && hostOf(cluster.device) !== undefined;
  return [false, true].filter((host) => (host ? can : true) && (fixed.hostStates ?? host) === host);
}

/** Precisions whose weights Megatron-Core gathers as shards without more being asked. */
const gathered: readonly ComputePrecision[] = ['bf16', 'fp8'];

/** Weight shards under a rule that splits the optimizer alone: none first. */
function weightShardsOf(
  problem: PlanProblem,
  layout: Layout,
  sharing: SharingName,
): readonly (WeightShards | undefined)[] {
  const { model, fixed } = problem;
  const can =
    limitsOf(problem).weightShards.includes(sharing) && precisionsOf(problem).some((one) => gathered.includes(one));
  const { weightShards: wanted } = fixed;
  if (wanted === undefined) return can ? shardsOf(layout, model.moeLayers.includes(true)) : [undefined];
  if (wanted.dense === 1 && wanted.expert === 1) return [undefined];
  return can && hasRanksFor(wanted, layout) ? [wanted] : [];
}

const hasRanksFor = ({ dense, expert }: WeightShards, { dp, edp }: Layout): boolean =>
  dp % dense === 0 && edp % expert === 0;

/** Below `shardsKeys`, and the same for layouts that have ranks for the same shards. */
export function shardsKey({ fixed: { weightShards: wanted } }: PlanProblem, layout: Layout): number {
  if (wanted !== undefined) return Number(hasRanksFor(wanted, layout));
  return sizesDividing(layout.dp) * (shardSizes.length + 1) + sizesDividing(layout.edp);
}
export const shardsKeys = (shardSizes.length + 1) ** 2;

function sizesDividing(ranks: number): number {
  let count = 0;
  while (count < shardSizes.length && ranks % (shardSizes[count] ?? 1) === 0) count += 1;
  return count;
}

/** Empty where the schedules that a person fixed do not go with the stages. */
const schedulesOf = (problem: PlanProblem, point: SpacePoint): PipelineSchedule[] =>
  wantedSchedules(problem).filter((schedule) => runsAs(schedule, point.layout.pp, point));

/** How rows can travel; all ways are one where a rank holds all experts whole. */
function dispatchersOf(problem: PlanProblem, { layout }: SpacePoint): readonly DispatchKind[] {
  const { model, fixed } = problem;
  const { dispatchers } = limitsOf(problem);
  if (!exchanges(model, layout)) return dispatchers.slice(0, 1);
  return fixed.dispatcher === undefined ? dispatchers : [fixed.dispatcher];
}

const exchanges = ({ moeLayers }: MoeModel, { ep, etp }: Layout): boolean => ep * etp > 1 && moeLayers.includes(true);

/** Precisions to choose from. */
const precisionsOf = ({ precision, precisions }: PlanProblem): readonly ComputePrecision[] => precisions ?? [precision];

/** Ways of a point: experts' exchange can hide beside another micro-batch, interleaved where there is a pipeline. */
function waysOf(problem: PlanProblem, point: SpacePoint): Way[] {
  const { layout, virtualStages, microBatches } = point;
  const hides =
    limitsOf(problem).overlapsExperts &&
    exchanges(problem.model, layout) &&
    microBatches > 1 &&
    (layout.pp === 1 || virtualStages > 1);
  const schedules = schedulesOf(problem, point);
  const [dispatchers, precisions] = [dispatchersOf(problem, point), precisionsOf(problem)];
  const orders = rankOrders.filter(
    (order) =>
      canOrder(layout, order) &&
      limitsOf(problem).rankOrders.includes(order) &&
      (problem.fixed.rankOrder ?? order) === order,
  );
  return dispatchers.flatMap((dispatcher) =>
    schedules.flatMap((schedule) =>
      precisions.flatMap((precision) =>
        orders.flatMap((rankOrder): Way[] => {
          const plain = { dispatcher, schedule, precision, rankOrder, overlapsExperts: false };
          return hides && dispatcher !== 'gathered' ? [{ ...plain, overlapsExperts: true }, plain] : [plain];
        }),
      ),
    ),
  );
}

/** A number for how rows travel in which precision: what bounds of a layout tell apart. */
export const exchangeOf = ({ dispatcher, precision }: Pick<Way, 'dispatcher' | 'precision'>): number =>
  dispatchKinds.indexOf(dispatcher) * computePrecisions.length + computePrecisions.indexOf(precision);

/** Numbers that `exchangeOf` gives. */
export const exchangeKinds = dispatchKinds.length * computePrecisions.length;

/** What may be kept, and those of it that are chosen from, by what chooses them. */
interface Keepings {
  readonly all: readonly Keeping[];
  readonly lists: Map<string, readonly Keeping[]>;
}

const knownKeepings = new WeakMap<PlanProblem, Map<string, Keepings>>();

/** Of a point: the same lists for all points that leave the same open, of which there are few. */
function keepingsOf(problem: PlanProblem, point: SpacePoint): Keepings {
  const { dp, cp, pp, edp } = point.layout;
  const ofProblem = knownKeepings.get(problem) ?? new Map<string, Keepings>();
  knownKeepings.set(problem, ofProblem);
  const key = `${dp * cp === 1 && edp === 1} ${pp === 1} ${shardsKey(problem, point.layout)}`;
  const found = ofProblem.get(key);
  if (found !== undefined) return found;
  const recomputes = recomputesOf(problem);
  const all = sharingsOf(problem, point).flatMap((sharing) =>
    hostStatesOf(problem, sharing).flatMap((hostStates) =>
      weightShardsOf(problem, point.layout, sharing).flatMap((weightShards) =>
        recomputes.map((recompute) => ({ sharing, hostStates, weightShards, recompute })),
      ),
    ),
  );
  const made = { all, lists: new Map<string, readonly Keeping[]>() };
  ofProblem.set(key, made);
  return made;
}

/** All that a point leaves open. */
export function optionsOf(problem: PlanProblem, point: SpacePoint): Options {
  const { all: keepings, lists } = keepingsOf(problem, point);
  const ways = waysOf(problem, point).filter((way) => keepings.some((keeping) => goTogether(way, keeping)));
  // Of many ways the same may be kept: lists are made once.
  const listOf = (key: string, of: readonly Keeping[], holds: (keeping: Keeping) => boolean): readonly Keeping[] => {
    const known = lists.get(key) ?? of.filter(holds);
    lists.set(key, known);
    return known;
  };
  const limitsKey = ({ overlapsExperts, rankOrder, precision }: Way): string =>
    `${overlapsExperts} ${rankOrder} ${gathered.includes(precision)}`;
  const branches = ways.map((way): Branch => {
    const legal = listOf(limitsKey(way), keepings, (keeping) => goTogether(way, keeping));
    const better = ways.filter((other) => outdoes(other, way));
    const sorts = [...new Set(better.map(limitsKey))].sort().join(', ');
    const open =
      better.length === 0
        ? legal
        : listOf(`${limitsKey(way)} but ${sorts}`, legal, (one) => !better.some((other) => goTogether(other, one)));
    const { schedule } = way;
    const sort = schedule === 'dualpipe' ? 1 : schedule === 'dualpipe-v' ? 2 : 0;
    return { way, exchange: exchangeOf(way), sort, keepings: open, settings: legal.length };
  });
  const settings = branches.reduce((sum, branch) => sum + branch.settings, 0);
  return { ways, keepings, branches, schedules: [...new Set(ways.map(({ schedule }) => schedule))], settings };
}

/**
 * Whether a way does the same as another with less communication in sight and no more memory: tokens that cross once a
 * domain instead of once an expert, an exchange beside other work instead of before it.
 */
const outdoes = (way: Way, other: Way): boolean =>
  way !== other &&
  way.schedule === other.schedule &&
  way.precision === other.precision &&
  way.rankOrder === other.rankOrder &&
  (way.dispatcher === other.dispatcher || (way.dispatcher === 'deduplicated' && other.dispatcher === 'all_to_all')) &&
  (way.overlapsExperts || !other.overlapsExperts);

/**
 * Exchanges that run beside another micro-batch leave no room for computing a whole layer again (Megatron-Core); weight
 * shards lie inside stages, and are gathered in few precisions.
 */
export const goTogether = (
  { overlapsExperts, rankOrder, precision }: Way,
  { recompute, weightShards }: Keeping,
): boolean =>
  !(overlapsExperts && recompute === 'full') &&
  (weightShards === undefined || (rankOrder === 'dp-pp' && gathered.includes(precision)));

const sharedKeepings = new WeakMap<readonly Keeping[], readonly (readonly Keeping[])[]>();

/** Keepings that differ in recomputation alone, which lie together. */
export function bySharing(keepings: readonly Keeping[]): readonly (readonly Keeping[])[] {
  const known = sharedKeepings.get(keepings);
  if (known !== undefined) return known;
  const alike: Keeping[][] = [];
  for (const keeping of keepings) {
    const last = alike.at(-1);
    const like = last?.[0];
    if (
      like?.sharing === keeping.sharing &&
      like.hostStates === keeping.hostStates &&
      like.weightShards === keeping.weightShards
    )
      last?.push(keeping);
    else alike.push([keeping]);
  }
  sharedKeepings.set(keepings, alike);
  return alike;
}
