/** Plans of whole runs: found, read back, explained, compared, written as flags. */
import { deviceCount } from '../cluster/index.js';
import { exportOfSetting, exportPlan as exportFlags, type ExportTarget } from '../frameworks/index.js';
import { parseLayout, type Layout } from '../layout/index.js';
import { comparePlans, planDocument, pricedPlan, readPlan as readDocument } from '../plan/document/index.js';
import type { PlanComparison, PricedPlan } from '../plan/document/index.js';
import {
  EstimateModel,
  fewerNodes,
  noPlan,
  parseAllowed,
  planFacts,
  planProblem,
  Search,
  sensitivities,
  type AxisName,
  type Bounds,
  type FrameworkName,
  type PlanProblem,
} from '../plan/index.js';
import { checkedWorkload, clusterOf, modelOf, namesOf, type Subject, type Workload } from './subject.js';

/** What `plan` is asked. */
export interface PlanQuestion extends Subject {
  /** Degrees to keep, as `tp=2,dp=8,ep=8`; left out, they are searched. */
  readonly layout?: string;
  readonly workload?: Workload;
  /** Bounds of single degrees, each as `4`, `1..8` or `2,4,8`. */
  readonly bounds?: Readonly<Partial<Record<AxisName, string>>>;
  /** What has to run the plan. Left out: whatever Monta can price. */
  readonly framework?: FrameworkName;
  /** What is fixed beside the degrees. */
  readonly fixed?: PlanProblem['fixed'];
}

const exactly = (value: number) => ({ min: value, max: value });

const keptDegrees = ({ tp, cp, dp, pp, ep, etp }: Layout): Bounds => ({
  tp: exactly(tp),
  cp: exactly(cp),
  dp: exactly(dp),
  pp: exactly(pp),
  ep: exactly(ep),
  etp: exactly(etp),
});

function problemOf(question: PlanQuestion): PlanProblem {
  const [model, cluster] = [modelOf(question), clusterOf(question)];
  const { sequence, microBatch, globalBatch } = checkedWorkload(question.workload);
  const given = Object.entries(question.bounds ?? {}).map(([axis, text]) => [axis, parseAllowed(text)] as const);
  const bounds: Bounds = {
    ...Object.fromEntries(given),
    ...(microBatch === undefined ? {} : { microBatch: exactly(microBatch) }),
    ...(question.layout === undefined ? {} : keptDegrees(parseLayout(question.layout, deviceCount(cluster)))),
  };
  const { framework, fixed } = question;
  return planProblem({ model, cluster, sequence, globalBatch, bounds, framework, fixed });
}

/**
 * The fastest step that fits: degrees, virtual stages, micro-batches, schedule, exchange, sharing and recomputation.
 * With a layout the rest is searched. The times are predicted, in closed form; docs/planning.md says how. Throws
 * `InputError` for bad input, and where nothing fits, with the nearest that does.
 *
 * @example
 * const { document, others } = plan({ model: 'olmoe-1b-7b', cluster: 'h100-1x8' });
 * const { layout, expected } = document;
 * console.log(layout.includes('ep=8'), expected.memoryBytes <= 80 * 2 ** 30, others.length > 0);
 * // true true true
 *
 * @example
 * const workload = { sequence: 8192, globalBatch: 64 };
 * const kept = plan({ model: '2x70b', cluster: 'a800-8x8', layout: 'tp=8,pp=8,ep=1', workload });
 * console.log(kept.best.setting.layout.pp, kept.document.sequence);
 * // 8 8192
 */
export function plan(question: PlanQuestion): PricedPlan {
  const problem = problemOf(question);
  const search = new Search(problem, new EstimateModel());
  const run = search.run();
  while (run.next().done !== true);
  const { result } = search;
  if (result.best === undefined) throw noPlan(problem, () => new EstimateModel());
  const document = planDocument(problem, result.best, result, namesOf(question));
  return { document, best: result.best, others: result.others };
}

/**
 * A plan from its file, as `monta plan --output` writes it, priced as this version prices it. Model and cluster are
 * those that the file names, unless they are given: they have to be where the file names files of its own. Throws
 * `InputError`.
 *
 * @example
 * const found = plan({ model: 'olmoe-1b-7b', cluster: 'h100-1x8', layout: 'dp=8,ep=8' });
 * const written = JSON.stringify(found.document);
 * console.log(readPlan(written).best.setting.layout.ep);
 * // 8
 */
export function readPlan(text: string, subject: Partial<Subject> = {}): PricedPlan {
  const document = readDocument(text, 'plan');
  const named = { model: document.model, cluster: document.cluster, ...subject };
  return pricedPlan(document, modelOf(named), clusterOf(named));
}

/** A statement about a plan. */
export interface Fact {
  /** `Why`, `Overlap`, `Bytes`, `Memory`, `Bounds`, `Margin`, `If`, `Ranks`. */
  readonly name: string;
  readonly text: string;
}

/**
 * Why a plan is as it is: what binds, what overlap hides, bytes by dimension and tier, memory, bounds, how far the
 * next one is, and what would change the answer.
 *
 * @example
 * const facts = explain(plan({ model: 'olmoe-1b-7b', cluster: 'h100-1x8', layout: 'dp=8,ep=8' }));
 * console.log(facts.map(({ name }) => name).join(' '));
 * // Why Overlap Bytes Memory Bounds If Ranks
 */
export function explain({ best, others }: PricedPlan): Fact[] {
  const prices = (): EstimateModel => new EstimateModel();
  const { model, cluster, sequence, globalBatch } = best.setting;
  const problem = planProblem({ model, cluster, sequence, globalBatch });
  const changes = [...sensitivities(best, others, prices), ...fewerNodes(problem, best, prices)];
  return planFacts(best, others, changes).map(([name, text]) => ({ name, text }));
}

/**
 * Two plans beside each other: fields that differ, seconds of every part, and the speed of the second over the first.
 *
 * @example
 * const subject = { model: 'olmoe-1b-7b', cluster: 'h100-1x8' };
 * const [first, second] = ['dp=8,ep=8', 'tp=8,dp=1'].map((layout) => plan({ ...subject, layout }));
 * const { chosen, speed, tie } = compare(first, second);
 * console.log(chosen[0].field, speed < 1, tie);
 * // layout true false
 */
export const compare = (first: PricedPlan, second: PricedPlan): PlanComparison => comparePlans(first, second);

/** Flags of a plan. */
export interface ExportedPlan {
  /** A script, a configuration or a file, as the target has it. */
  readonly text: string;
  /** What a person has to know beside it. */
  readonly notes: readonly string[];
}

/**
 * A plan as flags of a framework: `megatron`, `bridge`, `deepspeed`, `torchtitan`, or a whole launch by `torchrun` or
 * `slurm`. Throws `InputError` for what the framework cannot run.
 *
 * @example
 * const found = plan({ model: 'olmoe-1b-7b', cluster: 'h100-1x8', layout: 'dp=8,ep=8', framework: 'megatron' });
 * console.log(exportPlan(found, 'megatron').text.includes('--expert-model-parallel-size 8'));
 * // true
 */
export function exportPlan({ best }: PricedPlan, target: ExportTarget): ExportedPlan {
  const { text, notes } = exportFlags(exportOfSetting(best.setting), target);
  return { text, notes };
}
