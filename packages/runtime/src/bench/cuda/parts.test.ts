/** Parts of a run on cards, on threads and on a host of the test's making. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { localLauncher } from '../../launch/index.js';
import { tpOfCards } from './nodes.js';
import { errorsIn, findSanitizer } from './sanitizer.js';
import { measureVerified, type VerifiedModel } from './verified.js';
import { writeWhole } from './whole-file.js';
import { isNothing, leftBehind, measureStarts, type HostTraces } from './starts.js';

const empty: HostTraces = { processes: ['1 other'], services: [], files: ['somebody'], cardBytes: [5, 6] };
/** Its jobs take no time. */
const quick = { ...localLauncher, launch: () => Promise.resolve([]) };
const options = { launcher: quick, ranks: 2, seconds: 60, settleSeconds: 0.3, onReport: () => undefined };

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
    const told: number[] = [];
    await measureStarts({ ...options, count: 25, look: () => empty, onReport: ({ done }) => told.push(done) });
    expect(told).toEqual([10, 20]);
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

describe('models on a card', () => {
  it('are verified one after another until time is over, those that fail too', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'monta-verified-'));
    for (const model of ['a', 'b']) mkdirSync(join(folder, model));
    const told: number[] = [];
    const onModel = (all: readonly VerifiedModel[]): void => void told.push(all.length);
    const there = { onModel, launcher: localLauncher, dtypes: ['f32'] } as const;
    const all = await measureVerified(folder, { ...there, seconds: 60 });
    expect(all.map(({ model, passed }) => [model, passed])).toEqual([
      ['a', false],
      ['b', false],
    ]);
    expect(all.every(({ problem = '' }) => problem !== '')).toBe(true);
    expect(told).toEqual([1, 2]);
    expect(await measureVerified(folder, { ...there, seconds: 0 })).toEqual([]);
    rmSync(folder, { recursive: true });
  });
});

describe('a report', () => {
  it('is whole at any time, and goes to what is no file as it is', () => {
    const folder = mkdtempSync(join(tmpdir(), 'monta-report-'));
    const file = join(folder, 'report.json');
    for (const text of ['{"a":1}', '{}']) {
      writeWhole(file, text);
      expect(readFileSync(file, 'utf8')).toBe(text);
    }
    expect(readdirSync(folder)).toEqual(['report.json']);
    writeWhole('/dev/null', 'x');
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
    rmSync(folder, { recursive: true });
  });
});

describe('nodes of cards', () => {
  it('have as many ranks as there are cards, eight at most; one card is shared', () => {
    expect([1, 2, 3, 4, 6, 8, 16].map(tpOfCards)).toEqual([2, 2, 2, 4, 4, 8, 8]);
  });
});
