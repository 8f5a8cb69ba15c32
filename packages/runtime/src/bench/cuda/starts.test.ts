/** Starts and stops on threads, on a host of the test's making; what tools say. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { localLauncher } from '../../launch/index.js';
import { tpOfCards } from './nodes.js';
import { errorsIn, findSanitizer } from './sanitizer.js';
import { isNothing, leftBehind, measureStarts, type HostTraces } from './starts.js';

const empty: HostTraces = { processes: ['1 other'], services: [], files: ['somebody'], cardBytes: [5, 6] };
/** Its jobs take no time. */
const quick = { ...localLauncher, launch: () => Promise.resolve([]) };
const options = { launcher: quick, ranks: 2, seconds: 60, settleSeconds: 0.3, onStart: () => undefined };

describe('starts and stops', () => {
  it('leave nothing where everything is gone soon after the last', async () => {
    const looks = [empty, { ...empty, services: ['7 nvidia-cuda-mps-server'] }, empty];
    const report = await measureStarts({ ...options, count: 2, look: () => looks.shift() ?? empty });
    expect(report).toMatchObject({ asked: 2, done: 2, failed: [] });
    expect(isNothing(report.left)).toBe(true);
    expect(report.slowestSeconds).toBeGreaterThanOrEqual(report.medianSeconds);
  });

  it('name what stays: a process, a service, a file, memory of a card', async () => {
    const now = { processes: ['1 other', '2 rank'], services: ['3 mps'], files: ['somebody', 'us'], cardBytes: [9, 6] };
    expect(leftBehind(empty, now)).toEqual({ processes: ['2 rank'], services: ['3 mps'], files: ['us'], cardBytes: 4 });
    for (const change of ['processes', 'services', 'files', 'cardBytes'] as const)
      expect(isNothing(leftBehind(empty, { ...empty, [change]: now[change] }))).toBe(false);
    let looks = 0;
    const look = (): HostTraces => (looks++ === 0 ? empty : now);
    expect((await measureStarts({ ...options, launcher: localLauncher, count: 1, look })).left.files).toEqual(['us']);
  });

  it('end at their time, and go on behind one that failed', async () => {
    let launched = 0;
    const launcher = {
      ...localLauncher,
      launch: () => (launched++ === 0 ? Promise.reject(new Error('no luck')) : Promise.resolve([])),
    };
    const report = await measureStarts({ ...options, launcher, count: 3, look: () => empty });
    expect(report).toMatchObject({ done: 3, failed: ['no luck'] });
    expect((await measureStarts({ ...options, count: 9, seconds: 0, look: () => empty })).done).toBe(0);
  });
});

describe('compute-sanitizer', () => {
  it('tells its errors in a summary, or none', () => {
    expect(errorsIn('========= ERROR SUMMARY: 0 errors')).toBe(0);
    expect(errorsIn('x\n========= ERROR SUMMARY: 1 error\n')).toBe(1);
    expect(errorsIn('========= RACECHECK SUMMARY: 3 hazards displayed (3 errors, 0 warnings)')).toBe(3);
    expect(errorsIn('killed')).toBeUndefined();
  });

  it('is found on the path, and nowhere else', () => {
    const folder = mkdtempSync(join(tmpdir(), 'monta-sanitizer-'));
    const file = join(folder, 'compute-sanitizer');
    expect(findSanitizer(folder, [])).toBeUndefined();
    writeFileSync(file, '');
    chmodSync(file, 0o755);
    expect(findSanitizer(`/nowhere:${folder}`, [])).toBe(file);
    rmSync(folder, { recursive: true });
  });
});

describe('nodes of cards', () => {
  it('have as many ranks as there are cards, eight at most; one card is shared', () => {
    expect([1, 2, 3, 4, 6, 8, 16].map(tpOfCards)).toEqual([2, 2, 2, 4, 4, 8, 8]);
  });
});
