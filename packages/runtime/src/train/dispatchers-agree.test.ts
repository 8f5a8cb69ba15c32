/** What a model learns does not depend on how its tokens travelled: dispatchers differ by rounding, seeds by what they are. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getModel, namedStrategies, Random, resolveLayout, type Strategy } from '@monta/core';
import { afterAll, expect, it } from 'vitest';
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

async function heldOut(strategy: Strategy, seed: number): Promise<number> {
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
      steps: 60,
      seed,
      optimizer: {
        learningRate: 3e-3,
        minimumLearningRate: 3e-4,
        warmup: 5,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weightDecay: 0.1,
        clip: 1,
      },
      text,
      evaluateEvery: 0,
      evaluationBatches: 4,
      tracedSteps: [],
    },
  });
  return result.evaluations.at(-1)?.crossEntropy ?? NaN;
}

it('two dispatchers differ by less than two seeds do', { timeout: 180_000 }, async () => {
  const duplicated = await heldOut({ ...namedStrategies.duplicated, chunks: { forward: 1, backward: 1 } }, 1);
  const scattered = await heldOut({ ...namedStrategies.scattered, chunks: { forward: 3, backward: 2 } }, 1);
  const otherSeed = await heldOut({ ...namedStrategies.scattered, chunks: { forward: 3, backward: 2 } }, 2);
  // It learned something: a byte of this text drawn by its frequency alone costs about 2.5 nat.
  expect(scattered).toBeLessThan(2);
  const [byDispatcher, bySeed] = [Math.abs(duplicated - scattered), Math.abs(otherSeed - scattered)];
  expect(bySeed).toBeGreaterThan(1e-3);
  expect(byDispatcher).toBeLessThan(bySeed / 2);
});
