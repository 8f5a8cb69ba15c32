/** What a checker says of a person's flags. */
import type { Located } from './shell/place.js';

/**
 * error: the framework stops, at once or later. changed: it goes on with another value than the one given. slow: it
 * runs, but slower, with more memory, or not as meant. unknown: can't be judged from what was read.
 */
export type Severity = 'error' | 'changed' | 'slow' | 'unknown';

export interface Finding {
  readonly severity: Severity;
  /** Stable name of the rule, as `world-size`. */
  readonly rule: string;
  /** Flags that take part, the one to change first. */
  readonly flags: readonly string[];
  /** What is so, with the values that were read. */
  readonly message: string;
  /** What happens because of it. */
  readonly consequence: string;
  /** What to do. */
  readonly mend: string;
  /** Where the rule comes from. */
  readonly source: string;
  /** Where the flag stands. */
  readonly at?: Located;
}
