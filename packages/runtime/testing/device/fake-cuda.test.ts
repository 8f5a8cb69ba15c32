/** What the card of the test's making finds that a real one lets pass. */
import { describe, expect, it } from 'vitest';
import { CudaContext } from '#runtime/device/cuda/context.js';
import { LtGemm } from '#runtime/device/cuda/gemm.js';
import { computing } from './computing-card.js';
import { FakeCuda } from './fake-cuda.js';

function watched() {
  const fake = new FakeCuda(1, 2 ** 27, 0, computing);
  const context = new CudaContext({ libraries: fake.libraries(0) });
  fake.watch(context.memory);
  const { runtime } = context.libraries;
  return { fake, context, runtime, memory: context.memory, stream: context.createStream() };
}

const copyAnyWay = 4;

describe('a card of the test’s making', () => {
  it('finds a block that is given back before the work on it is done', () => {
    const { context, runtime, memory, stream } = watched();
    const block = memory.allocate(100);
    runtime.cudaMemsetAsync(block, 1, 100, stream);
    expect(() => memory.free(block)).toThrow(/given back while stream \d+ has work on it/u);
    context.synchronize();
    memory.free(block);
  });

  it('finds work on a block that was given back, and behind what was asked for', () => {
    const { context, runtime, memory, stream } = watched();
    const block = memory.allocate(100);
    memory.free(block);
    runtime.cudaMemsetAsync(block, 1, 100, stream);
    expect(() => context.synchronize()).toThrow('which was given back');
    const { runtime: other, ...second } = watched();
    other.cudaMemsetAsync(second.memory.allocate(100), 1, 101, second.stream);
    expect(() => second.context.synchronize()).toThrow('behind the 100 that were asked for');
  });

  it('finds pinned memory that changes before it was copied', () => {
    const { context, runtime, memory, stream } = watched();
    const pinned = memory.allocatePinned(8);
    runtime.cudaMemcpyAsync(memory.allocate(8), pinned.address, 8, copyAnyWay, stream);
    pinned.bytes[3] = 7;
    expect(() => context.synchronize()).toThrow('changed before they were copied');
  });

  it('finds streams that share the workspace of products, and products without terms', () => {
    const { context, memory, stream } = watched();
    const gemm = new LtGemm(context);
    const [a, b, d] = [memory.allocate(64), memory.allocate(64), memory.allocate(64)];
    const call = { m: 4, n: 4, k: 4, a, b, d, storage: 'f32' } as const;
    gemm.multiply(stream, call);
    expect(() => gemm.multiply(context.createStream(), call)).toThrow('share the workspace');
    const { cublas } = context.libraries;
    cublas.cublasSetStream_v2(1, stream);
    expect(() =>
      cublas.cublasGemmBatchedEx(1, 0, 0, 4, 4, 0, null, a, 0, 4, b, 0, 4, Float32Array.of(0), d, 0, 4, 1, 68, -1),
    ).toThrow(/without a workspace|a product of/u);
  });

  it('a sum of no terms is zero, or leaves what it is added to', () => {
    const { context, memory, stream } = watched();
    const gemm = new LtGemm(context);
    const d = memory.allocate(64);
    memory.write(d, new Uint8Array(64).fill(7));
    const none = { m: 4, n: 4, k: 0, a: d, b: d, d, storage: 'f32' } as const;
    const there = new Uint8Array(64);
    gemm.multiply(stream, { ...none, beta: 1 });
    context.synchronize();
    memory.read(d, there);
    expect(there.every((byte) => byte === 7)).toBe(true);
    gemm.multiply(stream, none);
    context.synchronize();
    memory.read(d, there);
    expect(there.every((byte) => byte === 0)).toBe(true);
    context.close();
  });
});
