/** What a kernel of the executor's registry sees: the memory behind the regions that its operation uses. */
import type { Operation, ProgramNode, Region } from '@monta/core';
import type { CpuMemory } from '../device/cpu/index.js';
import type { Storage } from './storage.js';

export class KernelCall {
  constructor(
    readonly operation: Operation,
    readonly node: ProgramNode,
    readonly storage: Storage,
    readonly memory: CpuMemory,
  ) {}

  /** Elements of the operation's i-th use (a chunk where its region is kept chunk after chunk). */
  use(index: number): Float32Array {
    return this.memory.f32(this.storage.useView(this.operation.uses[index]));
  }

  /** The region of the operation's i-th use. */
  usedRegion(index: number): Region {
    return this.storage.region(this.operation.uses[index].region);
  }

  /** All elements of a region of the running template. */
  floats(region: string): Float32Array {
    return this.memory.f32(this.storage.view(region));
  }

  ints(region: string): Int32Array {
    return this.memory.i32(this.storage.view(region));
  }

  /** Rows of a region on this rank. */
  rows(region: string): number {
    return this.storage.rows(this.storage.region(region).rows);
  }

  /** Chunk number and number of chunks that a kernel of a chunked half works on. */
  get chunk(): { readonly chunk: number; readonly of: number } {
    const { body } = this.operation;
    return body.kind === 'kernel' ? { chunk: body.work.chunk, of: body.work.of } : { chunk: 0, of: 1 };
  }

  scratch<T>(elements: number, use: (scratch: Float32Array) => T): T {
    return this.storage.withScratch(elements, use);
  }
}

export type Kernel = (call: KernelCall) => void;

/** Kernels by the names that templates use. */
export type KernelRegistry = Readonly<Record<string, Kernel>>;
