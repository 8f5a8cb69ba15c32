/** Says why a run does what it does: sentences on a choice of dispatch, and on trials where there were any. */
import { sameSums } from '../schedule/dispatchers/strategies.js';
import { strategyLabel } from '../schedule/dispatchers/strategy-names.js';
import { formatInteger, formatSeconds, median } from '../units/index.js';
import { alternativeEtps, chooseDispatch, type Choice } from './choose.js';
import { marginOver, reasons } from './explain.js';
import type { Workload } from './workload.js';

export type Reason = readonly [label: string, text: string];

/** One way that was tried. */
export interface TriedStrategy {
  readonly label: string;
  readonly predictedStepSeconds: number;
  /** Seconds of each step. */
  readonly measured: readonly number[];
  /** What both together say. */
  readonly likelySeconds: number;
}

export interface Decision {
  readonly workload: Workload;
  /** By predictions alone. */
  readonly choice: Choice;
  /** After trials. */
  readonly taken: Choice;
  readonly tried: readonly TriedStrategy[];
  /** Label of the strategy that a person gave, where one was. */
  readonly given?: string;
}

/** Label and sentence for everything that a person should know of a decision. */
export function decisionReasons({ workload, choice, taken, tried, given }: Decision): Reason[] {
  const why: Reason[] = [];
  if (given !== undefined)
    why.push(['Given', `${given}, by the configuration; the plan would take ${strategyLabel(choice.best.strategy)}`]);
  for (const [index, text] of reasons(taken).entries()) why.push([index === 0 ? 'Why' : '', text]);
  const margin = marginOver(taken.best, choice.bestFixed);
  const sure = !margin.tie
    ? ''
    : tried.length > 0
      ? ': so close that the trial decided'
      : ': closer than the model is sure of';
  if (taken.best.name !== choice.bestFixed.name || margin.share > 0)
    why.push([
      'Margin',
      `predicted ${Math.abs(margin.share * 100).toFixed(0)} % ${margin.share < 0 ? 'slower than' : 'over'} the ` +
        `best fixed strategy, ${strategyLabel(choice.bestFixed.strategy)}, for one MoE layer${sure}`,
    ]);
  if (tried.length > 0) why.push(['Trial', trialText(tried)]);
  const folded = foldedAlternative(workload, choice);
  if (folded !== undefined) why.push(['Layout', folded]);
  const { tokens, layout } = workload.shape;
  why.push([
    'Layer',
    `predicted for the MoE layer of ${formatInteger(tokens)} tokens a replica, tp ${layout.tp}, ep ${layout.ep}`,
  ]);
  return why;
}

/** One line on a trial, the likeliest first. */
function trialText(tried: readonly TriedStrategy[]): string {
  const times = [...tried]
    .sort((a, b) => a.likelySeconds - b.likelySeconds)
    .map(
      ({ label, measured, predictedStepSeconds }) =>
        `${label} ${formatSeconds(median(measured))} (predicted ${formatSeconds(predictedStepSeconds)})`,
    );
  return `${times.join('; ')}: medians of ${tried[0]?.measured.length ?? 0} steps, weighed with the predictions`;
}

/** Whether other expert tensor parallel sizes would do better: said, not done, since the layout was given. */
function foldedAlternative(workload: Workload, choice: Choice): string | undefined {
  const others = alternativeEtps(workload.shape).filter((etp) => etp !== workload.shape.layout.etp);
  if (others.length === 0) return undefined;
  const wider = chooseDispatch(workload, {
    expertTensorParallel: others,
    chunkCounts: [1, 2, 4],
    halves: sameSums(),
  });
  if (!wider.known) return undefined;
  const { best } = wider;
  const share = best.seconds / choice.best.seconds - 1;
  const { etp, ep } = best.layout;
  const text =
    `etp ${etp}, ep ${ep} (${strategyLabel(best.strategy)}) would take ` +
    `${Math.abs(share * 100).toFixed(0)} % ${share < 0 ? 'less' : 'more'}`;
  return share < 0
    ? `${text}: give it with --layout tp=${best.layout.tp},dp=${best.layout.dp},ep=${ep},etp=${etp}`
    : text;
}
