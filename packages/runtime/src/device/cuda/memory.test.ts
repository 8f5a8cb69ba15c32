import { describe, expect, it } from 'vitest';
import { CudaLibraries, type LibraryName } from './bindings/index.js';
import { DeviceMemory, roundedBytes } from './memory.js';

/** A runtime that hands out addresses and notes what is given back. */
function runtime() {
  const taken: number[] = [];
  const given: number[] = [];
  let next = 2 ** 40;
  const open = (name: LibraryName) => ({
    file: name.files[0],
    func:
      (declaration: string) =>
      (...values: readonly unknown[]) => {
        if (declaration.includes('cudaMalloc(')) {
          (values[0] as BigUint64Array)[0] = BigInt(next);
          taken.push(values[1] as number);
          next += values[1] as number;
        }
        if (declaration.includes('cudaFree(')) given.push(values[0] as number);
        return 0;
      },
  });
  return { runtime: new CudaLibraries(0, open).runtime, taken, given };
}

describe('memory of a card', () => {
  it('keeps a block and gives it out again for any size that rounds to its own', () => {
    const { runtime: calls, taken } = runtime();
    const memory = new DeviceMemory(calls);
    const first = memory.allocate(1000);
    const second = memory.allocate(1000);
    expect(second).not.toBe(first);
    memory.free(first);
    expect(memory.allocate(600)).toBe(first);
    memory.free(first);
    expect(memory.allocate(400)).not.toBe(first);
    expect(taken).toEqual([1024, 1024, 512]);
  });

  it('counts what is in use and the most at any time', () => {
    const memory = new DeviceMemory(runtime().runtime);
    const large = memory.allocate(3 * 2 ** 20);
    memory.allocate(10);
    memory.free(large);
    expect(memory.usedBytes).toBe(512);
    expect(memory.peakBytes).toBe(4 * 2 ** 20 + 512);
  });

  it('gives everything back at the end, also what is in use', () => {
    const { runtime: calls, given } = runtime();
    const memory = new DeviceMemory(calls);
    const addresses = [memory.allocate(1), memory.allocate(2 ** 21), memory.allocate(5)];
    memory.free(addresses[1]);
    memory.close();
    expect([...given].sort((a, b) => a - b)).toEqual(addresses);
  });

  it('refuses to free what it did not give, or twice', () => {
    const memory = new DeviceMemory(runtime().runtime);
    const address = memory.allocate(8);
    memory.free(address);
    expect(() => memory.free(address)).toThrow('no block');
  });

  it('rounds small blocks to 512 bytes and large ones to pages', () => {
    expect([0, 1, 512, 513, 2 ** 20, 2 ** 21 + 1].map(roundedBytes)).toEqual([512, 512, 512, 1024, 2 ** 21, 2 ** 22]);
  });
});
