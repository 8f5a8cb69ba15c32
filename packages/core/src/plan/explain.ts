/**
 * Says why: what binds, what the choice saved on each tier and by overlap, how far the next one is, and what the
 * figures rest on.
 */
import { formatBytes, formatPercent, formatSeconds } from '../units/index.js';
import { samePlan, type Candidate, type Choice } from './choose.js';

export interface Margin {
  /** Name of what it is compared to. */
  readonly over: string;
  /** Seconds of the other over seconds of the choice, minus 1. */
  readonly share: number;
  /** The model's own relative error on the two. */
  readonly modelError: number;
  /** Closer than the model's own error. */
  readonly tie: boolean;
}

/** Error to expect of a candidate's time: that of its passes, by their share of it. */
export const expectedErrorOf = ({ forward, backward, seconds }: Candidate): number =>
  (forward.expectedError * forward.seconds + backward.expectedError * backward.seconds) / seconds;

/** Margin of the choice over another candidate. */
export function marginOver(best: Candidate, other: Candidate, modelError = expectedErrorOf(best)): Margin {
  const share = other.seconds / best.seconds - 1;
  return { over: other.name, share, modelError, tie: share < modelError };
}

const ratio = (value: number): string => `${value >= 9.95 ? value.toFixed(0) : value.toFixed(1)}x`;

/** One short sentence each, most important first. */
export function reasons(choice: Choice): string[] {
  const { best, baseline } = choice;
  const lines: string[] = [];
  const [first] = best.forward.held;
  if (first)
    lines.push(
      `${first.name} binds: ${formatSeconds(first.seconds)} of ${formatSeconds(best.forward.seconds)} forward`,
    );
  if (baseline && !samePlan(baseline, best))
    best.forward.bytes.forEach(({ name, perRank }, tier) => {
      const before = baseline.forward.bytes[tier]?.perRank ?? 0;
      if (before > 0 && perRank > 0 && before / perRank > 1.05)
        lines.push(
          `${name} carries ${formatBytes(perRank)} a rank, ${ratio(before / perRank)} less than duplicated ` +
            `(${formatBytes(before)})`,
        );
      else if (before > 0 && perRank / before > 1.05)
        lines.push(
          `${name} carries ${formatBytes(perRank)} a rank, more than duplicated's ${formatBytes(before)}: it is ` +
            'the faster link',
        );
      else if (before > 0 && perRank === 0)
        lines.push(`nothing crosses ${name} (duplicated: ${formatBytes(before)} a rank)`);
    });
  if (best.forward.chunks > 1 || best.backward.chunks > 1)
    lines.push(
      `${best.forward.chunks} chunks forward and ${best.backward.chunks} backward hide ` +
        `${formatPercent(best.forward.hiddenShare)} and ${formatPercent(best.backward.hiddenShare)} of the ` +
        `communication`,
    );
  else lines.push('chunks do not pay here: what they would hide is less than their latencies');
  const times = best.forward.seconds / best.forward.boundSeconds;
  if (best.forward.boundSeconds > 0 && times > 1.15) {
    const more = times < 2 ? `${formatPercent(times - 1)} above` : ratio(times);
    const others = best.forward.held.slice(1, 4).map(({ name, seconds }) => `${name} ${formatSeconds(seconds)}`);
    lines.push(
      `${more} what its bytes alone need on the busiest port (${formatSeconds(best.forward.boundSeconds)}); ` +
        `besides it: ${others.join(', ')}`,
    );
  }
  return lines;
}

/**
 * Candidates worth a margin: the runner-up and the best fixed strategy, unless that is the choice itself in other
 * words.
 */
export function rivals({ candidates, best, runnerUp, bestFixed }: Choice): Candidate[] {
  if (candidates.length === 1) return [];
  const list = runnerUp ? [runnerUp] : [];
  if (!samePlan(bestFixed, best) && !list.some((other) => samePlan(other, bestFixed))) list.push(bestFixed);
  return list;
}
