/** What this machine adds to every collective and kernel of a run, measured on dispatches before it. */
import type { MachineOverheads } from '@monta/core';
import { inChunks, namedStrategies, unsupportedStrategy } from '@monta/core/schedule';
import type { CommunicationProbe, Launcher } from '@monta/runtime';
import { probeCommunication, withCost, withoutLatencies } from '@monta/runtime/probe';
import { hasOwnNetwork } from '../config/backend-config.js';
import type { Setting } from './setting.js';

const [turns, repetitions] = [3, 3];
/** Each process compiles its code for itself. */
const warmUps = { threads: 2, processes: 10 };
/** Dispatched bytes of a replica, of the dispatches between hosts that tell what their bytes cost. */
const volumes = [0.5, 2].map((mebibytes) => mebibytes * 2 ** 20);
const halves = [namedStrategies.scattered];
const halvesBetweenHosts = [namedStrategies.duplicated, namedStrategies.sliced, namedStrategies.scattered];

/** Few and many collectives at a time. */
const chunkCounts = [1, 4];

/**
 * Runs dispatches on all ranks of the setting, over its network, and fits what communication costs to them: a delay of
 * every collective, and core time in the setting returned.
 */
export async function measureOverheads(
  setting: Setting,
  launcher: Launcher,
  signal: AbortSignal,
): Promise<{ readonly setting: Setting; readonly overheads: MachineOverheads }> {
  const { config, layout, fabric, ranks, hostCores } = setting;
  if (ranks === 1) return { setting, overheads: { delaySeconds: 0, error: 0 } };
  const ownNetwork = hasOwnNetwork(config.backend);
  const shape: CommunicationProbe['shape'] = {
    hiddenSize: config.model.hiddenSize,
    expertFfn: config.model.expertFfn,
    experts: config.model.experts,
    topK: config.model.topK,
    layout,
    dtype: 'f32',
  };
  // An emulated network has latencies of its own; those of a real one are in the delay that its ranks see.
  const cluster = ownNetwork ? withoutLatencies(setting.cluster) : setting.cluster;
  const cost = await probeCommunication({
    ground: { cluster, hostCores },
    shape,
    strategies: (ownNetwork ? halvesBetweenHosts : halves)
      .filter((one) => unsupportedStrategy(one, shape) === undefined)
      .flatMap((one) => chunkCounts.map((chunks) => inChunks(one, chunks))),
    ...(ownNetwork && hostCores.movers !== undefined ? { volumes } : {}),
    turns,
    repetitions,
    warmUps: ownNetwork ? warmUps.processes : warmUps.threads,
    launcher,
    ...(fabric === undefined ? {} : { fabric }),
    signal,
  });
  return {
    setting: { ...setting, cluster, hostCores: withCost(hostCores, cost) },
    overheads: { delaySeconds: cost.delaySeconds, error: cost.error },
  };
}
