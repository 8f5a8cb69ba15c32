/** `monta calibrate --probe`: measures the backend of this machine. */
import { InputError } from '@monta/core';
import type { MontaContext } from '../context.js';
import type { CalibrateFlags } from './calibrate.command.js';

/** Runs the probe. */
export async function runProbe(_context: MontaContext, _flags: CalibrateFlags): Promise<void> {
  return Promise.reject(new InputError('not yet'));
}
