/**
 * What `monta calibrate` reads from the trace of a run that really took place: it must be in the trace, of the right
 * ranks, and no faster than the links. Upper bounds there are none: another program on this machine makes a collective
 * as slow as it likes.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCluster, readPerfetto, type Measurement, type Span, maxOf, minOf } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';
import { readMeasurementFile } from '../calibrate/read-measurements.js';

let folder = '';
let trace = '';
let timeScale = 1;
let spans: readonly Span[] = [];
let measurements: readonly Measurement[] = [];
let warnings: readonly string[] = [];

/** One replica of two ranks on each of two nodes: gathers stay inside the nodes, exchanges cross. */
const place = ['--cluster', 'laptop-2x2', '--layout', 'tp=2,dp=2,ep=2'];
const sizes = ['--batch', '8', '--micro-batch', '4', '--sequence', '128', '--dispatch', 'scattered:1/4'];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'monta-calibrate-trace-'));
  const run = await monta('train', ...place, ...sizes, '--steps', '2', '--no-compare', '--output', folder, '--json');
  if (run.code !== 0) throw new Error(run.err);
  timeScale = (JSON.parse(run.out) as { timing: { timeScale: number } }).timing.timeScale;
  trace = join(folder, readdirSync(folder)[0] ?? '', 'trace.json');
  spans = readPerfetto(readFileSync(trace, 'utf8'), trace).find(({ kind }) => kind === 'measured')?.spans ?? [];
  ({ measurements, warnings } = readMeasurementFile(trace, { cluster: getCluster('laptop-2x2') }));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Seconds of the spans of an operation on the cluster's own clock, of the slowest member of each group. */
const secondsOf = (operation: RegExp, bytes: number): number[] =>
  spans
    .filter((span) => operation.test(span.operation) && span.bytes === bytes)
    .map((span) => (span.end - span.ready) / timeScale);

describe('the trace of a real run', () => {
  it('gives collectives inside the nodes and across, with the ranks of their groups', () => {
    const kinds = new Set(measurements.map(({ op, ranks, nodes }) => `${op} over ${ranks} on ${nodes}`));
    expect([...kinds]).toEqual(
      expect.arrayContaining(['all_gather over 2 on 1', 'reduce_scatter over 2 on 1', 'all_reduce over 2 on 1']),
    );
    expect([...kinds].filter((kind) => kind.startsWith('all_to_all'))).toEqual(['all_to_all over 2 on 2']);
    expect(measurements.every(({ gpu, system }) => gpu === 'CPU share' && system === 'laptop-2x2')).toBe(true);
    expect(warnings.join('\n')).toMatch(/network emulated: laptop-2x2 at 1\/[\d.]+ of its speed/u);
  });

  it('takes times from the trace: of the gather whose size does not depend on routing', () => {
    // every rank holds half of 4 x 128 tokens of 128 values in f32, and sends it to the other
    const sent = (4 * 128 * 128 * 4) / 2;
    const found = measurements.find(({ op, nodes, bytes }) => op === 'all_gather' && nodes === 1 && bytes === 2 * sent);
    const seconds = secondsOf(/\/gather\.\w+$/u, sent);
    expect(seconds.length).toBeGreaterThan(0);
    expect(found?.seconds).toBeGreaterThanOrEqual(minOf(seconds) * 0.999);
    expect(found?.seconds).toBeLessThanOrEqual(maxOf(seconds) * 1.001);
  });

  it('has nothing faster than the links: 1 GB/s in a node, 200 MB/s out of it', () => {
    for (const { op, ranks, nodes, bytes, seconds } of measurements) {
      const sent = (op === 'all_reduce' ? 2 : 1) * (bytes / ranks) * (ranks - 1);
      const link = nodes === 1 ? 1e9 : 200e6;
      expect(seconds * 1.05).toBeGreaterThan(sent / link);
    }
  });

  it('names lines of the file on which those collectives stand', () => {
    const lines = readFileSync(trace, 'utf8').split('\n');
    const words = {
      all_to_all: /all_to_all|return/u,
      all_gather: /gather|exchange/u,
      reduce_scatter: /scatter/u,
      all_reduce: /reduce/u,
    };
    for (const { op, line } of measurements) {
      if (op === 'broadcast' || op === 'send') continue;
      expect(lines[line - 1]).toMatch(words[op]);
      expect(lines[line - 1]).toContain('"cat":"measured"');
    }
  });
});
