/** A likely cause of something slow. */
export interface Suspect {
  /** What could be wrong. */
  readonly what: string;
  /** The line of a log, of a topology, or the arithmetic that speaks for it. */
  readonly evidence: string;
  readonly mend: string;
}
