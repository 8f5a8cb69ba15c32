/** What of a step runs beside what: its reductions beside the backward, a forward beside another's backward. */
import type { UnknownEstimate } from '../cost/index.js';
import type { StepShape } from '../schedule/step-shape.js';
import type { OverlapVerdict } from './choose-overlap.js';
import { predictStep, type StepPrediction, type StepWorkload } from './predict-step.js';

export interface StepOverlapOptions {
  /** Kinds that a person fixed, as the step has them. */
  readonly given?: readonly OverlapVerdict['kind'][];
  /** Whether the activations of one micro-batch more fit, which passes beside each other keep. */
  readonly roomForPasses: boolean;
}

export interface StepOverlapChoice {
  readonly known: true;
  readonly step: StepShape;
  readonly prediction: StepPrediction;
  readonly verdicts: readonly OverlapVerdict[];
}

type Kind = 'reductions' | 'passes';

const flipped = (step: StepShape, kind: Kind): StepShape =>
  kind === 'reductions'
    ? { ...step, reductions: step.reductions === 'behind' ? 'beside' : 'behind' }
    : { ...step, passes: step.passes === 'beside' ? 'behind' : 'beside' };

/** Whether a kind could change anything: there are gradients to reduce, or passes of one stage to pair. */
const applies = ({ layout, microBatches }: StepShape, kind: Kind): boolean =>
  kind === 'reductions' ? layout.dp * layout.cp * layout.tp > 1 : layout.pp === 1 && microBatches > 1;

/** Takes the kinds of a step that are faster, one after the other. `unknown` when something has no price. */
export function chooseStepOverlap(
  workload: StepWorkload,
  { given = [], roomForPasses }: StepOverlapOptions,
): StepOverlapChoice | UnknownEstimate {
  let { step } = workload;
  const first = predictStep(workload);
  if (!first.known) return first;
  let prediction: StepPrediction = first;
  const verdicts: OverlapVerdict[] = [];
  for (const kind of ['reductions', 'passes'] as const) {
    const fixed = given.includes(kind);
    let otherwise: number | undefined;
    if (applies(step, kind)) {
      const other = flipped(step, kind);
      const priced = predictStep({ ...workload, step: other });
      if (!priced.known) return priced;
      otherwise = priced.seconds - prediction.seconds;
      if (otherwise < 0 && !fixed && (kind === 'reductions' || roomForPasses)) {
        [step, prediction, otherwise] = [other, priced, -otherwise];
      }
    }
    const on = kind === 'reductions' ? step.reductions !== 'behind' : step.passes === 'beside';
    verdicts.push({ kind, on, given: fixed, ...(otherwise === undefined ? {} : { otherwiseSeconds: otherwise }) });
  }
  return { known: true, step, prediction, verdicts };
}
