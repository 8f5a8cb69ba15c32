/** The real network of a job over MPI or NCCL, measured before planning. */
import type { Launcher } from '@monta/runtime';
import { probeHosts } from '@monta/runtime/probe';
import type { Setting } from './setting.js';

/**
 * The setting with the links of its cluster as measured, and its cores shared by the ranks that really share them. Over
 * MPI the cores also move the bytes inside hosts; over NCCL the cards do.
 */
export async function withMeasuredNetwork(setting: Setting, launcher: Launcher, signal: AbortSignal): Promise<Setting> {
  const { cluster, hostCores } = await probeHosts({ launcher, cluster: setting.config.cluster, signal });
  return { ...setting, cluster, hostCores: launcher.device === 'cuda' ? setting.hostCores : hostCores };
}
