/** Forward and backward of the MoE layer are cut as each is told: chunk counts of one say nothing about the other. */
import { describe, expect, it } from 'vitest';
import { unsupportedStrategy } from './dispatchers/strategies.js';
import { moeBackward } from './moe-backward.js';
import { moeForward } from './moe-forward.js';
import type { MoeShape } from './moe-shape.js';
import type { Template } from './schedule.js';
import { allStrategies } from '../../testing/strategies.js';

const counts = [1, 2, 3, 5];

/** Names of an operation's chunks, `exchange` of `exchange.2`, and how many there are of each that is cut. */
function chunksOf({ operations }: Template): Map<string, number> {
  const numbered = operations.flatMap(({ id }) => {
    const match = /^(.*)\.(\d+)$/u.exec(id);
    return match === null ? [] : [{ name: match[1] ?? '', chunk: Number(match[2]) }];
  });
  const found = new Map<string, number>();
  for (const { name, chunk } of numbered) found.set(name, Math.max(found.get(name) ?? 0, chunk + 1));
  return found;
}

describe('chunks', () => {
  it('of every transfer, move and expert product are as many as the pass is told', () => {
    const cases = allStrategies(counts, counts);
    expect(cases.length).toBeGreaterThan(100);
    for (const { layout, strategy } of cases) {
      const shape: MoeShape = { tokens: 16, hiddenSize: 8, expertFfn: 8, experts: 8, topK: 2, layout, dtype: 'f32' };
      expect(unsupportedStrategy(strategy, shape)).toBeUndefined();
      for (const [template, of] of [
        [moeForward(shape, strategy), strategy.chunks.forward],
        [moeBackward(shape, strategy), strategy.chunks.backward],
      ] as const) {
        const chunks = chunksOf(template);
        expect([...chunks.keys()]).toContain('experts');
        expect([...new Set(chunks.values())]).toEqual([of]);
        // The parts that operations of a chunk read and write are cut alike.
        const expert = template.operations
          .filter(({ id }) => /^experts\.\d+$/u.test(id))
          .flatMap(({ uses }) => uses.filter(({ region }) => !region.startsWith('weights/')));
        expect(new Set(expert.map((use) => use.of))).toEqual(new Set([of]));
      }
    }
  });
});
