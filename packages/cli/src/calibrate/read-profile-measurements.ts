/** Measurements out of traces of other programs' profilers, all ranks together. */
import type { Cluster, Reading } from '@monta/core';
import { profileMeasurements } from '@monta/core/profiles';
import { readProfiles } from '../trace/read-profiles.js';

/** Reads the traces of one job. Throws `InputError` when no collective of them can be used. */
export async function readProfileMeasurements(
  files: readonly string[],
  { gpu, system, cluster }: { readonly gpu?: string; readonly system?: string; readonly cluster?: Cluster },
): Promise<Reading> {
  const { profiles } = await readProfiles(files, () => undefined);
  return profileMeasurements(profiles, { gpu, system, cluster });
}
