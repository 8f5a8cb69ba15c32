/**
 * What the model cannot tell apart is tried before it is chosen: which ways, for how long, and which of them
 * predictions and runs together take. The one home of that decision, for training runs and benchmarks alike.
 */
import type { Candidate, Choice } from './choose.js';
import { closeShare, likelySeconds, type Trial } from './judge.js';

/** More candidates than this are not tried, however close. */
const mostTried = 4;
/** Timed steps of each; fewer say nothing. */
const fewestSteps = 4;
/** Of the run's steps, what trials may take in all, unless a number is given. */
const shareOfRun = 0.16;

/** How trials of training steps go: turns of all ways, and steps before the first turn. */
export const trialRounds = {
  turns: 2,
  /** Code is compiled while they run, and the first ways tried would seem slow. */
  warmUps: 6,
  /** Timed steps of each way in a run that is long enough. */
  mostSteps: 12,
} as const;

/** The candidates worth trying, best first; the best alone where nothing else is close. */
export const closeCandidates = ({ candidates, best }: Choice): Candidate[] =>
  candidates.filter(({ seconds }) => seconds <= best.seconds * (1 + closeShare)).slice(0, mostTried);

/**
 * Where both passes are tried apart from each other: the close ways in every pair of chunk counts that was priced and
 * is close too, best first. Trials of a pass serve all pairs that it is part of.
 */
export function closePieces(choice: Choice): Candidate[] {
  const programs = new Set(closeCandidates(choice).map(({ program }) => program));
  return choice.within(closeShare).filter(({ program }) => programs.has(program));
}

/** A training run for which ways could be tried. */
export interface TrialRun {
  readonly ranks: number;
  /** Steps of the run itself. */
  readonly steps: number;
  /** Timed steps of each way that a person asked for; 0 for no trial, undefined to leave it to the run's length. */
  readonly trialSteps?: number;
}

/**
 * How many of the close ways are tried, the best first, and for how many timed steps each; none: predictions alone
 * choose.
 */
export function trialSize(
  { ranks, steps: ofRun, trialSteps }: TrialRun,
  close: number,
): { readonly strategies: number; readonly steps: number } {
  const none = { strategies: 0, steps: 0 };
  if (ranks === 1 || close < 2) return none;
  if (trialSteps !== undefined) return trialSteps === 0 ? none : { strategies: close, steps: trialSteps };
  const { turns, warmUps, mostSteps } = trialRounds;
  for (let strategies = close; strategies >= 2; strategies--) {
    // one more of each in every turn is not timed
    const steps = Math.floor((ofRun * shareOfRun - warmUps) / strategies) - turns;
    if (steps >= fewestSteps) return { strategies, steps: Math.min(mostSteps, steps) };
  }
  return none;
}

/**
 * A part of a way, as a step or one of its passes, with the trial of it. Parts of one name are one, in whichever ways
 * they occur.
 */
export interface TriedPart extends Trial {
  readonly name: string;
}

export interface Judgement {
  /** What each way is likely to take, its parts added up. */
  readonly seconds: readonly number[];
  /** Place of the way that is likely to be the fastest, the first of equals; -1 without any. */
  readonly fastest: number;
}

/**
 * Judges ways to do the same work, each given as its parts: every part by its prediction and its runs together
 * (`likelySeconds`, which also says what `modelError` is), every way by the sum of its parts.
 */
export function judgeWays(ways: readonly (readonly TriedPart[])[], modelError: number): Judgement {
  if (ways.length === 0) return { seconds: [], fastest: -1 };
  const parts = new Map(ways.flat().map((part) => [part.name, part]));
  const likely = likelySeconds([...parts.values()], modelError);
  const ofPart = new Map([...parts.keys()].map((name, index) => [name, likely[index] ?? Infinity]));
  const seconds = ways.map((way) => way.reduce((sum, { name }) => sum + (ofPart.get(name) ?? Infinity), 0));
  const fastest = seconds.reduce((best, one, place) => (one < (seconds[best] ?? Infinity) ? place : best), -1);
  return { seconds, fastest };
}
