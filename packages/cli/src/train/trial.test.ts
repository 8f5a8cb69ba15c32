/** When a run tries strategies before it starts, and which. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readTrainConfig, type TrainOverrides } from '../config/train-config.js';
import { monta } from '../../testing/run-monta.js';
import { settingOf } from './setting.js';
import { trialSize, type TriedStrategy } from './trial.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-trial-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a trial', () => {
  const size = (overrides: TrainOverrides, close: number): ReturnType<typeof trialSize> =>
    trialSize(settingOf(readTrainConfig(undefined, overrides)), close);
  const none = { strategies: 0, steps: 0 };

  it('takes no more than a fifth of the run, and is left out where it would say nothing', () => {
    for (const run of [40, 90, 150, 1000, 100_000])
      for (const close of [2, 3, 4]) {
        const { strategies, steps } = size({ steps: run }, close);
        expect(steps * strategies).toBeLessThanOrEqual(run / 5);
        expect(steps === 0 ? strategies === 0 : steps >= 4 && steps <= 12 && strategies >= 2).toBe(true);
      }
    expect(size({ steps: 100_000 }, 4)).toEqual({ strategies: 4, steps: 12 });
    // The main job has room for the best three.
    expect(size({}, 4)).toEqual({ strategies: 3, steps: 4 });
    expect(size({ steps: 20 }, 2)).toEqual(none);
    expect(size({ steps: 1000 }, 1)).toEqual(none);
    expect(size({ trialSteps: 3, steps: 5 }, 2)).toEqual({ strategies: 2, steps: 3 });
    expect(size({ trialSteps: 0 }, 4)).toEqual(none);
  });

  it('decides the run, and is told', { timeout: 120_000 }, async () => {
    const sizes = ['--cluster', 'laptop-2x2', '--layout', 'tp=2,dp=2,ep=2', '--sequence', '32', '--batch', '4'];
    const flags = ['--steps', '2', '--trial-steps', '4', '--no-compare', '--output', folder];
    const { code, err, out } = await monta('train', ...sizes, ...flags);
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(err).toMatch(/predicted close to each other: trying 4 steps of each/u);
    expect(out).toMatch(/Trial +.* \(predicted .*\): medians of 4 steps, weighed with the predictions/u);
    const plan = JSON.parse(readFileSync(join(folder, readdirSync(folder)[0] ?? '', 'plan.json'), 'utf8')) as {
      readonly tried: readonly TriedStrategy[];
    };
    const [fastest] = [...plan.tried].sort((a, b) => a.likelySeconds - b.likelySeconds);
    expect(plan.tried.length).toBeGreaterThan(1);
    expect(plan.tried.every(({ measured }) => measured.length === 4)).toBe(true);
    const planned = out.split('\n').find((line) => line.startsWith('Plan'));
    expect(planned).toContain(`${fastest?.label ?? '?'};`);
  });
});
