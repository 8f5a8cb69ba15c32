/**
 * One small case of each kind over a real shaped link: that the bench runs, counts right, and takes everything down
 * again.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { builtModule } from '@monta/runtime';
import { testsOnTwoHosts } from '../../../../runtime/testing/hosts.js';
import { summarizeChoices } from './report.js';
import type { CaseResult, TwoHostsResult, Way } from './types.js';

const main = builtModule('./main.ts', import.meta.url).pathname;
/** 400 Mbit/s. */
const linkBytesPerSecond = 50e6;

describe.runIf(testsOnTwoHosts)('the two-host bench', () => {
  it('measures, predicts and chooses on a link of 400 Mbit/s', () => {
    const ran = spawnSync(process.execPath, [main, '--quick', '--json'], { encoding: 'utf8' });
    expect({ status: ran.status, said: ran.stderr }).toMatchObject({ status: 0 });
    const result = JSON.parse(ran.stdout) as TwoHostsResult;
    const [rate] = result.rates;
    if (rate === undefined) throw new Error('no rate was measured');
    // The link is shaped: no connection can be faster, and what arrives must have crossed it. How much slower this
    // machine is than the link is its own affair: a tenth of the rate tells bytes from bits, and seconds from others.
    const [links] = rate.links;
    expect(links?.tcpBytesPerSecond).toBeLessThan(1.1 * linkBytesPerSecond);
    expect(links?.tcpBytesPerSecond).toBeGreaterThan(0.1 * linkBytesPerSecond);
    expect(rate.exchanges.map(({ strategy, chunks }) => `${strategy} ${chunks}`)).toEqual([
      'duplicated 1',
      'sliced 1',
      'sliced 2',
    ]);
    // Half of 2 MiB crosses, more where it is duplicated: 21 ms, less what a measured rate may be off by.
    const leastSeconds = 2 ** 20 / linkBytesPerSecond;
    for (const { fastestSeconds, predictedSeconds } of rate.exchanges) {
      expect(fastestSeconds).toBeGreaterThan(0.7 * leastSeconds);
      expect(predictedSeconds).toBeGreaterThan(0.5 * leastSeconds);
    }
    const [parts] = rate.parts;
    expect(parts?.allToAllSeconds).toBeGreaterThan(0.7 * leastSeconds);
    expect(parts?.slicedSeconds).toBeGreaterThan(0.7 * leastSeconds);
    expect(parts?.allGatherSeconds).toBeGreaterThan(0);
    // Fitted to dispatches of other volumes, before any case.
    const [cost] = rate.costs;
    expect(cost?.networkBytesPerSecond).toBeGreaterThan(1e6);
    expect(cost?.error).toBeGreaterThanOrEqual(0);
    const [only] = rate.cases;
    expect(only?.passes).toHaveLength(40);
    expect(only?.rounds).toBe(5);
    for (const way of [only?.chosen, only?.predicted])
      expect(only?.best.seconds).toBeLessThanOrEqual(way?.seconds ?? 0);
    // Others may have hosts at the same time; none is left of a process that is gone.
    const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
    const owners = [...stdout.matchAll(/^monta-(\d+)-/gmu)].map(([, owner]) => Number(owner));
    expect(owners.filter((pid) => !existsSync(`/proc/${pid}`))).toEqual([]);
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
