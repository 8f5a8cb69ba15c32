import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatBandwidth,
  formatBytes,
  formatCount,
  formatFlops,
  formatInteger,
  formatPercent,
  formatSeconds,
} from './format.js';
import { parseBandwidth } from './quantities.js';

describe('formatters', () => {
  it.each([
    [formatBytes(33.56e6), '33.6 MB'],
    [formatBytes(999.96e6), '1.00 GB'],
    [formatBytes(0), '0 B'],
    [formatBytes(80 * 2 ** 30, 'binary'), '80 GiB'],
    [formatBandwidth(25e9), '25 GB/s'],
    [formatBandwidth(2.039e12), '2.04 TB/s'],
    [formatFlops(59.2e9), '59.2 GFLOP/s'],
    [formatSeconds(4.312e-3), '4.31 ms'],
    [formatSeconds(3e-6), '3 µs'],
    [formatSeconds(0), '0 s'],
    [formatSeconds(-1.1e-16), '0 s'],
    [formatSeconds(6e-13), '0.001 ns'],
    [formatSeconds(-4.312e-3), '-4.31 ms'],
    [formatSeconds(59.96), '1:00'],
    [formatSeconds(125), '2:05'],
    [formatSeconds(3725), '1:02:05'],
    [formatSeconds(Infinity), '∞'],
    [formatCount(46.7028e9), '46.7B'],
    [formatCount(512), '512'],
    [formatCount(11_420), '11.4k'],
    [formatCount(0.25), '0.250'],
    [formatInteger(8192), '8,192'],
    [formatPercent(0.384), '38 %'],
    [formatPercent(0.0943), '9.4 %'],
    [formatPercent(-0.17), '-17 %'],
  ])('%s', (got, wanted) => expect(got).toBe(wanted));

  it('stays within half a unit of the third digit', () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 1e17, noNaN: true }), (x) => {
        const back = parseBandwidth(formatBandwidth(x));
        expect(Math.abs(back - x) / x).toBeLessThanOrEqual(0.00502);
      }),
    );
  });
});
