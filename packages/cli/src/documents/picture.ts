/**
 * Draws the picture of the README: one MoE dispatch and combine on 16 A800, three ways, simulated. `npm run
 * docs:picture`.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  costModel,
  formatSeconds,
  getCluster,
  namedStrategies,
  resolveLayout,
  routedBinding,
  simulatePass,
  type Strategy,
  type Workload,
} from '@monta/core';
import { timelineSvg, type TimelinePanel } from '@monta/views';

const cluster = getCluster('a800-2x8');
const workload: Workload = {
  cluster,
  shape: {
    tokens: 8192,
    hiddenSize: 8192,
    expertFfn: 28672,
    experts: 2,
    topK: 2,
    layout: resolveLayout({ tp: 8, dp: 2, ep: 2 }),
    dtype: 'bf16',
  },
  routing: { kind: 'uniform' },
  seed: 1,
  model: costModel(cluster.device),
  scope: 'dispatch',
};

function panel(title: string, strategy: Strategy): TimelinePanel {
  const simulation = simulatePass(workload, strategy, 'forward', routedBinding(workload.shape, workload.routing, 1));
  if (!simulation.known) throw new Error(simulation.missing.join(', '));
  return { title: `${title}: ${formatSeconds(simulation.summary.makespanSeconds)}`, trace: simulation.trace };
}

const chunks = (count: number) => ({ forward: count, backward: count });
writeFileSync(
  fileURLToPath(new URL('../../../../docs/overlap.svg', import.meta.url)),
  timelineSvg([
    panel('duplicated', { ...namedStrategies.duplicated, chunks: chunks(1) }),
    panel('sliced', { ...namedStrategies.sliced, chunks: chunks(1) }),
    panel('scattered, 4 chunks', { ...namedStrategies.scattered, chunks: chunks(4) }),
  ]),
);
