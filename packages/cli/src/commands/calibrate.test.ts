import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readCalibration, writePerfetto, type Span } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

const fixtures = fileURLToPath(new URL('../../../core/src/cost/calibration/fixtures/', import.meta.url));
const inside = readFileSync(join(fixtures, 'nccl-inside-node.csv'), 'utf8');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-calibrate-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Writes a file into the test's folder and gives its path. */
function put(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Every second size of each series, by place in the file. */
function half(parity: 0 | 1): string {
  const seen = new Map<string, number>();
  const lines = inside.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const kept = lines.slice(1).filter((line) => {
    const key = line.split(',').slice(0, 5).join(',');
    const place = seen.get(key) ?? 0;
    seen.set(key, place + 1);
    return place % 2 === parity;
  });
  return [lines[0], ...kept, ''].join('\n');
}

const header = 'op,ranks,nodes,gpu,size_bytes,time_us';
/** An exact link: 10 us and 100 GB/s of bus bandwidth over 8 ranks. */
const linkTime = (bytes: number): number => 10 + (bytes * (7 / 8)) / 100e9 / 1e-6;
const link = (gpu: string, factor = 1): string =>
  [10, 16, 20, 24, 28]
    .map((power) => `all_gather,8,1,${gpu},${2 ** power},${linkTime(2 ** power) * factor}`)
    .join('\n');
const from = (source: string, rows: string): string =>
  rows
    .split('\n')
    .map((row) => `${row},${source}`)
    .join('\n');

interface FitJson {
  readonly series: readonly { readonly latencySeconds: number; readonly busBytesPerSecond: number }[];
  readonly warnings: readonly string[];
  readonly plots: readonly string[];
}

describe('monta calibrate', () => {
  it('recovers a link exactly, writes file and plot, prints the table', async () => {
    const file = put('link.csv', `${header}\n${link('H100')}\n`);
    const output = join(folder, 'link.json');
    const plot = join(folder, 'link.svg');
    const { out, code } = await monta('calibrate', file, '-o', output, '--plot', plot, '--json');
    expect(code).toBe(0);
    const result = JSON.parse(out) as FitJson;
    expect(result.series[0]?.latencySeconds).toBeCloseTo(10e-6, 9);
    expect((result.series[0]?.busBytesPerSecond ?? 0) / 100e9).toBeCloseTo(1, 6);
    expect(readCalibration(readFileSync(output, 'utf8'), output).series).toHaveLength(1);
    expect(readFileSync(plot, 'utf8')).toContain('all_gather');
    const { out: table } = await monta('calibrate', file, '-o', output);
    expect(table).toMatch(/all_gather +8 +1 +10.0 µs +100 GB\/s/u);
  });

  it('merges with an earlier calibration and refuses a contradicting one', async () => {
    const output = join(folder, 'merged.json');
    await monta('calibrate', put('a.csv', `${header}\n${link('H100')}\n`), '-o', output);
    const more = put('b.csv', `${header}\n${link('H100').replaceAll('all_gather', 'all_to_all')}\n`);
    expect((await monta('calibrate', more, '--merge', output, '-o', output)).code).toBe(0);
    expect(readCalibration(readFileSync(output, 'utf8'), output).series.map((s) => s.op)).toEqual([
      'all_gather',
      'all_to_all',
    ]);
    const slow = put('c.csv', `${header}\n${link('H100', 3)}\n`);
    const { err, code } = await monta('calibrate', slow, '--merge', output, '-o', output);
    expect(code).toBe(2);
    expect(err).toMatch(/differ 3\.0 times/u);
    expect(readCalibration(readFileSync(output, 'utf8'), output).series).toHaveLength(2);
  });

  it.each([
    [
      'two clusters under one name',
      [`${header},source`, from('one', link('H100')), from('two', link('H100', 4)), ''].join('\n'),
      /mixed hardware.*mixed\.csv:2(?:.|\n)*--system-by-file/u,
    ],
    [
      'times in the wrong unit',
      `${header}\n${link('H100', 1e-3)}\n`,
      /mixed\.csv:[2-6].*more than(?:.|\n)*check the unit/u,
    ],
    [
      'times that fall with size',
      [header, ...[2, 4, 8, 16, 32, 64].map((n) => `all_gather,8,1,H100,${1024 * n},${1000 / n}`), ''].join('\n'),
      /fall with size.*mixed\.csv:\d/u,
    ],
    [
      'a number that is none',
      `${header}\nall_gather,8,1,H100,1024,ten\n`,
      /mixed\.csv:2 {2}time_us: "ten" is not a number/u,
    ],
    ['no time at all', `op,ranks,size_bytes\nall_gather,8,1024\n`, /time_us/u],
    ['nothing', '', /is empty/u],
    ['prose', 'the cluster was fast\n', /no table of nccl-tests/u],
    [
      'one rank',
      `${header}\nall_gather,1,1,H100,1024,5\nall_gather,1,1,H100,2048,6\n`,
      /at least 2 ranks.*mixed\.csv:2/u,
    ],
  ])('refuses %s with exit code 2, naming the rows', async (_, text, message) => {
    const { out, err, code } = await monta('calibrate', put('mixed.csv', text), '-o', join(folder, 'no.json'));
    expect({ out, code }).toEqual({ out: '', code: 2 });
    expect(err).toMatch(message);
    expect(() => readFileSync(join(folder, 'no.json'))).toThrow(/ENOENT/u);
  });

  it('leaves out the row at which a log was cut off, and says so', async () => {
    const log = readFileSync(join(fixtures, 'superbench-alltoall.txt'), 'utf8').trimEnd();
    const output = join(folder, 'cut.json');
    const whole = JSON.parse(
      (await monta('calibrate', put('alltoall.txt', log), '-o', output, '--json')).out,
    ) as FitJson;
    const lastRow = [...log.matchAll(/^ +\d+ .*$/gmu)].at(-1);
    const cut = log.slice(0, (lastRow?.index ?? 0) + 58);
    const { out, code } = await monta('calibrate', put('alltoall-cut.txt', cut), '-o', output, '--json');
    expect(code).toBe(0);
    const result = JSON.parse(out) as FitJson;
    expect(result.series).toHaveLength(whole.series.length);
    expect(result.warnings.join('\n')).toMatch(/alltoall-cut\.txt:\d+.*cut short/u);
  });

  it('keeps clusters of one GPU apart by the names of their files', async () => {
    const one = put('first.csv', `${header}\n${link('H100')}\n`);
    const two = put('second.csv', `${header}\n${link('H100', 4)}\n`);
    const output = join(folder, 'apart.json');
    expect((await monta('calibrate', one, two, '--system-by-file', '-o', output)).code).toBe(0);
    expect(readCalibration(readFileSync(output, 'utf8'), output).series.map((s) => s.system)).toEqual([
      'first',
      'second',
    ]);
  });

  it('says that a calibration is for --merge', async () => {
    const output = join(folder, 'again.json');
    await monta('calibrate', put('again.csv', `${header}\n${link('H100')}\n`), '-o', output);
    const { err, code } = await monta('calibrate', output, '-o', output);
    expect(code).toBe(2);
    expect(err).toMatch(/--merge/u);
  });
});

describe('measured traces', () => {
  /**
   * all_to_all over two groups of two ranks with 20 us and 1 GB/s each way. Every rank's clock starts at another
   * moment; a collective of all ranks lets them be aligned. `beside`: seconds by which the second group comes later.
   */
  type SpanSubject = Pick<Span, 'operation' | 'template' | 'task' | 'chunk' | 'of' | 'collective'>;
  const exchange = (chunk: number, members: readonly number[]): SpanSubject => ({
    operation: `moe.forward/all_to_all.${chunk}`,
    template: 'moe.forward',
    task: 'all_to_all',
    chunk,
    of: 3,
    collective: { name: 'all_to_all', group: 'ep', members },
  });
  const norm: SpanSubject = {
    operation: 'update/norm.reduce',
    template: 'update',
    task: 'norm.reduce',
    chunk: 0,
    of: 1,
    collective: { name: 'all_reduce', group: 'world', members: [0, 1, 2, 3] },
  };
  const spansOf = (beside: number): Span[] =>
    [0, 1, 2].flatMap((step) =>
      [0, 1, 2, 3].flatMap((rank) => {
        const clock = rank * 0.0037 + step * 0.001;
        const span = (of: SpanSubject, ready: number, seconds: number, bytes: number): Span => ({
          step,
          rank,
          node: 0,
          ...of,
          lane: 'inter',
          issued: ready - 1e-3 - clock,
          ready: ready - clock,
          end: ready + seconds - clock,
          bytes,
        });
        const exchanges = [0, 1, 2].map((chunk) => {
          const bytes = 1e6 * 2 ** chunk;
          // The first step is slower: it warms up.
          const seconds = (20e-6 + bytes / 1e9) * (step === 0 ? 5 : 1);
          const members = [rank % 2, (rank % 2) + 2];
          return span(exchange(chunk, members), 1 + chunk * 0.1 + (rank % 2) * beside, seconds, bytes);
        });
        return [...exchanges, span(norm, 2, 1e-4, 24)];
      }),
    );
  const trace = (kind: 'measured' | 'simulated', source: string, beside = 0.03, timeScale = 1) =>
    writePerfetto([{ kind, source, ranks: 4, timeScale, spans: spansOf(beside) }]);

  it.each([
    ['made here', 1],
    ['network emulated: laptop-2x2 at 1/5 of its speed', 5],
  ])('give the groups, sizes and times of their collectives (%s)', async (source, timeScale) => {
    const file = put('trace.json', trace('measured', source, 0.03, timeScale));
    const output = join(folder, 'trace-calibration.json');
    const { code } = await monta('calibrate', file, '--cluster', 'laptop-2x2', '-o', output);
    expect(code).toBe(0);
    const [series, ...rest] = readCalibration(readFileSync(output, 'utf8'), output).series;
    expect(rest).toEqual([]);
    expect(series).toMatchObject({ op: 'all_to_all', ranks: 2, nodes: 2, system: 'laptop-2x2' });
    // A rank that sends half of its buffer away has a buffer of twice that.
    expect(series?.points.map((p) => p.bytes)).toEqual([2e6, 4e6, 8e6]);
    for (const { bytes, seconds } of series?.points ?? [])
      expect(seconds * timeScale).toBeCloseTo(20e-6 + bytes / 2 / 1e9, 8);
  });

  it.each([
    ['simulated', trace('simulated', 'made here'), ['--cluster', 'laptop-2x2'], /simulated times only/u],
    ['without a cluster', trace('measured', 'made here'), [], /--cluster/u],
    ['of a larger cluster', trace('measured', 'made here'), ['--cluster', 'laptop-1x2'], /:\d+ {2}has a rank [23]\n/u],
    [
      'of exchanges that share a port',
      trace('measured', 'made here', 1e-4),
      ['--cluster', 'laptop-2x2'],
      /met others on a port/u,
    ],
  ])('are refused when they are %s', async (_, text, flags, message) => {
    const { err, code } = await monta('calibrate', put('bad.json', text), ...flags, '-o', join(folder, 'no.json'));
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });
});

describe('monta validate', () => {
  let calibration = '';
  beforeAll(async () => {
    calibration = join(folder, 'even.json');
    await monta('calibrate', put('even.csv', half(0)), '-o', calibration);
  });

  it('prints the agreed keys, agrees with its own rows, and beats the naive predictor', async () => {
    const { out, code } = await monta('validate', put('odd.csv', half(1)), '--calibration', calibration, '--json');
    expect(code).toBe(0);
    const result = JSON.parse(out) as {
      rows: number;
      unpriced: number;
      medianAbsoluteError: number;
      p90AbsoluteError: number;
      naiveMedianAbsoluteError: number;
      naiveP90AbsoluteError: number;
      details: { measuredSeconds: number; predictedSeconds: number; error: number }[];
    };
    expect(result).toMatchObject({ rows: 760, unpriced: 0 });
    const errors = result.details
      .map((row) => Math.abs(row.predictedSeconds / row.measuredSeconds - 1))
      .sort((a, b) => a - b);
    const middle = ((errors[379] ?? 0) + (errors[380] ?? 0)) / 2;
    expect(result.medianAbsoluteError).toBeCloseTo(middle, 9);
    expect(result.medianAbsoluteError).toBeLessThan(result.naiveMedianAbsoluteError);
    expect(result.p90AbsoluteError).toBeLessThan(result.naiveP90AbsoluteError);
  });

  it('counts rows without a prediction, and fails when there is no other', async () => {
    const other = `broadcast,64,8,Some other card,1024,5\n`;
    const mixed = put('other.csv', `${header}\n${link('H100')}\n${other}`);
    const { out, code } = await monta('validate', mixed, '--calibration', calibration, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ rows: 5, unpriced: 1 });
    const { err, code: refused } = await monta(
      'validate',
      put('only.csv', `${header}\n${other}`),
      '--calibration',
      calibration,
    );
    expect(refused).toBe(2);
    expect(err).toMatch(/can be predicted/u);
  });

  it.each([
    [['--calibration', 'missing.json'], /missing\.json.*no such file/u],
    [[], /calibration/u],
  ])('refuses %j', async (flags, message) => {
    const { err, code } = await monta('validate', put('some.csv', half(1)), ...flags);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });

  it('refuses a calibration of another version', async () => {
    const text = readFileSync(calibration, 'utf8').replace('"version": 1', '"version": 7');
    const { err, code } = await monta('validate', put('some.csv', half(1)), '--calibration', put('seven.json', text));
    expect(code).toBe(2);
    expect(err).toMatch(/version 7 is not known/u);
  });
});

describe('--calibration of monta plan', () => {
  it('prices with the measured curves and says so', async () => {
    const output = join(folder, 'a100.json');
    const rows = inside.split('\n').filter((line) => line.startsWith('op,') || line.includes('A100'));
    await monta('calibrate', put('a100.csv', rows.join('\n')), '-o', output);
    const inputs = [
      'plan',
      '--model',
      '2x70b',
      '--cluster',
      'a100-2x8',
      '--layout',
      'tp=8,dp=2,ep=2',
      '--no-flips',
      '--json',
    ];
    const plain = JSON.parse((await monta(...inputs)).out) as { best: { seconds: number } };
    const { out, code } = await monta(...inputs, '--calibration', output);
    expect(code).toBe(0);
    const measured = JSON.parse(out) as { best: { seconds: number }; calibration: string };
    expect(measured.calibration).toBe(output);
    expect(measured.best.seconds).not.toBe(plain.best.seconds);
    expect(measured.best.seconds / plain.best.seconds).toBeGreaterThan(0.5);
    expect(measured.best.seconds / plain.best.seconds).toBeLessThan(3);
  });

  it('refuses a calibration of another device', async () => {
    const output = join(folder, 'l40s.json');
    const rows = inside.split('\n').filter((line) => line.startsWith('op,') || line.includes('L40S'));
    await monta('calibrate', put('l40s.csv', rows.join('\n')), '-o', output);
    const { err, code } = await monta(
      'plan',
      '--model',
      '2x70b',
      '--cluster',
      'a800-2x8',
      '--layout',
      'tp=8,dp=2,ep=2',
      '--calibration',
      output,
    );
    expect(code).toBe(2);
    expect(err).toMatch(/says nothing about A800(?:.|\n)*L40S/u);
  });
});
