/** What of a step runs beside what: its reductions beside the backward, a forward beside another's backward. */
import type { UnknownEstimate } from '../cost/index.js';
import type { StepShape } from '../schedule/step-shape.js';
import type { OverlapVerdict } from './choose-overlap.js';
import { predictStep, type StepPrediction, type StepWorkload } from './predict-step.js';

export interface StepOverlapOptions {
  /** Kinds that a person fixed, as the step has them. */
  readonly given?: readonly OverlapVerdict['kind'][];
  /** Whether a step whose passes run beside each other fits. */
  readonly roomForPasses: boolean;
}

export interface StepOverlapChoice {
  readonly known: true;
  readonly step: StepShape;
  readonly prediction: StepPrediction;
  readonly verdicts: readonly OverlapVerdict[];
}

const kinds = ['reductions', 'passes'] as const;
type Kind = (typeof kinds)[number];

const isOn = (step: StepShape, kind: Kind): boolean =>
  kind === 'reductions' ? step.reductions !== 'behind' : step.passes === 'beside';

const flipped = (step: StepShape, kind: Kind): StepShape => ({
  ...step,
  [kind]: isOn(step, kind) ? 'behind' : 'beside',
});

/** Whether a kind could change anything: there are gradients to reduce, or passes of one stage to pair. */
const applies = ({ layout, microBatches }: StepShape, kind: Kind): boolean =>
  kind === 'reductions' ? layout.dp * layout.cp * layout.tp > 1 : layout.pp === 1 && microBatches > 1;

/**
 * Takes the fastest setting of the kinds that are free, all of them together. `unknown` when something has no price.
 */
export function chooseStepOverlap(
  workload: StepWorkload,
  { given = [], roomForPasses }: StepOverlapOptions,
): StepOverlapChoice | UnknownEstimate {
  const predictions = new Map<string, StepPrediction | UnknownEstimate>();
  const predict = (step: StepShape): StepPrediction | UnknownEstimate => {
    const key = kinds.map((kind) => isOn(step, kind)).join();
    const prediction = predictions.get(key) ?? predictStep({ ...workload, step });
    predictions.set(key, prediction);
    return prediction;
  };
  const { step: asGiven } = workload;
  const free = kinds.filter(
    (kind) => applies(asGiven, kind) && !given.includes(kind) && (kind === 'reductions' || roomForPasses),
  );
  const settings = free.reduce<StepShape[]>((all, kind) => all.flatMap((one) => [one, flipped(one, kind)]), [asGiven]);
  let step = asGiven;
  const first = predict(step);
  if (!first.known) return first;
  let prediction: StepPrediction = first;
  for (const setting of settings) {
    const priced = predict(setting);
    if (!priced.known) return priced;
    if (priced.seconds < prediction.seconds) [step, prediction] = [setting, priced];
  }
  const verdicts: OverlapVerdict[] = [];
  for (const kind of kinds) {
    const verdict = { kind, on: isOn(step, kind), given: given.includes(kind) };
    const other = applies(step, kind) ? predict(flipped(step, kind)) : undefined;
    if (other?.known === false) return other;
    verdicts.push(other === undefined ? verdict : { ...verdict, otherwiseSeconds: other.seconds - prediction.seconds });
  }
  return { known: true, step, prediction, verdicts };
}
