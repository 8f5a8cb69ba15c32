/** What this machine adds to every collective and kernel of a run, measured on dispatches that move next to nothing. */
import { dispatchProgram, scaledCluster, tierBetween, groupMembers, type MoeShape, type Operation } from '@monta/core';
import { hostOverheads, measureDispatch, withSeenLatencies, type Launcher } from '@monta/runtime';
import type { MachineOverheads, Setting } from './setting.js';

/** Tokens of a replica for each TP rank, and elements of a row. */
const [tokensPerRank, rowElements] = [4, 16];
const repetitions = 9;

/**
 * Runs a dispatch of a few bytes on all ranks of the setting, over its network, and reads the overheads off its spans. The setting returned has
 * the latencies that its ranks see, where the network is a real one.
 */
export async function measureOverheads(
  setting: Setting,
  launcher: Launcher,
  signal: AbortSignal,
): Promise<{ readonly setting: Setting; readonly overheads: MachineOverheads }> {
  const { config, layout, fabric } = setting;
  const shape: MoeShape = {
    tokens: tokensPerRank * layout.tp,
    hiddenSize: rowElements,
    expertFfn: config.model.expertFfn,
    experts: config.model.experts,
    topK: config.model.topK,
    layout,
    dtype: 'f32',
  };
  const strategy = { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } } as const;
  const [measured] = await measureDispatch({
    jobs: [
      {
        shape,
        strategy,
        passes: ['forward'],
        routing: { kind: 'uniform' },
        seed: 1,
        warmUps: 2,
        repetitions,
        trace: true,
      },
    ],
    launcher,
    fabric,
    signal,
  });
  const program = dispatchProgram(shape, strategy, ['forward']);
  const spans = measured?.spans ?? [];
  const overMpi = config.backend.kind === 'mpi';
  const network = overMpi
    ? withSeenLatencies(setting.cluster, layout, [{ program, spans }])
    : fabric && scaledCluster(fabric.cluster, fabric.timeScale);
  // The network's own latency is part of the simulation and must not count twice.
  const latency = ({ body }: Operation, rank: number): number => {
    if (body.kind !== 'collective' || !network) return 0;
    const tiers = groupMembers(layout, body.group, rank).map((peer) => tierBetween(network, rank, peer));
    return network.tiers[Math.max(...tiers)]?.latencySeconds ?? 0;
  };
  const { collectiveSeconds, wakeSeconds } = hostOverheads(program, spans, latency);
  return overMpi && network
    ? { setting: { ...setting, cluster: network }, overheads: { collectiveSeconds: wakeSeconds } }
    : { setting, overheads: { collectiveSeconds: collectiveSeconds + wakeSeconds } };
}
