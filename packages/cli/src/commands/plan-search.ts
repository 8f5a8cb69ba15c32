/** `monta plan` without a layout: searches the whole space, and says why, and what would change the answer. */
import {
  type PlanCandidate as Candidate,
  countParameters,
  deviceCount,
  EstimateModel,
  formatBytes,
  formatInteger,
  formatPercent,
  InputError,
  nearestPlan,
  oneNodeFewer,
  planDocument,
  type PlanProblem,
  Search,
  type SearchResult,
  sensitivities,
  type Sensitivity,
} from '@monta/core';
import type { MontaContext } from '../context.js';
import { Interrupted } from '../errors.js';
import { writeFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts } from '../output/table.js';
import { withLatencies } from './cost-flags.js';
import { sequenceOf } from './layer-inputs.js';
import type { PlanFlags } from './plan.command.js';
import { drive } from './plan-progress.js';
import { countsText, layoutText, planFacts, planTable, planTitle, shownOthers } from './plan-text.js';
import { boundsOf } from './search-flags.js';

const leastBatch = 256;

/** Reads what is searched. Throws `InputError`. */
function problemOf(flags: PlanFlags): PlanProblem {
  const cluster = withLatencies(loadCluster(flags.cluster), flags.latency);
  const model = loadModel(flags.model);
  const devices = deviceCount(cluster);
  if (flags.dtype !== 'bf16')
    throw new InputError(`layouts are priced in bf16, not ${flags.dtype}`, { file: '--dtype', expected: 'bf16' });
  const { sharing, recompute, schedule, framework } = flags;
  return {
    model,
    cluster,
    sequence: sequenceOf(flags, model),
    globalBatch: flags.globalBatch ?? devices * Math.ceil(leastBatch / devices),
    bounds: boundsOf(flags),
    fixed: {
      ...(sharing === undefined ? {} : { sharing }),
      ...(recompute === undefined ? {} : { recompute }),
      ...(schedule === undefined ? {} : { schedule }),
    },
    precision: flags.compute ?? 'bf16',
    states: flags.precision ?? 'mixed',
    stack: flags.stack ?? 'fused',
    imbalance: flags.imbalance,
    ...(framework === undefined ? {} : { framework }),
  };
}

/** Why there is no plan, and what is near and fits. */
function noPlan(problem: PlanProblem): InputError {
  const { model, cluster } = problem;
  const nearest = nearestPlan(problem, () => new EstimateModel());
  const { total } = countParameters(model);
  return new InputError(
    `no layout of ${model.name} (${formatInteger(Math.round(total / 1e9))} billion parameters) fits on ` +
      `${formatInteger(deviceCount(cluster))} x ${formatBytes(cluster.device.memoryBytes, 'binary')}`,
    {
      path: 'plan',
      expected: 'more devices, more memory, or fewer bounds',
      hint:
        nearest === undefined
          ? `nothing near fits on this kind of cluster`
          : `the nearest that fits: ${layoutText(nearest.best.setting)} on ` +
            `${formatInteger(deviceCount(nearest.cluster))} ` +
            `devices (${formatBytes(nearest.best.memoryBytes, 'binary')} each)` +
            (nearest.change === 'nothing is fixed' ? ', with nothing fixed' : ''),
    },
  );
}

/** The best plan on one node fewer: another search, since degrees change. */
function onFewer(problem: PlanProblem, best: Candidate): Sensitivity[] {
  const cluster = oneNodeFewer(problem.cluster);
  if (cluster === undefined) return [];
  const name = `one node fewer (${formatInteger(deviceCount(cluster))} devices)`;
  const search = new Search({ ...problem, cluster }, new EstimateModel());
  try {
    for (const _ of search.run());
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
  }
  const found = search.result.best;
  if (found === undefined)
    return [{ name: `${name}: no layout; heads, experts and batch do not divide`, speed: 0, fits: false }];
  return [{ name, speed: best.seconds / found.seconds, fits: true, flipsTo: found.setting }];
}

/** Runs the command. Throws `InputError` for bad input and where nothing fits, `Interrupted` behind the best so far. */
export async function runPlanSearch({ console }: MontaContext, flags: PlanFlags): Promise<void> {
  const problem = problemOf(flags);
  const search = new Search(problem, new EstimateModel());
  const complete = await drive(search, console);
  const { result } = search;
  const { best } = result;
  if (best === undefined) throw complete ? noPlan(problem) : new Interrupted('interrupted: no plan was found yet');
  const document = planDocument(problem, best, result, { model: flags.model, cluster: flags.cluster });
  if (flags.output !== undefined) writeFile(flags.output, `${JSON.stringify(document, null, 2)}\n`);
  if (flags.json) console.json(document);
  else show({ console, flags, problem, result, best });
  if (!complete) throw new Interrupted(`interrupted: the best of ${formatPercent(doneShare(result))} of the space`);
}

const doneShare = ({ counts }: SearchResult): number =>
  (counts.prunedByMemory + counts.prunedByTime + counts.priced) / counts.represented;

function show({
  console,
  flags,
  problem,
  result,
  best,
}: {
  readonly console: Console;
  readonly flags: PlanFlags;
  readonly problem: PlanProblem;
  readonly result: SearchResult;
  readonly best: Candidate;
}): void {
  const { style } = console;
  const others = shownOthers(result.others);
  console.print(`${style.bold(planTitle(problem))}\n`);
  console.print(`${planTable([best, ...others], style, 0)}\n`);
  const changes =
    flags.flips && result.complete
      ? [...sensitivities(best, others, () => new EstimateModel()), ...onFewer(problem, best)]
      : [];
  const facts = planFacts(best, others, changes);
  facts.push(['Searched', countsText(result)]);
  facts.push([
    'Rests on',
    'the closed form of a step (docs/planning.md), with constants fitted to published runs: nothing is measured here',
  ]);
  if (flags.output !== undefined) facts.push(['Plan', flags.output]);
  console.print(renderFacts(facts, style));
}
