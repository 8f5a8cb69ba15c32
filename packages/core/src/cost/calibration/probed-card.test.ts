import { describe, expect, it } from 'vitest';
import { readCalibration, writeCalibration } from './calibration.js';
import { cardShares, type Probe, type ProbedCard } from './probe.js';

/** One H200, by hand on 2026-11-28 and 29: products 678 TFLOP/s sustained, cuDNN's attention, a copy 4.30 TB/s. */
const card: ProbedCard = {
  gemms: [{ m: 8192, n: 8192, k: 8192, seconds: (2 * 8192 ** 3) / 678e12 }],
  attention: [
    {
      sequence: 8192,
      heads: 32,
      kvHeads: 32,
      headDim: 128,
      valueDim: 128,
      forwardSeconds: 1.0e-3,
      backwardSeconds: 2.82e-3,
    },
  ],
  memoryBytesPerSecond: 4.3e12,
  launchSeconds: 2e-6,
  hostLaunchSeconds: 3.8e-6,
};
const probe: Probe = {
  gpu: 'NVIDIA H200',
  system: '',
  library: 'monta cuda',
  emulatedTimeScale: null,
  tiers: [],
  computeDevice: 'NVIDIA H200',
  gemms: [],
  interference: null,
  card,
};

describe('a probe of one card', () => {
  it('reaches shares of the datasheet that its times say', () => {
    const shares = cardShares(card, { flopsPerSecond: 989.4e12, memoryBytesPerSecond: 4.8e12 });
    expect(shares.gemm).toBeCloseTo(678 / 989.4, 6);
    expect(shares.memory).toBeCloseTo(4.3 / 4.8, 6);
    // Half of the pairs of 8192 positions, 4 x 128 FLOPs and a head each; twice and a half as much back.
    expect(shares.attention).toBeCloseTo((3.5 * 0.5 * 8192 ** 2 * 32 * 512) / 3.82e-3 / 989.4e12, 3);
    const fast = cardShares({ ...card, memoryBytesPerSecond: 9e12 }, { flopsPerSecond: 1, memoryBytesPerSecond: 1 });
    expect([fast.gemm, fast.attention, fast.memory]).toEqual([1, 1, 1]);
  });

  it('is read back as it was written, and refused where a figure is none', () => {
    const calibration = { series: [], notes: [], probes: [probe] };
    const text = writeCalibration(calibration);
    expect(readCalibration(text, 'card.json')).toEqual(calibration);
    expect(() => readCalibration(text.replace('4300000000000', '0'), 'card.json')).toThrow('out of range');
  });
});
