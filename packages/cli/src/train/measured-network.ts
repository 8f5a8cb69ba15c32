/** The real network of an MPI job, measured before planning. */
import { probeHosts, type Launcher } from '@monta/runtime';
import type { Setting } from './setting.js';

/** The setting with the links of its cluster as measured, and its cores shared by the ranks that really share them. */
export async function withMeasuredNetwork(setting: Setting, launcher: Launcher, signal: AbortSignal): Promise<Setting> {
  const { cluster, hostCores } = await probeHosts({ launcher, cluster: setting.config.cluster, signal });
  return { ...setting, cluster, hostCores };
}
