import { describe, expect, it } from 'vitest';
import { expectedRows, stageMemory, stageProgram, type MemorySetting } from '../memory/index.js';
import { getModel } from '../model/index.js';
import { resolveLayout } from '../layout/index.js';
import { inChunks, namedStrategies } from '../schedule/dispatchers/strategies.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import { explainOutOfMemory } from './explain-out-of-memory.js';
import { allocatorRequest, readOutOfMemory, type OutOfMemory } from './out-of-memory.js';

const gib = 2 ** 30;
const setting = (pp = 2, sequences = 1): MemorySetting => ({
  step: {
    model: getModel('qwen3-30b-a3b'),
    layout: resolveLayout({ tp: 1, cp: 1, pp, ep: 8, etp: 1, sequenceParallel: false }, 16),
    sequence: 4096,
    sequences,
    microBatches: 8,
    dtype: 'bf16',
    strategy: inChunks(namedStrategies.scattered, 1),
  },
  convention: 'megatron',
  sharing: 'distributed-optimizer',
  precision: 'mixed',
  imbalance: 1,
});

/** As PyTorch prints it, to two decimals. */
function printed(figures: Partial<Record<keyof OutOfMemory, number>>, rank = 0): OutOfMemory {
  const { requestedBytes = gib, capacityBytes = 80 * gib, freeBytes = gib / 2, allocatedBytes = 70 * gib } = figures;
  const { unallocatedBytes = 0, processBytes = capacityBytes - freeBytes } = figures;
  const size = (bytes: number): string =>
    bytes < gib ? `${(bytes / 2 ** 20).toFixed(2)} MiB` : `${(bytes / gib).toFixed(2)} GiB`;
  const [message] = readOutOfMemory(
    `[rank${rank}]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate ${size(requestedBytes)}. ` +
      'GPU 0 has a ' +
      `total capacity of ${size(capacityBytes)} of which ${size(freeBytes)} is free. Including non-PyTorch memory, ` +
      `this process has ${size(processBytes)} memory in use. Of the allocated memory ${size(allocatedBytes)} is ` +
      `allocated by PyTorch, and ${size(unallocatedBytes)} is reserved by PyTorch but unallocated.`,
    'a.log',
  );
  if (message === undefined) throw new Error('no message');
  return message;
}

const causesOf = (message: OutOfMemory, of: MemorySetting): string[] =>
  explainOutOfMemory(message, of).causes.map(({ cause }) => cause);

describe('the allocation', () => {
  it('is found for every large tensor of the step, from what PyTorch would print', () => {
    const one = setting();
    const large = Object.values(stageProgram(one, 0).templates)
      .flatMap(({ regions }) => regions)
      .map(({ id, life, rows, columns, dtype }) => ({
        id,
        life,
        bytes: expectedRows()(rows) * columns * dtypeBytes[dtype],
      }))
      .filter(({ life, bytes }) => life !== 'parameter' && life !== 'step' && bytes >= 16 * 2 ** 20);
    expect(large.length).toBeGreaterThan(12);
    for (const { id, bytes } of large) {
      const { candidates } = explainOutOfMemory(printed({ requestedBytes: allocatorRequest(bytes) }), one);
      expect(candidates.map(({ what }) => what).join()).toContain(id);
    }
  });

  it('may be a buffer of gradients; a size that nothing has is not given a name', () => {
    const one = setting();
    const { states } = stageMemory(one, 0);
    const { candidates } = explainOutOfMemory(printed({ requestedBytes: states.gradients * 0.78 }), one);
    expect(candidates).toEqual([]);
    const dense = explainOutOfMemory(printed({ requestedBytes: 7.5 * gib }), one);
    expect(dense.candidates.every(({ bytes }) => Math.abs(bytes / gib - 7.5) < 0.05)).toBe(true);
  });
});

describe('the cause', () => {
  it('is that the setting is too large, and the stage is that of the rank', () => {
    const explained = explainOutOfMemory(printed({ capacityBytes: 40 * gib, allocatedBytes: 38 * gib }, 9), setting());
    expect(explained.stage).toBe(1);
    expect(explained.predicted.stage).toBe(1);
    expect(explained.causes[0]?.cause).toBe('too-large');
  });

  it('is another process, pieces, buffers beside PyTorch, skew, or not known', () => {
    const fits = setting();
    const predicted = stageMemory(fits, 0).allocatedBytes;
    const capacityBytes = 120 * gib;
    const usual = { capacityBytes, processBytes: predicted + gib, allocatedBytes: predicted - 2 * gib };
    expect(causesOf(printed({ ...usual, freeBytes: gib }), fits)).toContain('other-process');
    const alone = { ...usual, freeBytes: capacityBytes - usual.processBytes };
    expect(causesOf(printed({ ...alone, unallocatedBytes: 3 * gib, requestedBytes: 2 * gib }), fits)).toEqual([
      'fragmented',
    ]);
    expect(causesOf(printed({ ...alone, requestedBytes: gib }), fits)).toEqual(['outside-pytorch']);
    const more = predicted + 6 * gib;
    const skewed = explainOutOfMemory(
      printed({ capacityBytes, allocatedBytes: more, freeBytes: capacityBytes - more - gib, processBytes: more + gib }),
      fits,
    );
    expect(skewed.causes.map(({ cause }) => cause)).toEqual(['skew']);
    // What it says is true of the prediction: so much skew takes so much memory.
    const at = stageMemory({ ...fits, imbalance: skewed.imbalance ?? 0 }, 0).allocatedBytes;
    expect(at / (more + gib)).toBeGreaterThan(0.99);
    expect(at / (more + gib)).toBeLessThan(1.02);
    const little = { capacityBytes, allocatedBytes: gib, processBytes: 2 * gib, freeBytes: capacityBytes - 2 * gib };
    expect(causesOf(printed(little), fits)).toEqual(['unknown']);
  });
});
