/** Flags of `monta model`. */
export interface ModelFlags {
  readonly json: boolean;
  readonly sequence?: number;
}
