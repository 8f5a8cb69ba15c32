import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { namedStrategies, inChunks } from '../schedule/dispatchers/strategies.js';
import { dtypeBytes, type MoeShape } from '../schedule/moe-shape.js';
import { collectiveUses, type Template } from '../schedule/schedule.js';
import { moeBackward } from '../schedule/moe-backward.js';
import { moeForward } from '../schedule/moe-forward.js';
import { stepConstants } from './constants.js';
import { routeSeconds } from './exchange.js';
import type { DispatchKind } from './run-setting.js';

/** A second a byte, no latency, all in one domain: seconds are bytes. */
const links = { domain: 64, innerBytesPerSecond: 1, outerBytesPerSecond: 1, innerLatency: 0, outerLatency: 0 };
const constants = { ...stepConstants, epInner: 1 };
const model = { ...getModel('qwen3-30b-a3b'), experts: 16, topK: 4 };
const tokens = 32;

const kinds: readonly [DispatchKind, keyof typeof namedStrategies][] = [
  ['all_to_all', 'scattered'],
  ['deduplicated', 'deduplicated'],
];

/** Bytes of a rank's collectives of numbers that are no activations: counts, picks, probabilities, their gradients. */
function numbersSent({ operations, regions }: Template, ranks: number): number {
  const sizes = new Map(regions.map((region) => [region.id, region]));
  return operations.reduce((sum, operation) => {
    if (operation.body.kind !== 'collective') return sum;
    const { to } = collectiveUses(operation);
    const region = sizes.get(to.region);
    if (region === undefined || region.dtype === 'bf16' || region.life === 'parameter') return sum;
    const rows = typeof region.rows === 'number' ? region.rows : region.rows.expected;
    return sum + (rows * region.columns * dtypeBytes[region.dtype] * (ranks - 1)) / ranks;
  }, 0);
}

describe('what travels beside the rows of experts', () => {
  it.each(kinds)('%s: as many bytes as the program of a layer sends', (dispatcher, name) => {
    for (const ep of [2, 8]) {
      const layout = { ...resolveLayout({ ep }, 8), ranksPerNode: 8 };
      const shape: MoeShape = { ...model, expertFfn: model.expertFfn, tokens, layout, dtype: 'bf16' };
      const strategy = inChunks(namedStrategies[name], 1);
      const closed = routeSeconds({ model, ep, etp: 1, tokens, links, dispatcher, constants });
      expect(closed.forward).toBeCloseTo(numbersSent(moeForward(shape, strategy), ep), 6);
      expect(closed.backward).toBeCloseTo(numbersSent(moeBackward(shape, strategy), ep), 6);
    }
  });

  it('is nothing where a rank holds all experts, and grows with the ranks', () => {
    const forward = (ep: number, dispatcher: DispatchKind): number =>
      routeSeconds({ model, ep, etp: 1, tokens, links, dispatcher, constants }).forward;
    for (const dispatcher of ['all_to_all', 'deduplicated', 'gathered'] as const) {
      expect(forward(1, dispatcher)).toBe(0);
      expect(forward(16, dispatcher)).toBeGreaterThan(forward(4, dispatcher));
    }
  });
});
