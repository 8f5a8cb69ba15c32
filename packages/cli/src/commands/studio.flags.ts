/** Flags of `monta studio`. */
export interface StudioFlags {
  readonly port?: number;
}
