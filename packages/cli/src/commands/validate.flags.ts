/** Flags of `monta validate`. */
import type { MeasuredOp } from '@monta/core';

export interface ValidateFlags {
  readonly json: boolean;
  readonly calibration?: string;
  readonly system?: string;
  readonly systemByFile: boolean;
  readonly gpu?: string;
  readonly ranks?: number;
  readonly nodes?: number;
  readonly op?: MeasuredOp;
  readonly acceptWrong: boolean;
}
