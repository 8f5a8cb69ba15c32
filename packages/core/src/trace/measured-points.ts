/** Timed collectives of real steps as the points that curves are fitted to. */
import type { MeasuredOp } from '../cost/index.js';

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

/** Of the samples of a point, by what they take for a byte: what disturbs a collective only ever makes it longer. */
const undisturbed = 0.25;

/**
 * The sample a quarter of the way from the fastest for its bytes, between two where it falls there: size and time are
 * of the same samples, so that points of undisturbed links lie on their curve.
 */
function quartileOf(samples: readonly MeasuredSample[]): Pick<MeasuredSample, 'bytes' | 'seconds'> | undefined {
  const sorted = [...samples].sort((a, b) => a.seconds / a.bytes - b.seconds / b.bytes);
  const position = undisturbed * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(position)], sorted[Math.ceil(position)]];
  if (low === undefined || high === undefined) return undefined;
  const share = position - Math.floor(position);
  const between = (name: 'bytes' | 'seconds'): number => low[name] + (high[name] - low[name]) * share;
  return { bytes: Math.round(between('bytes')), seconds: between('seconds') };
}

/**
 * One point per collective, group shape and size: the lower quartile of what samples take for a byte, since what
 * disturbs a collective (a rank whose processor is taken away, say) only ever makes it longer.
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
    const point = quartileOf(bin);
    return one === undefined || point === undefined ? [] : [{ ...one, ...point }];
  });
}
