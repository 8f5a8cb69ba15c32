/** Whether a run's ranks have room: the program's memory against what a rank can address and what there is. */
import { formatLayout } from '../layout/resolve.js';
import type { StepShape } from '../schedule/step-shape.js';
import { formatBytes } from '../units/index.js';
import { InputError } from '../units/errors.js';
import { noOverheads, stageMemory, type StageMemory } from './stage-memory.js';
import type { RankRouting } from './timeline.js';

/** In bf16 the weights that are computed with stand beside those in f32. */
const precisionOf = ({ dtype }: StepShape) => (dtype === 'bf16' ? 'mixed' : 'full');

/**
 * What a rank of the embedded runtime holds at its highest, without the scratch of its kernels; `skew` is the rows of
 * the fullest rank's experts over the mean, or what was routed.
 */
export function rankMemory(step: StepShape, skew: number | RankRouting = 1): StageMemory {
  const rows = typeof skew === 'number' ? { imbalance: skew } : { imbalance: 1, routed: skew };
  const setting = { step, convention: 'monta', sharing: 'none', precision: precisionOf(step), ...rows } as const;
  return stageMemory(setting, 0, noOverheads);
}

export interface MachineRoom {
  /** Ranks that share a machine's memory, or a card's. */
  readonly ranksHere: number;
  /** Of the machine, or of a card. */
  readonly bytes: number;
  /** What a rank can address. */
  readonly rankBytes: number;
}

/** Throws `InputError` where a rank's share, or all ranks' together, is more than there is. */
export function refuseWhatDoesNotFit(step: StepShape, { ranksHere, bytes, rankBytes }: MachineRoom): void {
  const { totalBytes } = rankMemory(step);
  const where =
    `${step.model.name} with ${formatLayout(step.layout)}, ${step.sequences} x ${step.sequence} tokens ` +
    'a micro-batch';
  const hint = 'more tp or ep, a smaller microBatch, shorter sequences, or a smaller model';
  if (totalBytes > rankBytes)
    throw new InputError(`${where} does not fit: ${formatBytes(totalBytes, 'binary')} a rank`, {
      path: 'model',
      expected: `at most ${formatBytes(rankBytes, 'binary')}, which is what a rank can address`,
      hint,
    });
  if (totalBytes * ranksHere > bytes)
    throw new InputError(
      `${where} does not fit: ${ranksHere} x ${formatBytes(totalBytes, 'binary')} of ${formatBytes(bytes, 'binary')}`,
      { path: 'model', expected: 'ranks whose memory there is', hint },
    );
}
