/** Whether the paper's 2x70B step has room on its 16 devices, and where it has. */
import { getCluster } from '../../cluster/index.js';
import type { MemorySetting } from '../../memory/index.js';
import { namedStrategies } from '../../schedule/index.js';
import { fitOf, nearestFit, type MemoryFit } from '../../memory/index.js';
import { centralAssumptions, llama, tpEight } from './claims.js';

export interface PaperRoom {
  readonly setting: MemorySetting;
  readonly asked: MemoryFit;
  /** What a device needs at least on as many devices, in whatever layout, with everything computed again. */
  readonly leastBytes: number;
  /** The most layers that fit in the paper's layout. */
  readonly mostLayers: number;
  /** The nearest on the smallest cluster, of twice the nodes and so on, that a layout fits on. */
  readonly nearest: { readonly devices: number; readonly setting: MemorySetting; readonly bytes: number };
}

const memoryOf = (layers: number): MemorySetting => ({
  step: {
    model: llama(layers, centralAssumptions.topK),
    layout: tpEight(centralAssumptions.sequenceParallel),
    sequence: 8192,
    sequences: 1,
    microBatches: centralAssumptions.microBatches,
    dtype: 'bf16',
    strategy: { ...namedStrategies.scattered, chunks: { forward: 1, backward: 1 } },
  },
  convention: 'megatron',
  sharing: 'distributed-optimizer',
  precision: 'mixed',
  imbalance: 1,
});

const nodeDevices = 8;
/** Nodes that are tried beyond the paper's two. */
const moreNodes = [4, 8, 16, 32, 64, 128, 256] as const;

/** Memory of the central case, as Megatron-Core with a distributed optimizer holds it. */
export function paperRoom(): PaperRoom {
  const own = getCluster(`a800-2x${nodeDevices}`);
  const setting = memoryOf(centralAssumptions.layers);
  let mostLayers = centralAssumptions.layers;
  while (mostLayers > 0 && !fitOf(memoryOf(mostLayers), own).fits) mostLayers--;
  const here = nearestFit(setting, own);
  const asked = { setting, asked: fitOf(setting, own), leastBytes: here.leastBytes, mostLayers };
  for (const nodes of [2, ...moreNodes]) {
    const near = nodes === 2 ? here : nearestFit(setting, getCluster(`a800-${nodes}x${nodeDevices}`));
    if (near.setting === undefined) continue;
    return {
      ...asked,
      nearest: { devices: nodes * nodeDevices, setting: near.setting, bytes: near.leastBytes },
    };
  }
  throw new RangeError('the step fits on no cluster');
}
