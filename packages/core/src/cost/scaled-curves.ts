/** Measured curves as ranks on a slowed emulation see them. */
import { knownEstimate } from './estimate.js';
import type { CollectiveCurves } from './model.js';

export interface CurveScale {
  /** Bytes here over bytes at full size: curves are asked for the full size. */
  readonly volumeShare: number;
  /** Seconds here for a second of the cluster. */
  readonly timeScale: number;
  /** What this machine adds to every collective, seconds here. */
  readonly overheadSeconds: number;
}

/** The same curves on another clock, for other volumes. */
export function scaledCurves(
  curves: CollectiveCurves,
  { volumeShare, timeScale, overheadSeconds }: CurveScale,
): CollectiveCurves {
  return {
    addedLatencySeconds: overheadSeconds,
    seconds(name, place, totalBytes) {
      const estimate = curves.seconds(name, place, totalBytes / volumeShare);
      if (!estimate.known) return estimate;
      return knownEstimate(estimate.seconds * timeScale, estimate.basis, estimate.detail);
    },
  };
}
