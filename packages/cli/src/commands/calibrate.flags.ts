/** Flags of `monta calibrate`. */
import type { MeasuredOp } from '@monta/core';
import type { BackendOverrides } from '../config/backend-config.js';

export interface CalibrateFlags extends BackendOverrides {
  readonly json: boolean;
  readonly output: string;
  readonly merge?: readonly string[];
  readonly plot?: string;
  readonly system?: string;
  readonly systemByFile: boolean;
  readonly gpu?: string;
  readonly ranks?: number;
  readonly nodes?: number;
  readonly op?: MeasuredOp;
  readonly acceptWrong: boolean;
  readonly cluster?: string;
  readonly probe: boolean;
  readonly emulate?: number | 'auto';
}
