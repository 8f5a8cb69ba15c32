/** Plans of a search judged by simulating their steps: what kernels and collectives take, without a framework. */
import { priceStep, simulationConstants } from '../../estimate/index.js';
import { formatPercent, formatSeconds } from '../../units/index.js';
import type { PlanDocument } from '../document/plan-document.js';
import type { Candidate } from '../search/search.js';
import { simulateSetting, type NotSimulated } from '../simulated-setting.js';
import type { RunSimulation } from '../simulate-run.js';
import { layoutText } from './plan-facts.js';

export interface JudgedPlan {
  readonly candidate: Candidate;
  readonly simulated: RunSimulation | NotSimulated;
  /** The closed form at the prices of the simulation, seconds. */
  readonly closedSeconds: number;
}

/** How many of the best are judged where nobody says. */
export const usuallyJudged = 20;

/** Simulates plans one after another. */
export function* judgePlans(
  candidates: readonly Candidate[],
  options: { readonly exact: boolean },
): Generator<JudgedPlan> {
  for (const candidate of candidates) {
    const closedSeconds = priceStep({ ...candidate.setting, stack: 'eager' }, simulationConstants).seconds;
    yield { candidate, simulated: simulateSetting(candidate.setting, options), closedSeconds };
  }
}

/** Heads of the columns of `judgedRow`. */
export const judgedColumns = [
  { header: 'layout' },
  { header: 'schedule', priority: 5 },
  { header: 'sharing', priority: 6 },
  { header: "experts' rows", priority: 7 },
  { header: 'estimated', align: 'number', priority: 1 },
  { header: 'simulated', align: 'number', priority: 2 },
  { header: 'closed form at its prices', align: 'number', priority: 4 },
  { header: 'waiting', align: 'right', priority: 3 },
] as const;

/** A judged plan, by `judgedColumns`. */
export function judgedRow({ candidate: { setting, seconds }, simulated, closedSeconds }: JudgedPlan): string[] {
  const { schedule, sharing, dispatcher } = setting;
  const known = simulated.known
    ? [formatSeconds(simulated.seconds), formatSeconds(closedSeconds), formatPercent(simulated.bubbleShare)]
    : ['-', '-', '-'];
  return [layoutText(setting), schedule, sharing, dispatcher, formatSeconds(seconds), ...known];
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

/** For the file of a plan. */
export const judgedDocument = (judged: readonly JudgedPlan[]): NonNullable<PlanDocument['judged']> =>
  judged.map(({ candidate: { setting, seconds }, simulated }) => ({
    layout: layoutText(setting),
    schedule: setting.schedule,
    estimatedSeconds: seconds,
    ...(simulated.known ? { simulatedSeconds: simulated.seconds } : { why: simulated.why }),
  }));
