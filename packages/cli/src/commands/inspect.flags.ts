/** Flags of `monta inspect`. */
export interface InspectFlags {
  readonly json: boolean;
  readonly tensors: boolean;
}
