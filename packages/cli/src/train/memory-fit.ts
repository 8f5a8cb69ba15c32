/**
 * Whether a run's ranks have room on this machine: the program's memory against what a rank can address and what there
 * is.
 */
import { totalmem } from 'node:os';
import { formatBytes, formatLayout, InputError, stageMemory, type StageMemory, type StepShape } from '@monta/core';

/** A rank's memory is a WebAssembly memory with addresses of 32 bits. */
export const addressableBytes = 2 ** 32;

/** What a rank of the embedded runtime holds at its highest, without the scratch of its kernels. */
export const rankMemory = (step: StepShape): StageMemory =>
  stageMemory({ step, convention: 'monta', sharing: 'none', precision: 'full', imbalance: 1 }, 0, {
    workspaceBytes: 0,
    allocatorShare: 0,
    communicatorBytes: 0,
    contextBytes: 0,
  });

export interface MachineRoom {
  /** Ranks that share this machine's memory. */
  readonly ranksHere: number;
  /** Of this machine; what it has when left out. */
  readonly bytes?: number;
}

/** Throws `InputError` where a rank's share, or all ranks' together, is more than there is. */
export function refuseWhatDoesNotFit(step: StepShape, { ranksHere, bytes = totalmem() }: MachineRoom): void {
  const { totalBytes } = rankMemory(step);
  const where =
    `${step.model.name} with ${formatLayout(step.layout)}, ${step.sequences} x ${step.sequence} tokens ` +
    'a micro-batch';
  const hint = 'more tp or ep, a smaller microBatch, shorter sequences, or a smaller model';
  if (totalBytes > addressableBytes)
    throw new InputError(`${where} does not fit: ${formatBytes(totalBytes, 'binary')} a rank`, {
      path: 'model',
      expected: `at most ${formatBytes(addressableBytes, 'binary')}, which is what a rank can address`,
      hint,
    });
  if (totalBytes * ranksHere > bytes)
    throw new InputError(
      `${where} does not fit: ${ranksHere} x ${formatBytes(totalBytes, 'binary')} of ${formatBytes(bytes, 'binary')}`,
      { path: 'model', expected: 'ranks whose memory this machine has', hint },
    );
}
