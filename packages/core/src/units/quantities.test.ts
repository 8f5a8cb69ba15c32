import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from './errors.js';
import {
  parseBandwidth,
  parseBytes,
  parseCount,
  parseFlops,
  parseSeconds,
  writeBandwidth,
  writeBytes,
  writeFlops,
  writeSeconds,
} from './quantities.js';

function failure(run: () => unknown): InputError {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error('expected an InputError');
}

describe('parsers', () => {
  it.each([
    ['80 GiB', 85_899_345_920],
    ['512 MB', 512_000_000],
    ['1.5KiB', 1536],
    ['0', 0],
    ['1,024 B', 1024],
    ['2 TB', 2e12],
  ])('reads %s as bytes', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each([
    ['25 GB/s', 25e9],
    ['200 Gbps', 25e9],
    ['400 Gbit/s', 50e9],
    ['2.04 TB/s', 2_040_000_000_000],
    ['1 GiB/s', 2 ** 30],
    ['8 Kibit/s', 1024],
    ['100 MBps', 1e8],
  ])('reads %s as a bandwidth', (text, value) => expect(parseBandwidth(text)).toBe(value));

  it.each([
    ['3 us', 3e-6],
    ['1.5 ms', 1.5e-3],
    ['20 µs', 20e-6],
    ['250 ns', 250e-9],
    ['2s', 2],
  ])('reads %s as a time', (text, value) => expect(parseSeconds(text)).toBe(value));

  it('reads FLOP rates and counts', () => {
    expect(parseFlops('312 TFLOPS')).toBe(312e12);
    expect(parseFlops('1.979 PFLOP/s')).toBe(1.979e15);
    expect(parseCount('8Ki')).toBe(8192);
    expect(parseCount('4,096')).toBe(4096);
    expect(parseCount(8192)).toBe(8192);
    expect(parseCount('1.5 M')).toBe(1_500_000);
  });

  it('suggests the nearest unit', () => {
    expect(failure(() => parseBandwidth('200 Gpbs')).format()).toBe(
      '"200 Gpbs" is not a bandwidth\n' +
        '  expected a number with bytes or bits a second, like 25 GB/s or 200 Gbps\n' +
        '  did you mean 200 Gbps?',
    );
    expect(failure(() => parseBytes('80 gib')).hint).toBe('did you mean 80 GiB?');
    expect(failure(() => parseBytes('80 Gb')).hint).toBe('did you mean 80 GB?');
    expect(failure(() => parseSeconds('3 uS')).hint).toBe('did you mean 3 us?');
  });

  it.each(['', 'fast', '-1 GB/s', '25', '25 parsecs', '1e999 GB/s', 'NaN GB/s', '1,00 GB/s', '--3 GB/s'])(
    'refuses the bandwidth "%s"',
    (text) => expect(failure(() => parseBandwidth(text)).exitCode).toBe(2),
  );

  it('refuses counts that are ambiguous or not whole', () => {
    expect(failure(() => parseCount('8k')).hint).toBe('did you mean 8192 (8Ki) or 8000?');
    failure(() => parseCount('1.5'));
    failure(() => parseCount(2.5));
  });
});

describe('writers', () => {
  it('writes what people would', () => {
    expect(writeBytes(80 * 2 ** 30)).toBe('80 GiB');
    expect(writeBytes(141e9)).toBe('141 GB');
    expect(writeBandwidth(2.039e12)).toBe('2.039 TB/s');
    expect(writeBandwidth(2e8)).toBe('200 MB/s');
    expect(writeSeconds(3e-6)).toBe('3 us');
    expect(writeFlops(312e12)).toBe('312 TFLOPS');
  });

  it('reads back exactly what it wrote', () => {
    const positive = fc.double({ min: 1e-3, max: 1e18, noNaN: true });
    fc.assert(
      fc.property(positive, (x) => {
        expect(parseBandwidth(writeBandwidth(x))).toBe(x);
      }),
    );
    fc.assert(
      fc.property(positive, (x) => {
        expect(parseFlops(writeFlops(x))).toBe(x);
      }),
    );
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (x) => {
        expect(parseBytes(writeBytes(x))).toBe(x);
      }),
    );
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e4, noNaN: true }), (x) => {
        expect(parseSeconds(writeSeconds(x))).toBe(x);
      }),
    );
  });
});
