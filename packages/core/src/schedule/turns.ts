/**
 * Ways compared while a run trains. They compute the same, so a step in another way goes on with the same training:
 * ways take turns, a step each (A B C A B C), and what disturbs the machine for a while disturbs all of them. Every
 * timed step follows one of another way, so what a switch costs counts alike. Which way a step takes follows from its
 * number alone, so a run that is resumed keeps to it.
 */
import { pairedRatio, type PairedFigure } from '../units/index.js';

export interface Turns {
  /** Way 0 is the run's own; it also takes the steps before and after the turns. */
  readonly ways: number;
  /** Steps before the first turn: each rank compiles its code, and touches memory for the first time. */
  readonly warmUps: number;
  /** Rounds of one step of each way. */
  readonly rounds: number;
}

/** Of a long run: comparing longer tells no more, and only costs time. The first is not judged. */
const mostRounds = 17;
/** Judged rounds below which an interval says nothing: of 5 like pairs, chance puts all on one side 1 time in 16. */
const fewestRounds = 6;
const mostWarmUps = 6;
/** Of the interval that a ratio is given with. */
export const turnsConfidence = 0.99;

/** The turns of a run of so many steps; undefined where nothing is compared, or not even two rounds fit. */
export function turnsOf(ways: number, steps: number): Turns | undefined {
  if (ways < 2) return undefined;
  const warmUps = Math.min(mostWarmUps, Math.floor(steps / 10));
  const rounds = Math.min(mostRounds, Math.floor((steps - warmUps) / ways));
  return rounds < 2 ? undefined : { ways, warmUps, rounds };
}

/** The last step of the last turn. */
export const lastTurn = (turns: Turns): number => turns.warmUps + turns.rounds * turns.ways;

/** The way that step `number`, from 1, is done in. */
export function wayOfStep(turns: Turns | undefined, number: number): number {
  if (turns === undefined || number <= turns.warmUps || number > lastTurn(turns)) return 0;
  return (number - 1 - turns.warmUps) % turns.ways;
}

/** A step, and how long it took. */
export interface TimedStep {
  readonly step: number;
  readonly seconds: number;
}

/**
 * Seconds of every way's steps, by way and round: of the rounds that are whole and begin when each way has been run
 * once since the first of the steps.
 */
export function roundSeconds(turns: Turns, steps: readonly TimedStep[]): number[][] {
  const seconds = new Map(steps.map((one) => [one.step, one.seconds]));
  const { ways, warmUps, rounds } = turns;
  const from = (steps[0]?.step ?? 1) + warmUps + ways;
  const found = Array.from({ length: ways }, (): number[] => []);
  for (let round = 0; round < rounds; round++) {
    const first = warmUps + 1 + round * ways;
    const all = Array.from({ length: ways }, (_, way) => seconds.get(first + way));
    if (first < from || all.includes(undefined)) continue;
    found.forEach((ofWay, way) => ofWay.push(all[way] ?? NaN));
  }
  return found;
}

/** What a comparison says: whether the run's own way is faster than another, or the difference is within the noise. */
export type Verdict = 'faster' | 'slower' | 'too close to call';

/** A way's step over that of the run's own way, by rounds. */
export interface TurnsComparison extends PairedFigure {
  /** Whether the interval leaves 1 out, and on which side. */
  readonly verdict: Verdict;
}

/** Compares a way with way 0; undefined where too few rounds were whole for an interval. */
export function compareTurns(rounds: readonly (readonly number[])[], way: number): TurnsComparison | undefined {
  const own = rounds[0] ?? [];
  const theirs = rounds[way] ?? [];
  if (own.length < fewestRounds) return undefined;
  const ratio = pairedRatio(theirs, own, 1, turnsConfidence);
  return { ...ratio, verdict: ratio.low > 1 ? 'faster' : ratio.high < 1 ? 'slower' : 'too close to call' };
}
