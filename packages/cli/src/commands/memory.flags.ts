/** Flags of `monta memory`. */
import type { StepFlags, SubjectFlags } from './layer-inputs.js';
import type { MemoryFlags } from './memory-flags.js';

export interface MemoryCommandFlags extends SubjectFlags, StepFlags, MemoryFlags {
  readonly json: boolean;
  readonly svg?: string;
}
