/** Peaks that others measured beside what is predicted for the same configuration. */
import { parseLayout } from '../layout/resolve.js';
import { getModel } from '../model/names.js';
import { publishedPeaks, type PublishedPeak } from './published-peaks.js';
import type { MemorySetting } from './setting.js';
import { deviceMemory } from './stage-memory.js';
import { maxOf } from '../units/index.js';

export interface PredictedPeak {
  readonly row: PublishedPeak;
  readonly predictedGib: number;
  /** Relative, with its sign. */
  readonly error: number;
}

const gibi = 2 ** 30;

/** The run of a published peak, by Megatron-Core's convention. */
export const settingOfPeak = (row: PublishedPeak): MemorySetting => ({
  step: {
    model: getModel(row.model),
    layout: parseLayout(row.layout),
    sequence: row.sequence,
    sequences: 1,
    microBatches: maxOf(row.microBatches),
    dtype: 'bf16',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  },
  convention: 'megatron',
  sharing: 'distributed-optimizer',
  precision: 'mixed',
  imbalance: 1,
});

/** All rows, in their order. */
export function predictPublished(): PredictedPeak[] {
  return publishedPeaks.map((row) => {
    const predictedGib = deviceMemory(settingOfPeak(row)).allocatedBytes / gibi;
    return { row, predictedGib, error: predictedGib / row.allocatedGib - 1 };
  });
}
