/** What a model learns does not depend on how its tokens travelled: sums are taken in one order by every dispatcher. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getModel, namedStrategies, Random, resolveLayout, turnsOf, wayOfStep, type Strategy } from '@monta/core';
import { afterAll, expect, it } from 'vitest';
import { testOptimizer } from '../../testing/train/optimizer.js';
import type { TrainJob } from './job.js';
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

const steps = 40;

/** A job whose steps take turns in several ways, where more than one is given. */
function jobOf([strategy, ...others]: readonly [Strategy, ...Strategy[]], seed: number): TrainJob {
  const turns = turnsOf(1 + others.length, steps);
  return {
    step: {
      model: { ...getModel('tiny-bytes'), hiddenSize: 64, expertFfn: 64, headDim: 8 },
      layout: resolveLayout({ tp: 2, dp: 2, ep: 2 }),
      sequence: 64,
      sequences: 2,
      microBatches: 1,
      dtype: 'f32',
      strategy,
    },
    steps,
    ...(turns === undefined ? {} : { turns: { turns, others: others.map((one) => ({ strategy: one })) } }),
    seed,
    optimizer: testOptimizer(3e-3, 5),
    text,
    evaluateEvery: 0,
    evaluationBatches: 4,
    tracedSteps: [],
  };
}

/** Every step's loss, and at last the held-out one. */
async function losses(strategies: readonly [Strategy, ...Strategy[]], seed: number): Promise<number[]> {
  const result = await train({ job: jobOf(strategies, seed) });
  return [...result.steps.map(({ loss }) => loss), result.evaluations.at(-1)?.crossEntropy ?? NaN];
}

it('dispatchers give the same losses bit for bit, by turns in one run too; two seeds do not', async () => {
  const plain = (name: 'duplicated' | 'sliced' | 'scattered', forward: number, backward: number): Strategy => ({
    ...namedStrategies[name],
    chunks: { forward, backward },
  });
  const duplicated = plain('duplicated', 1, 1);
  const expected = await losses([duplicated], 1);
  // It learned something: a byte of this text drawn by its frequency alone costs about 2.5 nat.
  expect(expected.at(-1)).toBeLessThan(2);
  const turns = turnsOf(3, steps);
  expect(new Set(Array.from({ length: steps }, (_, index) => wayOfStep(turns, index + 1)))).toEqual(new Set([0, 1, 2]));
  for (const strategies of [
    [plain('sliced', 2, 4)],
    [plain('scattered', 3, 2), duplicated, plain('sliced', 1, 1)],
  ] as const)
    expect({ strategies, losses: await losses(strategies, 1) }).toEqual({ strategies, losses: expected });
  const otherSeed = await losses([plain('scattered', 3, 2)], 2);
  expect(Math.abs((otherSeed.at(-1) ?? NaN) - (expected.at(-1) ?? NaN))).toBeGreaterThan(1e-3);
});
