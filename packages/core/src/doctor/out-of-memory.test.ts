import { describe, expect, it } from 'vitest';
import { InputError } from '../units/index.js';
import { allocatorRequest, readOutOfMemory } from './out-of-memory.js';

const now =
  '[rank12]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 4 has a total capacity of ' +
  '79.15 GiB of which 1.62 GiB is free. Including non-PyTorch memory, this process has 77.51 GiB memory in use. Of ' +
  'the allocated memory 70.12 GiB is allocated by PyTorch, and 5.21 GiB is reserved by PyTorch but unallocated.';
const before =
  'RuntimeError: CUDA out of memory. Tried to allocate 512.00 MiB (GPU 0; 39.59 GiB total capacity; 36.10 ' +
  'GiB already ' +
  'allocated; 211.19 MiB free; 37.70 GiB reserved in total by PyTorch)';
const two =
  '3: torch.cuda.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacty of ' +
  '63.98 GiB of which 18.00 MiB is free. Process 4711 has 60.00 GiB memory in use. Of the allocated memory ' +
  '58.00 GiB is allocated by PyTorch, with 1.00 GiB allocated in private pools (e.g., CUDA Graphs), and 900.00 MiB ' +
  'is reserved by PyTorch but unallocated.';
const gib = 2 ** 30;

describe("PyTorch's messages", () => {
  it('are read as every version prints them', () => {
    const [a, b, c] = readOutOfMemory(`starting\n${now}\nand more\n${before}\n${two}\n`, 'a.log');
    expect(a).toEqual({
      line: 2,
      rank: 12,
      requestedBytes: 2.5 * gib,
      precisionBytes: 0.005 * gib,
      capacityBytes: 79.15 * gib,
      freeBytes: 1.62 * gib,
      processBytes: 77.51 * gib,
      allocatedBytes: 70.12 * gib,
      unallocatedBytes: 5.21 * gib,
    });
    expect(b).toMatchObject({ line: 4, rank: undefined, requestedBytes: 512 * 2 ** 20, processBytes: undefined });
    expect((b?.unallocatedBytes ?? 0) / gib).toBeCloseTo(1.6, 6);
    expect(c).toMatchObject({ line: 5, rank: 3, capacityBytes: 63.98 * gib, processBytes: 60 * gib });
  });

  it('are read over line breaks, and refused with their line when figures are cut off', () => {
    expect(readOutOfMemory(now.replaceAll('. ', '.\n'), 'a.log')).toEqual([]);
    expect(readOutOfMemory(now.replace(' Including', '\nIncluding'), 'a.log')).toHaveLength(1);
    const cut = (): unknown => readOutOfMemory(`x\n${now.slice(0, 120)}`, 'a.log');
    expect(cut).toThrow(InputError);
    expect(cut).toThrow(expect.objectContaining({ file: 'a.log', line: 2 }));
  });
});

it('the allocator asks for what it prints', () => {
  const mebi = 2 ** 20;
  expect(
    [1, mebi, mebi + 1, 10 * mebi - 1, 10 * mebi, 100 * mebi + 1].map((one) => allocatorRequest(one) / mebi),
  ).toEqual([2, 2, 20, 20, 10, 102]);
});
