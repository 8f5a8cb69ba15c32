/** A probe of one card, on a card of the test's making: which calls it makes, and what it leaves. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCalibration, writeCalibration } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeCuda } from '../../../testing/device/fake-cuda.js';
import { cacheVariable } from '../../device/cuda/compile.js';
import { CudaContext } from '../../device/cuda/context.js';
import { probeCard } from './card-probe.js';

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-card-'));
  process.env[cacheVariable] = folder;
});

afterAll(() => {
  delete process.env[cacheVariable];
  rmSync(folder, { recursive: true });
});

const heads = { heads: 2, kvHeads: 2, headDim: 64, valueDim: 64, batch: 1 };
const sizes = {
  rates: { side: 64, copyBytes: 2 ** 12, sustainedMilliseconds: 0.01, runMilliseconds: 0.01 },
  products: [[64, 128, 32]],
  attention: [{ ...heads, sequence: 64 }],
  productMilliseconds: 0.01,
} as const;

describe('a probe of one card', () => {
  it('times products, attention, memory and launches, gives all back, and can be read as a calibration', () => {
    const fake = new FakeCuda(1, 2 ** 28);
    const probe = probeCard(new CudaContext({ libraries: fake.libraries() }), sizes);
    expect(probe.tiers).toEqual([]);
    expect(probe.card?.gemms.map(({ m, n, k }) => [m, n, k])).toEqual([[64, 128, 32]]);
    expect(probe.card?.attention.map(({ sequence }) => sequence)).toEqual([64]);
    expect([fake.memory.size, fake.events.size, fake.streams.size]).toEqual([0, 0, 1]);
    const calibration = { series: [], notes: [], probes: [{ ...probe, gpu: 'a card', computeDevice: 'a card' }] };
    expect(readCalibration(writeCalibration(calibration), 'card.json')).toEqual(calibration);
  });
});
