/** `monta plan` without a layout: searches the whole space, and says why, and what would change the answer. */
import type { Cluster, JudgedPlan, PlanCandidate as Candidate, PlanProblem, SearchResult } from '@monta/core';
import { formatPercent, InputError } from '@monta/core/units';
import { occupiedCluster } from '@monta/core/cluster';
import {
  countsText,
  estimatedAnew,
  EstimateModel,
  fewerNodes,
  judgedColumns,
  judgedDocument,
  judgedRow,
  judgement,
  noPlan,
  planFacts,
  planProblem,
  plansToJudge,
  planTitle,
  Search,
  searchToJudge,
  sensitivities,
  shownOthers,
  stepOfSetting,
  usuallyJudged,
} from '@monta/core/plan';
import type { MontaContext } from '../context.js';
import { Interrupted } from '../errors.js';
import { writeFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import { costFlags, withLatencies } from './cost-flags.js';
import { sequenceOf, stepFlags } from './layer-inputs.js';
import { checkImbalanceOf } from './memory-flags.js';
import type { PlanFlags } from './plan.flags.js';
import { drive, judge } from './plan-progress.js';
import { planTable } from './plan-text.js';
import { boundsOf } from './search-flags.js';

const { latency: _latency, ...priceFlags } = costFlags;
const { sequence: _sequence, ...layerFlags } = stepFlags;
const besides = ['exchange', 'pagedStash', 'routing', 'scope', 'seed', 'calibration'] as const;

/** Flags of one layer under a layout, which a search does not follow. */
const ofLayout = [
  ...(Object.keys(priceFlags) as (keyof typeof priceFlags)[]),
  ...(Object.keys(layerFlags) as (keyof typeof layerFlags)[]),
  ...besides,
];

/** What they are when nobody gives them; undefined for the others. */
const usual: Partial<PlanFlags> = {
  algorithm: 'nccl',
  library: 'nccl',
  sequences: 1,
  microBatches: 1,
  exchange: 'nccl',
  routing: { kind: 'uniform' },
  scope: 'layer',
  seed: 1,
};

/** Throws `InputError` for flags of one layer, beside no layout. */
function refuseOfLayout(flags: PlanFlags): void {
  const given = ofLayout.find((key) => JSON.stringify(flags[key]) !== JSON.stringify(usual[key]));
  if (given === undefined) return;
  throw new InputError('is of one layout, and a search does not follow it', {
    file: `--${given.replaceAll(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`)}`,
    expected: '--layout beside it',
  });
}

/** The cluster, or as many of its devices as are to be used. Throws `InputError`. */
function searchedCluster({ cluster: name, latency, devices }: PlanFlags, console: Console): Cluster {
  const cluster = withLatencies(loadCluster(name, console), latency);
  if (devices === undefined) return cluster;
  try {
    return occupiedCluster(cluster, devices);
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: '--devices' }) : error;
  }
}

/** Reads what is searched. Throws `InputError`. */
function problemOf(flags: PlanFlags, console: Console): PlanProblem {
  const cluster = searchedCluster(flags, console);
  const model = loadModel(flags.model);
  if (flags.dtype !== 'bf16')
    throw new InputError(`layouts are priced in bf16, not ${flags.dtype}`, { file: '--dtype', expected: 'bf16' });
  refuseOfLayout(flags);
  checkImbalanceOf(flags, model);
  const { globalBatch, compute, precision: states, stack, imbalance, framework } = flags;
  const { sharing, recompute, schedule, dispatcher, rankOrder, hostStates } = flags;
  const weightShards =
    flags.weightShards === undefined && flags.expertWeightShards === undefined
      ? undefined
      : { dense: flags.weightShards ?? 1, expert: flags.expertWeightShards ?? 1 };
  return planProblem({
    model,
    cluster,
    sequence: sequenceOf(flags, model),
    globalBatch,
    bounds: boundsOf(flags),
    fixed: { sharing, recompute, schedule, dispatcher, rankOrder, hostStates, weightShards },
    precision: compute,
    states,
    stack,
    imbalance,
    framework,
  });
}

/** Runs the command. Throws `InputError` for bad input and where nothing fits, `Interrupted` behind the best so far. */
export async function runPlanSearch({ console }: MontaContext, flags: PlanFlags): Promise<void> {
  const problem = problemOf(flags, console);
  const search = new Search(problem, new EstimateModel());
  const complete = await drive(search, console);
  const { result } = search;
  const { best } = result;
  if (best === undefined)
    throw complete ? noPlan(problem, () => new EstimateModel()) : new Interrupted('interrupted: no plan was found yet');
  const wanted = judgedPlans(flags);
  const judged =
    wanted > 0 && complete
      ? await judge(await havingPrograms(problem, result, { count: wanted, console }), wanted, flags)
      : [];
  const found: FoundPlan = { console, flags, problem, result, best, judged };
  if (flags.output !== undefined || flags.json) await writePlan(found);
  if (!flags.json) show(found);
  if (!complete) throw new Interrupted(`interrupted: the best of ${formatPercent(doneShare(result))} of the space`);
}

/** How many plans are judged. */
const judgedPlans = ({ judge: wanted, exact }: PlanFlags): number => wanted ?? (exact ? usuallyJudged : 0);

/** So many whose step can be simulated; where there are none the best, which says why it cannot be. */
async function havingPrograms(
  problem: PlanProblem,
  { best, others }: SearchResult,
  { count, console }: { readonly count: number; readonly console: Console },
) {
  const search = searchToJudge(problem, count);
  const found = await drive(search, console).then(
    () => search.result,
    (error: unknown) => {
      if (error instanceof InputError) return undefined;
      throw error;
    },
  );
  if (found?.best !== undefined) return estimatedAnew(problem, plansToJudge(problem, found, count));
  return [best, ...others].filter((plan) => plan !== undefined);
}

/**
 * What of a layer's program the closed form does not choose, and what does. Other frameworks than Monta's have no
 * chunks to choose.
 */
function chunksText({ model, framework = 'monta' }: PlanProblem, { setting }: Candidate): string | undefined {
  if (framework !== 'monta' || !model.moeLayers.includes(true)) return undefined;
  const step = stepOfSetting(setting);
  const judged = 'chooses chunks, and what of a layer runs beside what, by simulation (some seconds a plan)';
  return 'known' in step
    ? `one a pass, as this plan is no program here (${step.why}): of the fastest that are, --judge 5 ${judged}`
    : `one a pass: --judge 5 beside the same flags ${judged}`;
}

const doneShare = ({ counts }: SearchResult): number =>
  (counts.prunedByMemory + counts.prunedByTime + counts.priced) / counts.represented;

/** What a search found, and for whom. */
interface FoundPlan {
  readonly console: Console;
  readonly flags: PlanFlags;
  readonly problem: PlanProblem;
  readonly result: SearchResult;
  readonly best: Candidate;
  readonly judged: readonly JudgedPlan[];
}

/** The plan as a document, to a file and to the console as asked. Throws `InputError` when it cannot be written. */
async function writePlan({ console, flags, problem, result, best, judged }: FoundPlan): Promise<void> {
  const { planDocument } = await import('@monta/core/plan/document');
  const document = {
    ...planDocument(problem, best, result, { model: flags.model, cluster: flags.cluster }),
    ...(judged.length === 0 ? {} : { judged: judgedDocument(judged) }),
  };
  if (flags.output !== undefined) writeFile(flags.output, `${JSON.stringify(document, null, 2)}\n`);
  if (flags.json) console.json(document);
}

function show({ console, flags, problem, result, best, judged }: FoundPlan): void {
  const { style } = console;
  const others = shownOthers(result.others);
  console.print(`${style.bold(planTitle(problem))}\n`);
  console.print(`${planTable([best, ...others], style, 0)}\n`);
  if (judged.length > 0) console.print(`${renderTable(judgedColumns, judged.map(judgedRow), { style })}\n`);
  const changes =
    flags.flips && result.complete
      ? [
          ...sensitivities(best, others, () => new EstimateModel()),
          ...fewerNodes(problem, best, () => new EstimateModel()),
        ]
      : [];
  const facts = planFacts(best, others, changes);
  if (judged.length > 0) facts.push(['Judged', judgement(judged)]);
  const chunks = chunksText(problem, best);
  if (judged.length === 0 && chunks !== undefined) facts.push(['Chunks', chunks]);
  facts.push(['Searched', countsText(result)]);
  facts.push([
    'Rests on',
    'the closed form of a step (docs/planning.md), with constants fitted to published runs: nothing is measured here',
  ]);
  if (flags.output !== undefined) facts.push(['Plan', flags.output]);
  console.print(renderFacts(facts, style));
}
