/** Plans of a search judged by simulating their steps: what kernels and collectives take, without a framework. */
import { priceStep, simulationConstants } from '../../estimate/index.js';
import { formatPercent, formatSeconds } from '../../units/index.js';
import type { PlanDocument } from '../document/plan-document.js';
import type { Candidate } from '../search/search.js';
import { apartNames } from '../choose-overlap.js';
import { PlanOverlaps } from '../plan-overlap.js';
import { simulateOverlapped, type NotSimulated } from '../simulated-setting.js';
import { chunksText, formatDispatch } from '../../schedule/dispatchers/strategy-names.js';
import { overlaps } from '../../schedule/overlap.js';
import type { StepShape } from '../../schedule/step-shape.js';
import type { RunSimulation } from '../simulate-run.js';
import { layoutText } from './plan-facts.js';

export interface JudgedPlan {
  readonly candidate: Candidate;
  /** In chunks and with what runs beside what as is fastest by simulation. */
  readonly simulated: RunSimulation | NotSimulated;
  /** What was simulated; absent where nothing was. */
  readonly step?: StepShape;
  /** The closed form at the prices of the simulation, seconds. */
  readonly closedSeconds: number;
}

/** How many of the best are judged where nobody says. */
export const usuallyJudged = 20;

/** Simulates plans of one search one after another, each with what of its step runs beside what chosen. */
export function* judgePlans(
  candidates: readonly Candidate[],
  options: { readonly exact: boolean },
): Generator<JudgedPlan> {
  const [first] = candidates;
  if (first === undefined) return;
  const overlaps = new PlanOverlaps(first.setting.cluster, options);
  for (const candidate of candidates) {
    const closedSeconds = priceStep({ ...candidate.setting, stack: 'eager' }, simulationConstants).seconds;
    const chosen = simulateOverlapped(candidate.setting, overlaps);
    yield 'step' in chosen
      ? { candidate, simulated: chosen.simulated, step: chosen.step, closedSeconds }
      : { candidate, simulated: chosen, closedSeconds };
  }
}

/** What of a step was chosen to run apart, and which passes in pairs; `-` where it is as usual. */
function besideText(step: StepShape | undefined): string {
  if (step === undefined) return '-';
  const apart = [...apartNames(step.overlap), ...(step.reductions === 'behind' ? ['reductions'] : [])];
  const said = [
    ...(apart.length === 0 ? [] : [`${apart.join(', ')} apart`]),
    ...(step.passes === 'beside' ? ['passes in pairs'] : []),
  ];
  return said.length === 0 ? 'all' : said.join('; ');
}

/** Heads of the columns of `judgedRow`. */
export const judgedColumns = [
  { header: 'layout' },
  { header: 'schedule', priority: 5 },
  { header: 'sharing', priority: 6 },
  { header: "experts' rows", priority: 7 },
  { header: 'beside', priority: 8 },
  { header: 'estimated', align: 'number', priority: 1 },
  { header: 'simulated', align: 'number', priority: 2 },
  { header: 'closed form at its prices', align: 'number', priority: 4 },
  { header: 'waiting', align: 'right', priority: 3 },
] as const;

/** A judged plan, by `judgedColumns`. */
export function judgedRow({ candidate: { setting, seconds }, simulated, step, closedSeconds }: JudgedPlan): string[] {
  const { schedule, sharing, dispatcher } = setting;
  const rows = step === undefined ? dispatcher : `${dispatcher}${chunksText(step.strategy.chunks)}`;
  const known = simulated.known
    ? [formatSeconds(simulated.seconds), formatSeconds(closedSeconds), formatPercent(simulated.bubbleShare)]
    : ['-', '-', '-'];
  return [layoutText(setting), schedule, sharing, rows, besideText(step), formatSeconds(seconds), ...known];
}

/** In words: which is the fastest by simulation, and what could not be simulated. */
export function judgement(judged: readonly JudgedPlan[]): string {
  const known = judged.flatMap(({ candidate, simulated }) => (simulated.known ? [{ candidate, simulated }] : []));
  const why = new Map<string, number>();
  for (const { simulated } of judged) if (!simulated.known) why.set(simulated.why, (why.get(simulated.why) ?? 0) + 1);
  const left = [...why].map(([reason, count]) => `${count} not simulated: ${reason}`);
  const [first] = known;
  const fastest = [...known].sort((a, b) => a.simulated.seconds - b.simulated.seconds)[0];
  const verdict =
    first === undefined || fastest === undefined
      ? []
      : fastest === first
        ? [`of ${known.length} simulated, the first estimated is the fastest`]
        : [
            `of ${known.length} simulated, ${layoutText(fastest.candidate.setting)} is the fastest, ` +
              `${formatPercent(first.simulated.seconds / fastest.simulated.seconds - 1)} before the first estimated`,
          ];
  return [...verdict, ...left].join('; ');
}

/** Every kind, on or off, as a training configuration has them. */
const overlapOf = ({ overlap, reductions = 'beside', passes = 'behind' }: StepShape) => ({
  chunks: overlaps(overlap, 'chunks'),
  experts: overlaps(overlap, 'experts'),
  shared: overlaps(overlap, 'shared'),
  weightGradients: overlaps(overlap, 'weightGradients'),
  reductions: reductions === 'beside',
  passes: passes === 'beside',
});

/** For the file of a plan. */
export const judgedDocument = (judged: readonly JudgedPlan[]): NonNullable<PlanDocument['judged']> =>
  judged.map(({ candidate: { setting, seconds }, simulated, step }) => ({
    layout: layoutText(setting),
    schedule: setting.schedule,
    estimatedSeconds: seconds,
    ...(simulated.known ? { simulatedSeconds: simulated.seconds } : { why: simulated.why }),
    ...(step === undefined ? {} : { dispatch: formatDispatch(step.strategy), overlap: overlapOf(step) }),
  }));
