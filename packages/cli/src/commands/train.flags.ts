/** Flags of `monta train`. */
import type { TrainOverrides } from '../config/train-overrides.js';

/** What stands over the file, and what only the command line says. */
export interface TrainFlags extends TrainOverrides {
  readonly allowCommands: boolean;
  readonly json: boolean;
  readonly plan?: string;
  readonly resume?: string;
  readonly compare: boolean;
  readonly calibration?: string;
}
