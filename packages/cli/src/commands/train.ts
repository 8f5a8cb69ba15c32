/** `monta train`: on which processes it runs. What it does is in `train-run.ts`, loaded by the one that leads. */
import type { Launcher } from '@monta/runtime';
import { configFile } from '../config/config-file.js';
import { askedBackend, onStartedRanks } from '../config/started-run.js';
import type { MontaContext } from '../context.js';
import type { TrainFlags } from './train.flags.js';

/**
 * Runs the command. Throws `InputError` for bad input, `RankFailure` when a rank fails, `Interrupted` after Ctrl-C.
 * Where a launcher of the person's own started the ranks, the process of rank 0 does all that a person sees.
 */
export async function runTrain({ console }: MontaContext, flags: TrainFlags, path?: string): Promise<void> {
  const file = path === undefined ? undefined : configFile(path);
  const run = async (launcher?: Launcher): Promise<void> => {
    const { planAndTrain } = await import('./train-run.js');
    await planAndTrain(console, flags, file, launcher);
  };
  const { ranksPerNode } = flags;
  const backend = askedBackend(flags.backend, file);
  await onStartedRanks({ backend, ...(ranksPerNode === undefined ? {} : { ranksPerNode }) }, run);
}
