import type { Cluster } from '@monta/core';
import type { FabricOptions } from './fabric.js';
import type { CaseReport } from '../../../testing/comm/conformance-cases.js';
import { builtTesting } from '../../../testing/built.js';
import { describeConformance, type ConformanceLauncher } from '../../../testing/comm/conformance.js';
import { launchLocal } from '../../launch/launch-local.js';

const workerModule = builtTesting('comm/conformance.worker');

const launcher =
  (fabric?: FabricOptions): ConformanceLauncher =>
  (ranks, onReport) =>
    launchLocal({
      ranks,
      memoryBytes: 16 << 20,
      workerModule,
      trace: ranks % 2 === 0,
      ...(fabric === undefined ? {} : { fabric }),
      onMessage: (rank, message) => onReport(rank, message as CaseReport),
    });

describeConformance('local backend', [1, 2, 3, 4, 5, 6, 7, 8], launcher());

/**
 * Nodes of 4 with 2 NICs, two racks, slower between rails; fast enough for a test, with packets small enough to mix.
 */
const cluster: Cluster = {
  name: 'test network',
  device: { name: 'rank', memoryBytes: 2 ** 30, flopsPerSecond: { bf16: 1e12 }, memoryBytesPerSecond: 1e11 },
  tiers: [
    tier({ name: 'inside', size: 4, bytesPerSecond: 40e9, latencySeconds: 2e-6 }),
    tier({ name: 'leaf', size: 2, bytesPerSecond: 20e9, latencySeconds: 5e-6, ports: 2, railAligned: true }),
    tier({ name: 'spine', size: 2, bytesPerSecond: 20e9, latencySeconds: 9e-6 }),
  ],
  sources: ['made for this test'],
};

function tier(changes: Partial<Cluster['tiers'][number]>): Cluster['tiers'][number] {
  const base = { name: '', size: 1, bytesPerSecond: 1, latencySeconds: 0, ports: 1, railAligned: false };
  return { ...base, crossRailSlowdown: changes.railAligned === true ? 2 : 1, ...changes };
}

const fabric: FabricOptions = { cluster, timeScale: 20, scheduler: { packetBytes: 1 << 12 } };
describeConformance('local backend with emulated network', [1, 2, 3, 5, 8], launcher(fabric));
// Ranks spread over nodes and racks, so that every tier is crossed.
const scattered: FabricOptions = { ...fabric, devices: [0, 4, 9, 15] };
describeConformance('local backend with emulated network, scattered ranks', [4], launcher(scattered));
