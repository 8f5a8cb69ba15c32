/** Flags of `monta doctor`. */
import type { SpeedFlags } from './doctor-speed.js';
import type { RanFlags } from './ran-flags.js';

export interface DoctorFlags extends RanFlags, SpeedFlags {
  readonly json: boolean;
  readonly cluster: string;
}
