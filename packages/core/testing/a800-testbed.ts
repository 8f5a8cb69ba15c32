/**
 * The testbed of the byte tables in moe-communication.md 2.2: 2 nodes of 8, NVLink 160 GB/s, one 25 GB/s NIC per
 * device.
 */
import type { Cluster } from '#core/cluster/cluster.js';

export const a800Testbed: Cluster = {
  name: 'a800-2x8',
  device: {
    name: 'A800',
    memoryBytes: 80e9,
    flopsPerSecond: { bf16: 312e12 },
    memoryBytesPerSecond: 2e12,
    multiprocessors: 108,
  },
  tiers: [
    {
      name: 'nvlink',
      size: 8,
      bytesPerSecond: 160e9,
      latencySeconds: 3e-6,
      ports: 1,
      railAligned: false,
      crossRailSlowdown: 1,
    },
    {
      name: 'network',
      size: 2,
      bytesPerSecond: 25e9,
      latencySeconds: 6e-6,
      ports: 8,
      railAligned: true,
      crossRailSlowdown: 2.2,
    },
  ],
  sources: ['test'],
};
