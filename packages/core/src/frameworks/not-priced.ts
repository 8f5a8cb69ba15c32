/** Why the step of a run has no price. */
export interface NotPriced {
  readonly why: string;
  /** What nothing says that starts the run, by the names that its framework has for it. */
  readonly missing?: readonly string[];
}

/** Values that nothing says; undefined where none is missing. */
export const notTold = (missing: readonly string[]): NotPriced | undefined =>
  missing.length === 0 ? undefined : { why: `not known: ${missing.join(', ')}`, missing };
