/** What a search answers, as plain data that a worker can send and a page can draw. */
import {
  closedStage,
  coordinates,
  countsText,
  deviceCount,
  devicesPerUnit,
  EstimateModel,
  fewerNodes,
  isDual,
  memorySetting,
  noPlan,
  type PlanCandidate,
  planDocument,
  type PlanDocument,
  planFacts,
  planRow,
  planTitle,
  Search,
  sensitivities,
  tieShare,
  worldSize,
} from '@monta/core';
import type { EvidenceRow } from '../subject/dropped-subject.js';
import type { AskedPlan } from './question.js';

export interface PlanProgress {
  /** Share of the layouts that are done. */
  readonly done: number;
  readonly bestSeconds: number | undefined;
}

/** One plan of the table. */
export interface PlanLine {
  /** By `planColumns`. */
  readonly cells: readonly string[];
  /** What the columns of figures are sorted by; undefined for texts. */
  readonly sortBy: readonly (number | undefined)[];
  /** Closer to the best than the estimate can tell. */
  readonly tie: boolean;
}

export interface PlanAnswer {
  readonly title: string;
  readonly lines: readonly PlanLine[];
  readonly counts: string;
  readonly document: PlanDocument;
  /** Of a topology or logs that were dropped. */
  readonly evidence?: readonly EvidenceRow[];
  readonly doubts?: readonly string[];
}

/** What takes the memory of a device, bytes. */
export interface MemoryBar {
  /** `stage 3`, or which device. */
  readonly name: string;
  /** By `PlanDetail.memoryParts`. */
  readonly parts: readonly number[];
  readonly totalBytes: number;
}

const memoryParts = ['weights', 'gradients', 'optimizer', 'activations and buffers', 'beside tensors'] as const;

/** Where a rank lies and what it holds. */
export interface GridRank {
  readonly rank: number;
  readonly at: Readonly<Record<'tp' | 'cp' | 'dp' | 'pp' | 'ep' | 'etp', number>>;
}

export interface PlanDetail {
  readonly facts: readonly (readonly [name: string, text: string])[];
  readonly memoryParts: readonly string[];
  readonly bars: readonly MemoryBar[];
  readonly capacityBytes: number;
  readonly grid: { readonly perNode: number; readonly ranks: readonly GridRank[]; readonly world: number };
}

/** Stages that are drawn at most: the first ones and the last. */
const mostStages = 16;
/** Ranks that are drawn at most. */
const mostRanks = 512;

/** A search whose answer is asked for in pieces. */
export class PlanQuest {
  readonly asked: AskedPlan;
  readonly #search: Search;

  constructor(asked: AskedPlan) {
    this.asked = asked;
    this.#search = new Search(asked.problem, new EstimateModel());
  }

  /** Searches; every step is a good moment to look whether somebody wants it to stop. Throws `InputError`. */
  *run(): Generator<PlanProgress> {
    for (const { done, best } of this.#search.run()) yield { done, bestSeconds: best?.seconds };
  }

  /** The best so far and the runners-up. Throws `InputError` where there is none, with the nearest that fits. */
  answer(): PlanAnswer {
    const { problem, names } = this.asked;
    const { result } = this.#search;
    const { best } = result;
    if (best === undefined) throw noPlan(problem, () => new EstimateModel());
    return {
      title: planTitle(problem),
      lines: this.plans.map((plan) => lineOf(plan, best)),
      counts: countsText(result),
      document: planDocument(problem, best, result, names),
    };
  }

  /** The best, then the others. */
  get plans(): readonly PlanCandidate[] {
    const { best, others } = this.#search.result;
    return best === undefined ? [] : [best, ...others];
  }

  /** Facts, memory and ranks of one plan of the table. */
  detail(index: number): PlanDetail {
    const plan = this.plans[index];
    if (plan === undefined) throw new RangeError(`there is no plan ${index}`);
    const { setting } = plan;
    const { layout, cluster } = setting;
    const world = worldSize(layout);
    return {
      facts: planFacts(plan, index === 0 ? this.plans.slice(1) : [], []),
      capacityBytes: cluster.device.memoryBytes,
      ...memoryBars(plan),
      grid: {
        perNode: Math.min(devicesPerUnit(cluster, 0), world),
        ranks: Array.from({ length: Math.min(world, mostRanks) }, (_, rank) => ({
          rank,
          at: coordinates(layout, rank),
        })),
        world,
      },
    };
  }

  /** What would change the answer: the best under other circumstances, and on one node fewer. */
  changes(): string {
    const [best, ...others] = this.plans;
    if (best === undefined) return '';
    const model = (): EstimateModel => new EstimateModel();
    const found = [...sensitivities(best, others, model), ...fewerNodes(this.asked.problem, best, model)];
    return planFacts(best, others, found).find(([name]) => name === 'If')?.[1] ?? '';
  }
}

/** Stage by stage; the fullest device whole where devices hold two stages. */
function memoryBars({ setting, memoryBytes }: PlanCandidate): Pick<PlanDetail, 'memoryParts' | 'bars'> {
  if (isDual(setting.schedule))
    return {
      memoryParts: ['weights, states and activations'],
      bars: [{ name: 'fullest device', parts: [memoryBytes], totalBytes: memoryBytes }],
    };
  const memory = memorySetting(setting);
  const { pp } = setting.layout;
  const shown = [...Array(pp).keys()].filter((stage) => pp <= mostStages || stage < mostStages - 1 || stage === pp - 1);
  const bars = shown.map((stage): MemoryBar => {
    const { states, tensorBytes, totalBytes } = closedStage(memory, stage);
    const { weights, gradients, optimizer } = states;
    const beside = totalBytes - (weights + gradients + optimizer + tensorBytes);
    return { name: `stage ${stage}`, parts: [weights, gradients, optimizer, tensorBytes, beside], totalBytes };
  });
  return { memoryParts, bars };
}

function lineOf(plan: PlanCandidate, best: PlanCandidate): PlanLine {
  const { setting, seconds, memoryBytes } = plan;
  const { globalBatch, sequence, microBatch, cluster } = setting;
  const speed = (globalBatch * sequence) / seconds / deviceCount(cluster);
  const text = undefined;
  return {
    cells: planRow(plan),
    sortBy: [text, text, microBatch, text, text, text, seconds, -speed, -speed, memoryBytes],
    tie: plan !== best && seconds / best.seconds - 1 < tieShare,
  };
}
