/** The two figures of the MoNTA paper, from the simulator, as docs/paper.md has them. */
import {
  centralAssumptions,
  nicCounts,
  type SpeedUp,
  speedUp,
  type StepAssumptions,
  type StepGain,
  stepGain,
  volumes,
} from '@monta/core/plan/paper';

/** What the sliders of both figures say. */
export type PaperFields = Pick<StepAssumptions, 'nics' | 'microBatches' | 'topK'> & { readonly nvlink: number };

/** Speed-ups one after another, then the gain of the step. */
export function* paperFigures({ nvlink, ...step }: PaperFields): Generator<SpeedUp, StepGain> {
  for (const volume of volumes) for (const nics of nicCounts) yield speedUp(nics, volume, nvlink);
  return stepGain({ ...centralAssumptions, ...step, nvlink });
}
