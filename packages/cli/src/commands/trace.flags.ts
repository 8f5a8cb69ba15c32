/** Flags of `monta trace`. */
import type { RanFlags } from './ran-flags.js';

export interface TraceFlags extends RanFlags {
  readonly json: boolean;
  readonly cluster?: string;
  readonly steps?: number;
  readonly perfetto?: string;
  readonly html?: string;
}
