/** Parts of a trace, as traces of their own. */
import { wayOfStep, type Turns } from '../schedule/index.js';
import type { Trace } from './span.js';

/** The spans of the last step: one step is drawn and compared. */
export function lastStep(trace: Trace): Trace {
  const step = trace.spans.reduce((last, span) => Math.max(last, span.step), 0);
  return { ...trace, spans: trace.spans.filter((span) => span.step === step) };
}

/** What one rank did. */
export const ofRank = (trace: Trace, rank: number): Trace => ({
  ...trace,
  spans: trace.spans.filter((span) => span.rank === rank),
});

/** The spans of the steps that a way took. */
export const ofWay = (trace: Trace, turns: Turns | undefined, way: number): Trace => ({
  ...trace,
  spans: trace.spans.filter(({ step }) => wayOfStep(turns, step) === way),
});
