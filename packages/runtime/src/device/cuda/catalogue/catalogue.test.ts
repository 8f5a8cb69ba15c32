import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kernels } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeCuda } from '../../../../testing/device/fake-cuda.js';
import { otherSteps, smallModels } from '../../../bench/cuda/small-models.js';
import { trainSteps } from '../../../bench/cuda/training.js';
import { cacheVariable } from '../compile.js';
import { CudaContext } from '../context.js';
import { CudaDevice } from '../cuda-device.js';
import type { CudaKernels } from './call.js';
import { cudaKernels } from './index.js';

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-catalogue-'));
  process.env[cacheVariable] = folder;
});

afterAll(() => {
  delete process.env[cacheVariable];
  rmSync(folder, { recursive: true });
});

/** Kernels that note their names. */
function noting(names: Set<string>): CudaKernels {
  return Object.fromEntries(
    Object.entries(cudaKernels).map(([name, kernel]) => [
      name,
      (call) => {
        names.add(name);
        kernel(call);
      },
    ]),
  );
}

const overRanks = ['gemm', 'moe.picks', 'moe.capacity.gathered', 'moe.take'];

describe("the catalogue's kernels on a card", () => {
  it('are named as the catalogue names them', () => {
    expect(Object.keys(cudaKernels).filter((name) => !Object.hasOwn(kernels, name))).toEqual([]);
  });

  it('a training step finds all its kernels, each launch with every parameter and no other', () => {
    const names = new Set<string>();
    // No kernel runs: counts of rows are what lies in new memory.
    const fake = new FakeCuda(1, 2 ** 30, 0);
    const context = new CudaContext({ libraries: fake.libraries(0) });
    const device = new CudaDevice(context, { kernels: noting(names) });
    for (const model of smallModels) trainSteps(model, device, 1);
    for (const { model, changes } of otherSteps) trainSteps(model, device, 1, changes);
    device.close();
    // `gemm` is for timing; others belong to tensor parallelism.
    expect(Object.keys(cudaKernels).filter((name) => !names.has(name))).toEqual(overRanks);
    expect(fake.launches).toBeGreaterThan(100);
    expect(fake.memory.size).toBe(0);
  });

  it('what kernels take for themselves never lies where a region was freed a moment ago', () => {
    const fake = new FakeCuda(2, 2 ** 26);
    const context = new CudaContext({ libraries: fake.libraries(0) });
    const device = new CudaDevice(context);
    const region = device.allocate('f32', 1000);
    device.free(region);
    expect(context.memory.allocate(4000)).not.toBe(region.byteOffset);
    device.close();
  });
});
