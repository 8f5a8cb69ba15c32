/** Flags of `monta lint`. */
export interface LintFlags {
  readonly json: boolean;
  readonly sarif: boolean;
  readonly gpus?: number;
  readonly cluster?: string;
  readonly model?: string;
  readonly env?: readonly string[];
  readonly args?: string;
  readonly sequence?: number;
  readonly software?: readonly string[];
}
