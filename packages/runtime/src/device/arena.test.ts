import { Random } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { CpuMemory } from './cpu/index.js';
import { Arena } from './arena.js';

describe('arena', () => {
  it('never hands out bytes that are in use, and reuses what was given back', () => {
    const random = new Random(4);
    const memory = CpuMemory.create({ bytes: 1 << 20 });
    const arena = new Arena(memory);
    const live: { offset: number; bytes: number }[] = [];
    for (let turn = 0; turn < 2000; turn++) {
      if (live.length > 20 || (live.length > 0 && random.uniform() < 0.45)) {
        const [gone] = live.splice(random.integer(live.length), 1);
        arena.release(gone.offset);
        continue;
      }
      const bytes = random.integer(200_000);
      const offset = arena.allocate(bytes);
      expect(offset % 64).toBe(0);
      for (const other of live)
        expect(offset >= other.offset + other.bytes || offset + bytes <= other.offset).toBe(true);
      live.push({ offset, bytes });
    }
    // 21 buffers of at most 200 kB, with room for holes between them.
    expect(memory.allocatedBytes).toBeLessThan(3 * 21 * 200_000);
    for (const { offset } of live) arena.release(offset);
    expect(arena.usedBytes).toBe(0);
    const before = memory.allocatedBytes;
    const whole = arena.allocate(arena.peakBytes / 2);
    arena.release(whole);
    expect(memory.allocatedBytes).toBe(before);
    expect(() => arena.release(whole)).toThrow(RangeError);
  });
});
