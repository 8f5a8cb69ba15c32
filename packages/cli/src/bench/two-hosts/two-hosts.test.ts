/**
 * One small case of each kind over a real shaped link: that the bench runs, counts right, and takes everything down
 * again.
 */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { builtModule } from '@monta/runtime';
import { testsOnTwoHosts } from '../../../../runtime/testing/hosts.js';
import { summarizeChoices } from './report.js';
import type { CaseResult, TwoHostsResult, Way } from './types.js';

const main = builtModule('./main.ts', import.meta.url).pathname;

describe.runIf(testsOnTwoHosts)('the two-host bench', () => {
  it('measures, predicts and chooses on a link of 400 Mbit/s', { timeout: 290_000 }, () => {
    const ran = spawnSync(process.execPath, [main, '--quick', '--json'], { encoding: 'utf8', timeout: 280_000 });
    expect({ status: ran.status, said: ran.stderr }).toMatchObject({ status: 0 });
    const result = JSON.parse(ran.stdout) as TwoHostsResult;
    const [rate] = result.rates;
    if (rate === undefined) throw new Error('no rate was measured');
    // The link is shaped: no connection can be faster, and what arrives must have crossed it.
    const [links] = rate.links;
    expect(links?.tcpBytesPerSecond).toBeLessThan(55e6);
    expect(links?.tcpBytesPerSecond).toBeGreaterThan(20e6);
    expect(rate.exchanges.map(({ strategy, chunks }) => `${strategy} ${chunks}`)).toEqual([
      'duplicated 1',
      'sliced 1',
      'sliced 2',
    ]);
    for (const { fastestSeconds, predictedSeconds } of rate.exchanges) {
      expect(fastestSeconds).toBeGreaterThan(0.015);
      expect(predictedSeconds).toBeGreaterThan(0.015);
    }
    const [parts] = rate.parts;
    expect(parts?.allToAllSeconds).toBeGreaterThan(0.015);
    expect(parts?.allGatherSeconds).toBeLessThan(parts?.allToAllSeconds ?? 0);
    // Fitted to dispatches of other volumes, before any case.
    const [cost] = rate.costs;
    expect(cost?.networkBytesPerSecond).toBeGreaterThan(20e6);
    expect(cost?.error).toBeLessThan(0.5);
    const [only] = rate.cases;
    expect(only?.passes).toHaveLength(40);
    expect(only?.rounds).toBeGreaterThan(10);
    for (const way of [only?.chosen, only?.predicted])
      expect(only?.best.seconds).toBeLessThanOrEqual(way?.seconds ?? 0);
    expect(spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout).not.toContain('monta-');
  });
});

describe('summarizeChoices', () => {
  const way = (strategy: string, seconds: number): Way => ({ strategy, forwardChunks: 1, backwardChunks: 1, seconds });
  const caseOf = (chosen: Way, best: Way, predicted = chosen): CaseResult => ({
    tp: 2,
    volumeBytes: 1,
    routing: 'uniform',
    passes: [],
    rounds: 1,
    predicted,
    chosen,
    best,
    duplicated: best,
    bestFixed: best,
  });

  it('counts choices within 5 % of the fastest', () => {
    const best = way('sliced', 1);
    const summary = summarizeChoices([
      caseOf(best, best),
      caseOf(way('scattered', 1.049), best),
      caseOf(way('scattered', 1.06), best, best),
      caseOf(way('scattered', 2), way('duplicated', 2)),
    ]);
    expect(summary).toMatchObject({
      cases: 4,
      good: 3,
      goodPredicted: 4,
      winners: 2,
      winningStrategies: ['duplicated', 'sliced'],
    });
    expect(summary.worstLoss).toBeCloseTo(0.06);
  });
});
