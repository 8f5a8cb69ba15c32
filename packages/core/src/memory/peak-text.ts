/** Where in a step the memory of a stage is fullest, in words. */
import { formatInteger } from '../units/index.js';
import type { StageMemory } from './stage-memory.js';

/** `moe.backward of layer 5, micro-batch 2`. */
export function peakText({ peak }: StageMemory): string {
  const layer = peak.layer < 0 ? '' : ` of layer ${formatInteger(peak.layer)}`;
  return `${peak.template}${layer}, micro-batch ${formatInteger(peak.microBatch)}`;
}
