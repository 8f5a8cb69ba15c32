/**
 * `--calibration` of every command that predicts, with a calibration whose times are known in closed form: the
 * prediction must show exactly those times (in train and bench: those times on the slowed clock), and files that cannot
 * be meant must be refused.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCluster, readPerfetto, writeCalibration, type Span } from '@monta/core';
import { loadCalibration } from '../inputs.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

let folder = '';
const file = (name: string): string => join(folder, name);

async function json<T>(...inputs: string[]): Promise<T> {
  const { out, err, code } = await monta(...inputs, '--json');
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out) as T;
}

/** Links as measured: latency and time per byte of the total buffer, inside a node and across. */
const latency = 30e-6;
const secondsPerByte = (nodes: number): number => (nodes > 1 ? 10e-9 : 2e-9);
const measuredSeconds = (nodes: number, bytes: number): number => latency + bytes * secondsPerByte(nodes);

/** Measurements of the links, so many times slower. */
function measurements(slower: number, gpu: string): string {
  const rows = ['op,ranks,nodes,gpu,size_bytes,time_us'];
  for (const [ranks, nodes] of [
    [2, 1],
    [2, 2],
    [4, 2],
  ] as const) {
    for (const op of ['all_to_all', 'all_gather', 'reduce_scatter', 'all_reduce']) {
      for (let power = 8; power <= 28; power += 4) {
        const seconds = slower * measuredSeconds(nodes, 2 ** power);
        rows.push([op, ranks, nodes, gpu, 2 ** power, seconds * 1e6].join(','));
      }
    }
  }
  return `${rows.join('\n')}\n`;
}

/** A calibration file of the links. */
async function calibrate(name: string, slower: number, gpu = 'CPU share'): Promise<string> {
  writeFileSync(file(`${name}.csv`), measurements(slower, gpu));
  expect((await monta('calibrate', file(`${name}.csv`), '-o', file(`${name}.json`))).code).toBe(0);
  return file(`${name}.json`);
}

// One rank a replica: an exchange joins all four ranks, so none shares its ports, and its time is the measured one.
const place = ['--cluster', 'laptop-2x2', '--layout', 'dp=4,ep=4'];
const model = ['--model', 'tiny-bytes', ...place];
const slowTimes = 20;

let links = '';
let slow = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'monta-calibration-flag-'));
  links = await calibrate('links', 1);
  slow = await calibrate('slow', slowTimes);
});
afterAll(() => rmSync(folder, { recursive: true }));

const isExchange = ({ operation }: Span): boolean => /\/(?:all_to_all|return)\.\d+$/u.test(operation);

/** The buffer of an exchange over four ranks, of which a rank sends three quarters away. */
const bufferOf = ({ bytes }: Span): number => (bytes * 4) / 3;

describe('monta simulate --calibration', () => {
  it('says of every collective what it rests on: measured, or carried from which series', async () => {
    interface Rests {
      readonly collectives: readonly {
        readonly name: string;
        readonly ranks: number;
        readonly basis: string;
        readonly detail: string;
      }[];
    }
    const inputs = ['simulate', '--model', 'tiny-bytes', '--dispatch', 'sliced', '--calibration', links];
    const rests = async (cluster: string, layout: string): Promise<Rests['collectives'][number] | undefined> => {
      const { collectives } = await json<Rests>(...inputs, '--cluster', cluster, '--layout', layout);
      return collectives.find(({ name }) => name === 'all_to_all');
    };
    const measured = await rests('laptop-2x2', 'dp=4,ep=4');
    expect(measured).toMatchObject({ ranks: 4, basis: expect.stringMatching(/^(?:measured|interpolated)$/u) });
    expect(measured?.detail).toMatch(/links\.csv/u);
    const carried = await rests('laptop-1x4', 'dp=4,ep=4');
    expect(carried).toMatchObject({ ranks: 4, basis: 'scaled' });
    expect(carried?.detail).toMatch(/from 2 ranks; .*links\.csv/u);
  });

  it('gives exchanges the measured times, and other operations what they had', async () => {
    interface Result {
      readonly seconds: number;
      readonly operations: readonly Span[];
    }
    const inputs = ['simulate', ...model, '--of', 'dispatch', '--dispatch', 'sliced', '--dtype', 'f32'];
    const plain = await json<Result>(...inputs);
    const fast = await json<Result>(...inputs, '--calibration', links);
    const slowed = await json<Result>(...inputs, '--calibration', slow);
    const exchanges = fast.operations.filter((span) => isExchange(span) && span.bytes > 0);
    expect(exchanges).toHaveLength(4);
    for (const span of exchanges)
      expect((span.end - span.ready) / measuredSeconds(2, bufferOf(span))).toBeCloseTo(1, 9);
    const inExchanges = exchanges.reduce((sum, span) => sum + measuredSeconds(2, bufferOf(span)), 0);
    expect(slowed.seconds - fast.seconds).toBeCloseTo((slowTimes - 1) * inExchanges, 9);
    const kernels = ({ operations }: Result): number[] =>
      operations.filter(({ operation }) => /pack|combine/u.test(operation)).map(({ end, ready }) => end - ready);
    expect(kernels(fast).length).toBeGreaterThan(0);
    kernels(fast).forEach((seconds, i) => expect(seconds).toBeCloseTo(kernels(plain)[i] ?? NaN, 12));
  });
});

describe('monta plan --calibration', () => {
  interface Result {
    readonly best: { readonly seconds: number };
    readonly calibration: string | null;
  }
  const inputs = ['plan', ...model, '--no-flips'];

  it('plans for the measured links, and names the file', async () => {
    const plain = await json<Result>(...inputs);
    const fast = await json<Result>(...inputs, '--calibration', links);
    const slowed = await json<Result>(...inputs, '--calibration', slow);
    expect([plain.calibration, fast.calibration]).toEqual([null, links]);
    // Links that follow the cluster file nearly (5 GB/s against 4 in an exchange) leave the plan where it was.
    expect(fast.best.seconds / plain.best.seconds).toBeGreaterThan(0.7);
    expect(fast.best.seconds / plain.best.seconds).toBeLessThan(1.4);
    expect(slowed.best.seconds).toBeGreaterThan(fast.best.seconds * 1.5);
  });

  it('is linear in the links where nothing hides them', async () => {
    const slower = await calibrate('slower', 2 * slowTimes);
    const slowest = await calibrate('slowest', 3 * slowTimes);
    const seconds: number[] = [];
    for (const calibration of [slow, slower, slowest])
      seconds.push((await json<Result>(...inputs, '--calibration', calibration)).best.seconds);
    const [a = NaN, b = NaN, c = NaN] = seconds;
    expect((c - b) / (b - a)).toBeCloseTo(1, 1);
  });
});

/**
 * That a time on the slowed clock is at least what was measured of the links, and no other order of magnitude: what
 * this machine adds depends on its speed, and on what else it does.
 */
function expectNear(predicted: number, expected: number): void {
  expect(predicted).toBeGreaterThan(expected * 0.999);
  expect(predicted).toBeLessThan(expected * 10);
}

describe('a calibration of one card', () => {
  it('gives what kernels reach, and leaves links to the cluster file', async () => {
    const one = { sequence: 8192, heads: 32, kvHeads: 32, headDim: 128, valueDim: 128 };
    const card = {
      gemms: [{ m: 8192, n: 8192, k: 8192, seconds: (2 * 8192 ** 3) / 600e12 }],
      attention: [{ ...one, forwardSeconds: 1e-3, backwardSeconds: 2.8e-3 }],
      memoryBytesPerSecond: 4e12,
      launchSeconds: 2e-6,
      hostLaunchSeconds: 4e-6,
    };
    const key = { gpu: 'NVIDIA H200', system: '', library: 'monta cuda', computeDevice: 'NVIDIA H200' };
    const probe = { ...key, emulatedTimeScale: null, tiers: [], gemms: [], interference: null, card };
    writeFileSync(file('card.json'), writeCalibration({ series: [], notes: [], probes: [probe] }));
    const cluster = getCluster('h200-1x8');
    const { curves, inputs, inputSource } = loadCalibration(file('card.json'), cluster);
    expect(curves).toBeUndefined();
    expect(inputSource).toMatch(/one card probed, .*card\.json; links of the datasheet/u);
    const peak = cluster.device.flopsPerSecond.bf16 ?? NaN;
    expect(inputs?.gemmEfficiency).toBeCloseTo(600e12 / peak, 6);
    expect(inputs?.memoryEfficiency).toBeCloseTo(4e12 / cluster.device.memoryBytesPerSecond, 6);
    expect(() => loadCalibration(file('card.json'), getCluster('a800-2x8'))).toThrow(/says nothing about A800/u);
    // beside a probe of the links, which timed products too, in whatever order files were merged
    const gemms = [{ m: 4096, n: 4096, k: 4096, seconds: (2 * 4096 ** 3) / 300e12 }];
    const { card: _, ...ofLinks } = { ...probe, library: 'nccl 2.28', gemms };
    for (const probes of [
      [ofLinks, probe],
      [probe, ofLinks],
    ]) {
      writeFileSync(file('both.json'), writeCalibration({ series: [], notes: [], probes }));
      expect(loadCalibration(file('both.json'), cluster).inputs).toEqual(inputs);
    }
  });
});

describe('monta bench dispatch --calibration', () => {
  it('predicts the measured times on the slowed clock, and warns that other links run', async () => {
    interface Case {
      readonly name: string;
      readonly pass: string;
      readonly predictedSeconds: number;
    }
    const shape = ['--tokens', '64', '--hidden', '32', '--experts', '4', '--topk', '2'];
    const short = ['--rounds', '1', '--seconds', '1', '--chunks', '1', '--only', 'sliced'];
    const inputs = [...shape, ...place, ...short, '--calibration', slow, '--json'];
    const { out, err, code } = await monta('bench', 'dispatch', ...inputs);
    expect(code).toBe(0);
    expect(err).toMatch(/slow\.json was not measured on the emulated network of laptop-2x2/u);
    const { cases, scale } = JSON.parse(out) as {
      readonly cases: readonly Case[];
      readonly scale: { readonly timeScale: number };
    };
    // 64 tokens go to 2 experts each, in rows of 32 values of bf16
    const seconds = slowTimes * measuredSeconds(2, 64 * 2 * 32 * 2) * scale.timeScale;
    const forward = cases.find(({ name, pass }) => name === 'sliced' && pass === 'forward');
    expectNear(forward?.predictedSeconds ?? NaN, 2 * seconds);
  });

  it('refuses it at memory speed', async () => {
    const shape = ['--tokens', '8', '--hidden', '8', '--experts', '4', '--topk', '2'];
    const inputs = [...shape, ...place, '--emulate', 'off', '--calibration', links];
    const { err, code } = await monta('bench', 'dispatch', ...inputs);
    expect(code).toBe(2);
    expect(err).toMatch(/--calibration with --emulate off/u);
  });
});

const tinyRun = ['--steps', '2', '--batch', '4', '--micro-batch', '1', '--sequence', '32', '--dispatch', 'sliced'];

describe('monta train --calibration', () => {
  it('predicts exchanges with the measured times on the slowed clock, in plan and trace', async () => {
    interface Report {
      readonly timing: { readonly timeScale: number };
    }
    const output = file('runs');
    const inputs = [...place, ...tinyRun, '--no-compare', '--output', output, '--calibration', slow];
    const { out, code } = await monta('train', ...inputs, '--json');
    expect(code).toBe(0);
    const { timing } = JSON.parse(out) as Report;
    const [run = ''] = readdirSync(output);
    const traces = readPerfetto(readFileSync(join(output, run, 'trace.json'), 'utf8'), 'trace.json');
    const predicted = traces.find(({ kind }) => kind === 'simulated')?.spans.filter(isExchange) ?? [];
    expect(predicted.length).toBeGreaterThan(0);
    for (const span of predicted) {
      const expected = slowTimes * measuredSeconds(2, bufferOf(span)) * timing.timeScale;
      expectNear(span.end - span.ready, expected);
    }
  });
});

describe('a file that cannot be meant', () => {
  const commands: readonly (readonly string[])[] = [
    ['plan', ...model, '--no-flips'],
    ['simulate', ...model],
    ['bench', 'dispatch', ...place, '--tokens', '8', '--hidden', '8', '--experts', '4', '--topk', '2'],
    ['train', ...place, ...tinyRun],
  ];
  const text = (change: (text: string) => string) => (): string => change(readFileSync(links, 'utf8'));
  const files: readonly (readonly [string, () => string, RegExp])[] = [
    ['of measurements', () => measurements(1, 'CPU share'), /is not a calibration(?:.|\n)*monta calibrate/u],
    ['of something else', () => '{"name": "a package"}', /is not a calibration/u],
    ['that is cut off', text((whole) => whole.slice(0, whole.length / 2)), /cannot be read as JSON/u],
    ['of another version', text((whole) => whole.replace('"version": 1', '"version": 9')), /version 9 is not known/u],
    ['with a misspelt key', text((whole) => whole.replace('"ranks"', '"rank"')), /unknown key "rank"/u],
    ['with times that fall', text((whole) => whole.replace('[256, ', '[256, 9')), /breaks the order/u],
    ['with nothing in it', () => '{"format": "monta-calibration", "version": 1, "series": []}', /nothing in it/u],
    [
      'of another device',
      text((whole) => whole.replaceAll('CPU share', 'L40S')),
      /says nothing about CPU share(?:.|\n)*L40S/u,
    ],
  ];

  it.each(files)('%s is refused by all with exit code 2, by name', async (_, content, message) => {
    const path = file('bad.json');
    writeFileSync(path, content());
    for (const command of commands) {
      const output = command[0] === 'train' ? ['--output', file('no-run')] : [];
      const { out, err, code } = await monta(...command, ...output, '--calibration', path);
      expect({ command: command[0], code, out }).toEqual({ command: command[0], code: 2, out: '' });
      expect(err).toMatch(message);
      expect(err).toContain('bad.json');
    }
    expect(existsSync(file('no-run'))).toBe(false);
  });

  it('that is not there is refused by all', async () => {
    for (const command of commands) {
      const { err, code } = await monta(...command, '--calibration', file('nowhere.json'));
      expect(code).toBe(2);
      expect(err).toMatch(/nowhere\.json.*no such file/u);
    }
  });
});
