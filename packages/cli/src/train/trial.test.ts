/** When a run tries strategies before it starts, and which. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { trialSize, type TriedStrategy } from '@monta/core';
import { afterAll, describe, expect, it } from 'vitest';
import { readTrainConfig } from '../config/train-config.js';
import { monta } from '../../testing/run-monta.js';
import { settingOf } from './setting.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-trial-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a trial', () => {
  it('has room for the best three in the main job', () => {
    const setting = settingOf(readTrainConfig(undefined, {}));
    expect(trialSize({ ranks: setting.ranks, ...setting.config }, 4)).toEqual({ strategies: 3, steps: 4 });
  });

  it('is not for a dispatcher that was named, whose chunks without rows are told', async () => {
    const sizes = ['--cluster', 'laptop-2x1', '--layout', 'dp=2,ep=2', '--sequence', '16', '--batch', '2'];
    const flags = ['--steps', '1', '--no-compare', '--output', folder, '--dispatch'];
    const wide = await monta('train', ...sizes, ...flags, 'scattered:2/32');
    expect(wide).toMatchObject({
      code: 0,
      err: expect.stringMatching(/32 chunks, and no expert gets more than 16 rows of a slice/u) as string,
    });
    expect((await monta('train', ...sizes, ...flags, 'scattered:16')).err).not.toContain('rows of a slice');
  });

  it('decides the run, and is told', async () => {
    const sizes = ['--cluster', 'laptop-2x2', '--layout', 'tp=2,dp=2,ep=2', '--sequence', '32', '--batch', '4'];
    const runs = join(folder, 'tried');
    const flags = ['--steps', '2', '--trial-steps', '4', '--no-compare', '--output', runs];
    const { code, err, out } = await monta('train', ...sizes, ...flags);
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(err).toMatch(/predicted close to each other: trying 4 steps of each/u);
    expect(out).toMatch(/Trial +.* \(predicted .*\): medians of 4 steps, weighed with the predictions/u);
    const plan = JSON.parse(readFileSync(join(runs, readdirSync(runs)[0] ?? '', 'plan.json'), 'utf8')) as {
      readonly tried: readonly TriedStrategy[];
    };
    const [fastest] = [...plan.tried].sort((a, b) => a.likelySeconds - b.likelySeconds);
    expect(plan.tried.length).toBeGreaterThan(1);
    expect(plan.tried.every(({ measured }) => measured.length === 4)).toBe(true);
    const planned = out.split('\n').find((line) => line.startsWith('Plan'));
    expect(planned).toContain(`${fastest?.label ?? '?'};`);
  });
});
