/** Timed collectives of real steps as the points that curves are fitted to. */
import type { MeasuredOp } from '../cost/index.js';
import { median, quantile } from '../units/index.js';

/** Largest over smallest bytes of the members up to which a collective counts as balanced, as curves assume. */
export const balancedRatio = 1.25;

/** Sizes within a quarter of an octave are one point. */
const sizesPerOctave = 4;

export interface MeasuredSample {
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Of its first span in the file. */
  readonly line: number;
}

/**
 * One point per collective, group shape and size: the median of the sizes, and the lower quartile of the times, since
 * what disturbs a collective (a rank whose processor is taken away, say) only ever makes it longer.
 */
export function pointsOf(samples: readonly MeasuredSample[]): MeasuredSample[] {
  const bins = new Map<string, MeasuredSample[]>();
  for (const sample of samples) {
    const size = Math.round(Math.log2(sample.bytes) * sizesPerOctave);
    const key = `${sample.op}|${sample.ranks}|${sample.nodes}|${size}`;
    const bin = bins.get(key);
    if (bin) bin.push(sample);
    else bins.set(key, [sample]);
  }
  return [...bins.values()].flatMap((bin) => {
    const [one] = bin;
    if (one === undefined) return [];
    const bytes = Math.round(median(bin.map((sample) => sample.bytes)));
    const seconds = bin.map((sample) => sample.seconds);
    return [{ ...one, bytes, seconds: quantile(seconds, 0.25) }];
  });
}
