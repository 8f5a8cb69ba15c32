/**
 * A clock that all ranks share: rank 0's monotonic clock, seconds since the job began. Ranks of one machine read the
 * same clock; others estimate their offset from rank 0 by exchanging times, as NTP does, and keep the sample with the
 * shortest round trip.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** Three readings of one exchange, seconds: asked and answered here, and the other's clock in between. */
export interface ClockSample {
  readonly asked: number;
  readonly theirs: number;
  readonly answered: number;
}

export interface ClockOffset {
  /** Their clock minus ours. */
  readonly seconds: number;
  /** The offset is right within this, whatever the ways there and back took: half of the shortest round trip. */
  readonly errorSeconds: number;
}

export function estimateOffset(samples: readonly ClockSample[]): ClockOffset {
  let best: ClockOffset = { seconds: 0, errorSeconds: Infinity };
  for (const { asked, theirs, answered } of samples) {
    const errorSeconds = (answered - asked) / 2;
    if (errorSeconds < best.errorSeconds) best = { seconds: theirs - (asked + answered) / 2, errorSeconds };
  }
  return best;
}

/**
 * Names the machine whose monotonic clock this process reads: the same for containers and network namespaces of one
 * kernel.
 */
export function clockIdentity(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return hostname();
  }
}
