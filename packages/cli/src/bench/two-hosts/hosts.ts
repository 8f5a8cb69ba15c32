/** The two hosts of the bench, their links as measured, and the shapes that run on them. */
import type { Layout, MoeShape } from '@monta/core';
import { probeHosts, type HostsProbe, type Launcher } from '@monta/runtime';
import { hostsCluster } from '../../config/backend-config.js';

/** Two hosts with `tp` ranks each, and what was measured of them. */
export interface Hosts {
  readonly tp: number;
  readonly launcher: Launcher;
  /** Host a's address on the link. */
  readonly address: string;
  readonly probe: HostsProbe;
}

const hidden = 256;
const [experts, topK] = [8, 2];

/** Measures the links. */
export async function probeTwoHosts(tp: number, launcher: Launcher, address: string): Promise<Hosts> {
  const cluster = hostsCluster(['a', 'b'].map((name) => ({ name, slots: tp })));
  return { tp, launcher, address, probe: await probeHosts({ launcher, cluster }) };
}

/** V is what a replica dispatches: tokens x top-k rows. */
export function shapeOf(tp: number, volumeBytes: number): MoeShape {
  const layout: Layout = { tp, cp: 1, dp: 2, pp: 1, etp: tp, ep: 2, edp: 1, sequenceParallel: false };
  const tokens = Math.round(volumeBytes / (topK * hidden * 4));
  return { tokens, hiddenSize: hidden, expertFfn: hidden, experts, topK, layout, dtype: 'f32' };
}
