/** When a run tries strategies before it starts, and which. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readTrainConfig, type TrainOverrides } from '../config/train-config.js';
import { monta } from '../testing.js';
import { settingOf } from './setting.js';
import { stepsOfTrial, type TriedStrategy } from './trial.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-trial-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a trial', () => {
  const steps = (overrides: TrainOverrides, strategies: number): number =>
    stepsOfTrial(settingOf(readTrainConfig(undefined, overrides)), strategies);

  it('takes no more than a fifth of the run, and is left out where it would say nothing', () => {
    for (const run of [40, 90, 150, 1000, 100_000])
      for (const strategies of [2, 3, 4]) {
        const each = steps({ steps: run }, strategies);
        expect(each * strategies).toBeLessThanOrEqual(run / 5);
        expect(each === 0 || (each >= 4 && each <= 12)).toBe(true);
      }
    expect(steps({ steps: 100_000 }, 4)).toBe(12);
    expect(steps({ steps: 20 }, 2)).toBe(0);
    expect(steps({}, 1)).toBe(0);
    expect(steps({ trialSteps: 3, steps: 5 }, 2)).toBe(3);
    expect(steps({ trialSteps: 0 }, 4)).toBe(0);
  });

  it('decides the run, and is told', { timeout: 120_000 }, async () => {
    const sizes = ['--cluster', 'laptop-2x2', '--layout', 'tp=2,dp=2,ep=2', '--sequence', '32', '--batch', '4'];
    const flags = ['--steps', '2', '--trial-steps', '4', '--no-compare', '--output', folder];
    const { code, err, out } = await monta('train', ...sizes, ...flags);
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(err).toMatch(/predicted close to each other: trying 4 steps of each/u);
    expect(out).toMatch(/Trial +.* a step: medians of 4, weighed with the predictions/u);
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
