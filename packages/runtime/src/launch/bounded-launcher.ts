/** A launcher whose jobs are over by a time, whatever their ranks do. */
import type { Launcher } from './launcher.js';

export interface Bound {
  /** On `performance.now`'s clock, ms. */
  readonly end: number;
  /** A rank that keeps others waiting in one operation for longer ends its job. */
  readonly stuckAfterSeconds: number;
  /** Stops jobs sooner. */
  readonly signal?: AbortSignal | undefined;
}

/** Thrown where a job did not begin, or end, in time. */
export class OutOfTime extends Error {
  override readonly name = 'OutOfTime';

  constructor() {
    super('time was over');
  }
}

/** Waits for work of a bounded launcher; false where its time was over. Rejects as the work does otherwise. */
export async function withinTime(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof OutOfTime) return false;
    throw error;
  }
}

/** Jobs of `launcher` end at `end` at the latest: they reject with `OutOfTime`, or the signal's reason. */
export function boundedLauncher(launcher: Launcher, bound: Bound): Launcher {
  const { end, stuckAfterSeconds, signal } = bound;
  const { withLanes, launch } = launcher;
  return {
    ...launcher,
    launch: async (options) => {
      const left = end - performance.now();
      if (left <= 0) throw new OutOfTime();
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(new OutOfTime()), left);
      const signals = [late.signal, signal, options.signal].filter((one) => one !== undefined);
      try {
        return await launch({ stuckAfterSeconds, ...options, signal: AbortSignal.any(signals) });
      } finally {
        clearTimeout(timer);
      }
    },
    ...(withLanes === undefined ? {} : { withLanes: (lanes) => boundedLauncher(withLanes(lanes), bound) }),
  };
}
