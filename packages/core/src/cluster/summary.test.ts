import { expect, test } from 'vitest';
import { occupiedCluster } from './occupied.js';
import { getCluster } from './presets.js';
import { clusterSummary } from './summary.js';

test('a summary has the devices, and each tier with its ports and latency', () => {
  const cluster = getCluster('laptop-2x4');
  const text = clusterSummary(cluster);
  expect(text).toMatch(/^8 devices; /u);
  expect(text.split('; ')).toHaveLength(1 + cluster.tiers.length);
  const [inner, outer] = text.split('; ').slice(1);
  expect(inner).toMatch(/ a device, /u);
  expect(outer).toMatch(new RegExp(`, ${cluster.tiers[1]?.ports ?? 0} ports? a node, `, 'u'));
});

test('a summary of a part says which devices are used', () => {
  expect(clusterSummary(occupiedCluster(getCluster('laptop-2x4'), 4))).toMatch(
    /^4 of 8 devices \(1 of 2 nodes; all 4 devices of each\); /u,
  );
});
