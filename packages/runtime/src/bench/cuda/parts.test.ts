/** Parts of a run on cards, on threads and on a host of the test's making. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Span } from '@monta/core';
import { withPatience } from '../../../testing/patience.js';
import { OutOfTime } from '../../launch/bounded-launcher.js';
import { localLauncher, type Launcher } from '../../launch/index.js';
import {
  layerSeconds,
  measureParallel,
  peerAnswer,
  whyNoAnswer,
  type ParallelJob,
  type PeerTimes,
} from './parallel.js';
import { tpOfCards } from './nodes.js';
import { errorsIn, findSanitizer, foundIn, runSanitizer } from './sanitizer.js';
import { measureVerified, type VerifiedModel } from './verified.js';
import { isNothing, leftBehind, measureStarts, type HostTraces } from './starts.js';

const empty: HostTraces = { processes: ['1 other'], services: [], files: ['somebody'], cardBytes: [5, 6] };
/** Its jobs take no time. */
const quick = { ...localLauncher, launch: () => Promise.resolve([]) };
const options = { launcher: quick, ranks: 2, seconds: 600, settleSeconds: 0.3, onReport: () => undefined };

describe('starts and stops', () => {
  it('leave nothing where everything is gone soon after the last', async () => {
    const looks = [empty, { ...empty, services: ['7 nvidia-cuda-mps-server'] }, empty];
    const look = (): HostTraces => looks.shift() ?? empty;
    const report = await measureStarts({ ...options, count: 2, settleSeconds: 600, look });
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

  it('names what it found, once for each place', () => {
    const race = (address: string): string => `========= Error: Race reported between Read access at one+0x${address}
=========     and Write access at other+0x90 [16 hazards]
=========`;
    expect(foundIn(`router: 8 of 8\n${race('10')}\n${race('20')}`)).toEqual([
      'Race reported between Read access at one',
      'and Write access at other',
    ]);
    expect(foundIn('========= Invalid __global__ read of size 4 bytes\n=========     at main+0x1')).toEqual([
      'Invalid __global__ read of size 4 bytes',
    ]);
    expect(foundIn('========= ERROR SUMMARY: 0 errors')).toEqual([]);
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

  it('runs its tools at once, each on its checks, until time is over', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'monta-sanitizer-'));
    const program = join(folder, 'compute-sanitizer');
    const slow = '[ "$2" = racecheck ] && exec sleep 600';
    writeFileSync(program, `#!/bin/sh\necho "$2 $3"\n${slow}\necho "ERROR SUMMARY: 2 errors"`);
    chmodSync(program, 0o755);
    const command = (without: readonly string[]): string[] => [`all but ${without.join(' and ')}`];
    await withPatience(1, async (seconds) => {
      const { runs } = await runSanitizer({ command, seconds, onRun: () => undefined, program });
      expect(runs.map(({ tool, errors }) => [tool, errors])).toEqual([
        ['memcheck', 2],
        ['racecheck', undefined],
        ['initcheck', 2],
        ['synccheck', 2],
      ]);
      expect(runs[3].said).toContain('synccheck all but attention');
      expect(runs[1].said).toContain('its time was over');
    });
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
    const all = await measureVerified(folder, { ...there, seconds: 600 });
    expect(all.map(({ model, passed }) => [model, passed])).toEqual([
      ['a', false],
      ['b', false],
    ]);
    expect(all.every(({ problem = '' }) => problem !== '')).toBe(true);
    expect(told).toEqual([1, 2]);
    expect(await measureVerified(folder, { ...there, seconds: 0 })).toEqual([]);
    rmSync(folder, { recursive: true });
    // A job that would never end by itself.
    const hanging: Launcher = {
      ...localLauncher,
      launch: ({ signal }) =>
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error))),
    };
    const fixtures = fileURLToPath(new URL('../../../../../fixtures/hf', import.meta.url));
    expect(await measureVerified(fixtures, { ...there, launcher: hanging, seconds: 0.2 })).toEqual([]);
  });
});

describe('a layer over all cards', () => {
  const span = (template: string, node: number, issued: number, end: number): Span => ({
    step: 1,
    rank: 0,
    operation: '',
    task: '',
    chunk: 0,
    of: 1,
    lane: 'compute',
    bytes: 0,
    template,
    node,
    issued,
    ready: issued,
    end,
  });

  it('counts from the first start of a pass to its last end, and nothing else of a step', () => {
    const spans = [
      span('moe.forward', 1, 2, 3),
      span('moe.forward', 1, 1, 2.5),
      span('attention.forward', 2, 0, 9),
      span('moe.backward', 7, 10, 14),
    ];
    expect(layerSeconds(spans, 2)).toBe((2 + 4) / 2);
  });

  it('takes turns with its peer, keeps all runs, and goes on where the peer fails', async () => {
    const order: string[] = [];
    const launcher: Launcher = {
      ...localLauncher,
      launch: ({ onMessage, workerData }) => {
        order.push('monta');
        const { strategies } = workerData as ParallelJob;
        for (const way of strategies.keys()) onMessage?.(0, { way, seconds: [way + 1, way + 2] });
        return Promise.resolve([]);
      },
    };
    const request = { launcher, ranks: 2, dtype: 'f32', seconds: 600, onReport: () => undefined } as const;
    const askPeer = (): Promise<PeerTimes> => {
      order.push('peer');
      return Promise.resolve({ milliseconds: [3000, 5000], torch: '2' });
    };
    const report = await measureParallel({ ...request, askPeer });
    expect(order).toEqual(['monta', 'peer', 'monta', 'peer']);
    expect(report.monta[0].seconds).toEqual([1, 2, 1, 2]);
    expect(report.peer).toMatchObject({ seconds: [3, 5, 3, 5], medianSeconds: 4, torch: '2' });
    const failing = (): Promise<PeerTimes> => Promise.reject(new Error('no module named torch'));
    const alone = await measureParallel({ ...request, askPeer: failing });
    expect([alone.monta[0].seconds.length, alone.peer, alone.problem]).toEqual([4, undefined, 'no module named torch']);
    let turn = 0;
    const late: Launcher = {
      ...launcher,
      launch: (options) => (turn++ === 0 ? launcher.launch(options) : Promise.reject(new OutOfTime())),
    };
    const cut = await measureParallel({ ...request, launcher: late, askPeer });
    expect(cut).toMatchObject({ cut: true, monta: [{ seconds: [1, 2] }, {}, {}, {}], peer: { seconds: [3, 5] } });
    expect(report.cut).toBeUndefined();
  });

  it('does not take processors for cards, and says why a peer did not answer without a place on this machine', () => {
    const answer = (device: string): string => `a warning\n{"milliseconds":[1],"torch":"2","device":"${device}"}\n`;
    expect(peerAnswer(answer('cuda'))).toEqual({ milliseconds: [1], torch: '2' });
    expect(() => peerAnswer(answer('cpu'))).toThrow('PyTorch here sees no card');
    expect(whyNoAnswer({ killed: true, stderr: 'a warning of NCCL' }, 61.2)).toBe('not done in 61 s');
    expect(whyNoAnswer({ code: 'ENOENT', stderr: '' }, 9)).toBe('no python3 on PATH');
    expect(whyNoAnswer({ code: 1, stderr: 'Traceback\nImportError: no torch\n' }, 9)).toBe('ImportError: no torch');
    expect(whyNoAnswer({ code: 3, stderr: '\n' }, 9)).toBe('python3 ended with 3');
  });
});

describe('nodes of cards', () => {
  it('have as many ranks as there are cards, eight at most; one card is shared', () => {
    expect([1, 2, 3, 4, 6, 8, 16].map(tpOfCards)).toEqual([2, 2, 2, 4, 4, 8, 8]);
  });
});
