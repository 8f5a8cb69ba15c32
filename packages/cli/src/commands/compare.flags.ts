/** Flags of `monta compare`. */
export interface CompareFlags {
  readonly json: boolean;
}
