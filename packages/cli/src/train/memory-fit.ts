/**
 * Whether a run's ranks have room on this machine: the program's memory against what a rank can address and what there
 * is.
 */
import { totalmem } from 'node:os';
import { formatBytes, formatLayout, InputError, stageMemory, type StageMemory, type StepShape } from '@monta/core';

/** A rank's memory on a processor is a WebAssembly memory with addresses of 32 bits. */
export const addressableBytes = 2 ** 32;

/** In bf16 the weights that are computed with stand beside those in f32. */
const precisionOf = ({ dtype }: StepShape) => (dtype === 'bf16' ? 'mixed' : 'full');

/** What a rank of the embedded runtime holds at its highest, without the scratch of its kernels. */
export const rankMemory = (step: StepShape): StageMemory =>
  stageMemory({ step, convention: 'monta', sharing: 'none', precision: precisionOf(step), imbalance: 1 }, 0, {
    workspaceBytes: 0,
    allocatorShare: 0,
    communicatorBytes: 0,
    contextBytes: 0,
  });

export interface MachineRoom {
  /** Ranks that share this machine's memory, or a card's. */
  readonly ranksHere: number;
  /** Of this machine, or of a card; what the machine has when left out. */
  readonly bytes?: number;
  /** What a rank can address, where it is less. */
  readonly rankBytes?: number;
}

/** Throws `InputError` where a rank's share, or all ranks' together, is more than there is. */
export function refuseWhatDoesNotFit(
  step: StepShape,
  { ranksHere, bytes = totalmem(), rankBytes = addressableBytes }: MachineRoom,
): void {
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
