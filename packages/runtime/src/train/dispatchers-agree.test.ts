/** What a model learns does not depend on how its tokens travelled: sums are taken in one order by every dispatcher. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getModel, namedStrategies, Random, resolveLayout, type Strategy } from '@monta/core';
import { afterAll, expect, it } from 'vitest';
import { testOptimizer } from '../../testing/train/optimizer.js';
import { train } from './train.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-agree-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Text with something to learn: words of a small vocabulary, each followed by one of two. */
function writtenText(): string {
  const words = ['tide', 'moon', 'salt', 'gull', 'reef', 'wave', 'sand', 'foam'];
  const random = new Random(1);
  let word = 0;
  const path = join(folder, 'text.txt');
  writeFileSync(
    path,
    Array.from({ length: 6000 }, () => words[(word = (2 * word + random.integer(2)) % words.length)]).join(' '),
  );
  return path;
}

const text = writtenText();

/** Every step's loss, and at last the held-out one. */
async function losses(strategy: Strategy, seed: number): Promise<number[]> {
  const result = await train({
    job: {
      step: {
        model: { ...getModel('tiny-bytes'), hiddenSize: 64, expertFfn: 64, headDim: 8 },
        layout: resolveLayout({ tp: 2, dp: 2, ep: 2 }),
        sequence: 64,
        sequences: 2,
        microBatches: 1,
        dtype: 'f32',
        strategy,
      },
      steps: 40,
      seed,
      optimizer: testOptimizer(3e-3, 5),
      text,
      evaluateEvery: 0,
      evaluationBatches: 4,
      tracedSteps: [],
    },
  });
  return [...result.steps.map(({ loss }) => loss), result.evaluations.at(-1)?.crossEntropy ?? NaN];
}

it('two dispatchers give the same losses bit for bit, two seeds do not', { timeout: 180_000 }, async () => {
  const duplicated = await losses({ ...namedStrategies.duplicated, chunks: { forward: 1, backward: 1 } }, 1);
  // It learned something: a byte of this text drawn by its frequency alone costs about 2.5 nat.
  expect(duplicated.at(-1)).toBeLessThan(2);
  for (const [name, chunks] of [
    ['sliced', { forward: 1, backward: 1 }],
    ['pipelined', { forward: 2, backward: 4 }],
    ['scattered', { forward: 3, backward: 2 }],
  ] as const)
    expect({ name, losses: await losses({ ...namedStrategies[name], chunks }, 1) }).toEqual({
      name,
      losses: duplicated,
    });
  const otherSeed = await losses({ ...namedStrategies.scattered, chunks: { forward: 3, backward: 2 } }, 2);
  expect(Math.abs((otherSeed.at(-1) ?? NaN) - (duplicated.at(-1) ?? NaN))).toBeGreaterThan(1e-3);
});
