import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { DeviceMemoryError } from '../device.js';
import { CpuMemory } from './memory.js';

describe('CpuMemory', () => {
  it('allocates aligned runs that do not overlap, and gives them back in order', () => {
    const memory = CpuMemory.create({ bytes: 4096 });
    const first = memory.allocate(100);
    const mark = memory.mark();
    const second = memory.allocate(1);
    expect([first % 64, second % 64]).toEqual([0, 0]);
    expect(second).toBeGreaterThanOrEqual(first + 100);
    memory.release(mark);
    expect(memory.allocate(1)).toBe(second);
    expect(memory.allocatedBytes).toBe(second + 64 - first);
    expect(() => memory.release(mark + 1)).toThrow(RangeError);
    expect(() => memory.release(mark + 6400)).toThrow(RangeError);
    expect(() => memory.allocate(-1)).toThrow(/at least 0/u);
  });

  it('gives typed arrays over the same bytes', () => {
    const memory = CpuMemory.create({ bytes: 4096 });
    const view = memory.allocateView('f32', 3);
    memory.f32(view).set([1, 2, -3]);
    expect([...memory.i32({ ...view, type: 'i32' })]).toEqual([0x3f800000, 0x40000000, -0x3fc00000]);
    expect(memory.u8(view).length).toBe(12);
    expect([...memory.u16({ type: 'bf16', byteOffset: view.byteOffset, length: 2 })]).toEqual([0, 0x3f80]);
    expect(() => memory.f32({ ...view, type: 'i32' })).toThrow(TypeError);
    expect(() => memory.u8({ ...view, length: 1 << 30 })).toThrow(RangeError);
  });

  it('keeps earlier arrays valid when it grows', () => {
    const memory = CpuMemory.create({ bytes: 1000, maximumBytes: 1 << 22 });
    const early = memory.f32(memory.allocateView('f32', 4));
    early.fill(5);
    const { buffer } = memory;
    const late = memory.f32(memory.allocateView('f32', 1 << 18));
    expect(memory.buffer).not.toBe(buffer);
    expect(memory.contains(early) && memory.contains(late)).toBe(true);
    expect(memory.contains(new Float32Array(1))).toBe(false);
    const again = memory.f32({ type: 'f32', byteOffset: early.byteOffset, length: 4 });
    early[0] = 7;
    expect([...again]).toEqual([7, 5, 5, 5]);
  });

  it('says what is missing when it is full', () => {
    const memory = CpuMemory.create({ bytes: 1000, maximumBytes: 100_000 });
    expect(() => memory.allocate(10 << 20)).toThrow(DeviceMemoryError);
    expect(() => memory.allocate(10 << 20)).toThrow(/10485760 bytes asked for, 0 allocated/u);
    expect(memory.allocate(1000)).toBeGreaterThan(0);
    expect(() => CpuMemory.create({ bytes: 2 ** 33 })).toThrow(DeviceMemoryError);
  });

  it('is shared with other threads, which see growth either way', async () => {
    const memory = CpuMemory.create({ bytes: 1000, maximumBytes: 1 << 23 });
    const view = memory.allocateView('i32', 4);
    // Plain JavaScript: grows by 64 pages, writes at both ends.
    const source = `const { workerData: { memory, byteOffset } } = require('node:worker_threads');
      const last = memory.grow(64) * 65536;
      new Int32Array(memory.buffer, byteOffset, 1)[0] = 42;
      new Int32Array(memory.buffer, last, 1)[0] = 43;`;
    const before = memory.buffer.byteLength;
    const worker = new Worker(source, { eval: true, workerData: { ...memory.handle, byteOffset: view.byteOffset } });
    await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
    expect(memory.i32(view)[0]).toBe(42);
    expect(memory.i32({ type: 'i32', byteOffset: before, length: 1 })[0]).toBe(43);
    expect(memory.buffer.byteLength).toBe(before + 64 * 65536);
    const attached = CpuMemory.attach(memory.handle);
    expect(attached.allocate(64)).toBe(memory.mark() - 64);
    const plain = new WebAssembly.Memory({ initial: 100, maximum: 100, shared: true });
    expect(() => CpuMemory.attach({ memory: plain })).toThrow(TypeError);
  });
});
