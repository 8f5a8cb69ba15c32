/** Points in the middle of gaps, against links and protocols whose times are known everywhere. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median } from '../../units/index.js';
import { between, middleOf } from './middle.js';

interface Protocol {
  readonly latency: number;
  readonly perByte: number;
}

const timeOf = ({ latency, perByte }: Protocol, bytes: number): number => latency + perByte * bytes;

/** Sizes four times apart, the third gap from 4 MiB to 16 MiB: its middle is 8 MiB. */
const sizes = [2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26];
const middleBytes = 2 ** 23;
const gap = 2;

/** A library that changes from one protocol to another at a size. */
const knotsOf = (old: Protocol, fresh: Protocol, changeBytes: number) =>
  sizes.map((bytes) => ({ bytes, seconds: timeOf(bytes < changeBytes ? old : fresh, bytes) }));

const shareOff = (predicted: number, truth: number): number => Math.abs(predicted / truth - 1);

const protocol = (latency: number, gigabytesPerSecond: number): Protocol => ({
  latency: latency * 1e-6,
  perByte: 1e-9 / gigabytesPerSecond,
});

/**
 * Two protocols of which the second pays from `pays` times the size at which the library changes to it, and is that
 * much faster then.
 */
const pair = fc.record({
  latency: fc.double({ min: 10, max: 20, noNaN: true }),
  gigabytes: fc.double({ min: 100, max: 300, noNaN: true }),
  faster: fc.double({ min: 1.8, max: 4, noNaN: true }),
  pays: fc.double({ min: 1.7, max: 2.5, noNaN: true }),
});

describe('the middle of a gap', () => {
  it('is on the straight line for an alpha-beta link, wherever the gap', () => {
    const link = protocol(15, 120);
    for (const index of sizes.keys()) {
      const middle = middleOf(knotsOf(link, link, 1), index);
      expect((middle?.seconds ?? 1) / (middle === undefined ? 1 : timeOf(link, middle.bytes))).toBeCloseTo(1, 12);
    }
  });

  it('lies between its ends, whatever the points', () => {
    const points = fc
      .uniqueArray(
        fc.record({
          bytes: fc.integer({ min: 1, max: 2 ** 30 }),
          seconds: fc.double({ min: 1e-6, max: 1, noNaN: true }),
        }),
        { selector: (p) => p.bytes, minLength: 4, maxLength: 12 },
      )
      .map((list) => {
        const bytes = list.map((p) => p.bytes).sort((a, b) => a - b);
        const seconds = list.map((p) => p.seconds).sort((a, b) => a - b);
        return bytes.map((size, i) => ({ bytes: size, seconds: seconds[i] ?? 0 }));
      });
    fc.assert(
      fc.property(points, fc.nat(12), (knots, index) => {
        const middle = middleOf(knots, index);
        const [left, right] = [knots[index], knots[index + 1]];
        if (middle === undefined || left === undefined || right === undefined) return;
        expect(middle.bytes).toBeGreaterThan(left.bytes);
        expect(middle.bytes).toBeLessThan(right.bytes);
        expect(middle.seconds).toBeGreaterThanOrEqual(left.seconds);
        expect(middle.seconds).toBeLessThanOrEqual(right.seconds);
      }),
    );
  });

  it.each([
    ['already passed', 2 / 3],
    ['still ahead', 3 / 2],
  ])('sees a change of protocol that is %s', (_, position) => {
    const [ours, straight]: [number[], number[]] = [[], []];
    const changeBytes = middleBytes * position;
    fc.assert(
      fc.property(pair, ({ latency, gigabytes, faster, pays }) => {
        const old = protocol(latency, gigabytes);
        const perByte = old.perByte / faster;
        const fresh = { latency: old.latency + (old.perByte - perByte) * pays * changeBytes, perByte };
        const knots = knotsOf(old, fresh, changeBytes);
        const [left, right] = [knots[gap], knots[gap + 1]];
        if (left === undefined || right === undefined) return;
        const truth = timeOf(middleBytes < changeBytes ? old : fresh, middleBytes);
        const line = between(left, right, middleBytes);
        straight.push(shareOff(line, truth));
        ours.push(shareOff(middleOf(knots, gap)?.seconds ?? line, truth));
      }),
      { seed: 3, numRuns: 400 },
    );
    expect(median(straight)).toBeGreaterThan(0.05);
    expect(median(ours)).toBeLessThan(median(straight) / 2);
  });

  it('is left alone in wide gaps, at the ends, and for jumps of small messages', () => {
    const jumped = knotsOf(protocol(10, 100), protocol(60, 200), middleBytes * 0.75);
    expect(middleOf(jumped, 0)).toBeUndefined();
    expect(middleOf(jumped, sizes.length - 2)).toBeUndefined();
    expect(middleOf(jumped, gap)).toBeDefined();
    const wide = jumped.map((p, i) => ({ ...p, bytes: i > gap ? p.bytes * 2 : p.bytes }));
    expect(middleOf(wide, gap)).toBeUndefined();
    const small = jumped.map((p) => ({ ...p, bytes: p.bytes / 64 }));
    const [left, right] = [small[gap], small[gap + 1]];
    if (left === undefined || right === undefined) throw new Error('there is no gap');
    const line = between(left, right, middleBytes / 64);
    expect(middleOf(small, gap)?.seconds ?? line).toBeLessThan(1.1 * line);
  });
});
