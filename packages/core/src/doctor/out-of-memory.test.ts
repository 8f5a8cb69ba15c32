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
    const [whole] = readOutOfMemory(now, 'a.log');
    for (const sign of ['. ', ' ']) {
      const [broken, ...others] = readOutOfMemory(`x\n${now.replaceAll(sign, `${sign.trim()}\n`)}`, 'a.log');
      expect(others).toEqual([]);
      expect({ ...broken, rank: whole?.rank, line: 1 }).toEqual(whole);
    }
    expect(readOutOfMemory(now.replace(' Including', '\nIncluding'), 'a.log')).toHaveLength(1);
    const cut = (): unknown => readOutOfMemory(`x\n${now.slice(0, 120)}`, 'a.log');
    expect(cut).toThrow(InputError);
    expect(cut).toThrow(expect.objectContaining({ file: 'a.log', line: 2 }));
  });
});

describe('messages of other allocators, devices and years', () => {
  const read = (text: string) => readOutOfMemory(text, 'a.log')[0];

  it('of PyTorch 1.0 to 1.3, which tells what is cached beyond what is handed out', () => {
    const text =
      'RuntimeError: CUDA out of memory. Tried to allocate 30.00 MiB (GPU 2; 15.75 GiB total capacity; 14.02 GiB ' +
      'already allocated; 22.88 MiB free; 310.50 MiB cached)';
    expect(read(text)).toMatchObject({ allocatedBytes: 14.02 * gib, unallocatedBytes: 310.5 * 2 ** 20 });
  });

  it('of a process that is allowed a part of the device, with pools of graphs', () => {
    const text =
      'torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of 191.98 ' +
      'GiB of which 90.00 GiB is free. 48.00 GiB allowed; Of the allocated memory 47.50 GiB is allocated by PyTorch, ' +
      'with 1.25 GiB allocated in private pools (e.g., HIP Graphs), and 510.00 MiB is reserved by PyTorch but ' +
      'unallocated.';
    expect(read(text)).toMatchObject({ capacityBytes: 48 * gib, allocatedBytes: 47.5 * gib, freeBytes: 90 * gib });
  });

  it('of an NPU', () => {
    const text =
      'RuntimeError: NPU out of memory. Tried to allocate 1.50 GiB (NPU 3; 60.97 GiB total capacity; 55.00 GiB ' +
      'already allocated; 55.00 GiB current active; 1.02 GiB free; 58.00 GiB reserved in total by PyTorch)';
    expect(read(text)).toMatchObject({ requestedBytes: 1.5 * gib, freeBytes: 1.02 * gib, unallocatedBytes: 3 * gib });
  });

  it('of the allocator of CUDA itself, a figure a line', () => {
    const text =
      '[rank5]: torch.OutOfMemoryError: Allocation on device 5 would exceed allowed memory. (out of memory)\n' +
      'Currently allocated     : 70.25 GiB\nRequested               : 3.00 GiB\nDevice limit            : 79.15 GiB\n' +
      'Free (according to CUDA): 19.56 MiB\nPyTorch limit (set by user-supplied memory fraction)\n' +
      '                        : 17179869184.00 GiB\n';
    expect(read(text)).toMatchObject({
      rank: 5,
      requestedBytes: 3 * gib,
      capacityBytes: 79.15 * gib,
      allocatedBytes: 70.25 * gib,
      unallocatedBytes: 0,
    });
  });

  it('beside other processes, of which this one is told', () => {
    const text = now.replace(
      'Including',
      'Process 71 has 9.89 GiB memory in use. Process 72 has 1.00 GiB memory in use. Including',
    );
    expect(read(text)?.processBytes).toBe(77.51 * gib);
  });
});

it('the allocator asks for what it prints', () => {
  const mebi = 2 ** 20;
  expect(
    [1, mebi, mebi + 1, 10 * mebi - 1, 10 * mebi, 100 * mebi + 1].map((one) => allocatorRequest(one) / mebi),
  ).toEqual([2, 2, 20, 20, 10, 102]);
});
