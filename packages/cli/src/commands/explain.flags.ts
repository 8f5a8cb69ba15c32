/** Flags of `monta explain`. */
export interface ExplainFlags {
  readonly json: boolean;
}
