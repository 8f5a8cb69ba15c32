/**
 * CUDA's runtime and driver as far as a device needs them, on this process's memory: streams are in-order lists of work
 * that moves on in a seeded random order whenever somebody asks, so that every order that a card could take may come
 * up. Copies and fills act; kernels and products are only noted.
 *
 * What a card lets pass, or tells late and of something else, is an error here: work on memory that was given back, or
 * beyond what was asked for; memory given back while work on it is to come; pinned memory that changes before it was
 * copied; handles of libraries that are closed twice.
 */
import koffi from 'koffi';
import { Random } from '@monta/core/units';
import { CudaLibraries, type LibraryName, type NativeFunction } from '#runtime/device/cuda/bindings/index.js';
import type { DeviceMemory } from '#runtime/device/cuda/memory.js';

interface Work {
  /** False: cannot run yet. */
  run(): boolean;
  /** Addresses that it will use, as far as they are known when it is put on the stream. */
  readonly touches?: readonly number[];
}

interface RecordedEvent {
  /** How often it was recorded, and how many of these have happened. */
  recorded: number;
  happened: number;
  milliseconds: number;
}

/** By the name of CUDA's function. */
export type FakeCalls = Readonly<Record<string, (...values: never[]) => unknown>>;

/** What calls that do more need of the card. */
export interface FakeTools {
  /** Puts work on a stream, with the addresses that it will use. */
  readonly append: (stream: number, run: () => void, touches?: readonly number[]) => void;
  /** Memory of the card while work runs. Throws where it is not all in one block that is given out. */
  readonly at: (address: number, bytes: number) => Uint8Array<ArrayBuffer>;
}

/** Calls that make, and give back, handles of libraries. */
const makes = /^(cublas|cublasLt|cudnn)\w*Create/;
const destroys = /^(cublas|cublasLt|cudnn)\w*Destroy/;

/** As many as cards of these years have. */
const priorityLevels = 6;
const outOfMemory = 2;
const notReady = 600;

export class FakeCuda {
  /** Memory that was taken and not given back: address and the array that keeps it. */
  readonly memory = new Map<number, Uint8Array<ArrayBuffer>>();
  readonly events = new Map<number, RecordedEvent>();
  readonly streams = new Map<number, Work[]>([[0, []]]);
  /** Handles and descriptors of libraries that were made and not given back. */
  readonly handles = new Set<number>();
  /** Of streams, in the order in which they were made; the smallest goes first. */
  readonly priorities: number[] = [];
  /** What events are dated by, ms. */
  clock: () => number = () => performance.now();
  /** Kernels launched so far. */
  launches = 0;
  readonly #random: Random;
  readonly #capacity: number;
  readonly #lying: number;
  readonly #more: FakeCalls;
  /** Blocks for the host's copies. */
  readonly #pinned = new Set<number>();
  /** Of pools that are watched: blocks that are given out, with the bytes asked for, and that were given out before. */
  readonly #lent = new Map<number, number>();
  readonly #returned = new Set<number>();
  #next = 1;

  /** lying: the byte that new memory is full of. more: calls that do more, with what puts work on a stream. */
  constructor(seed: number, capacityBytes: number, lying = 0xab, more: (tools: FakeTools) => FakeCalls = () => ({})) {
    this.#lying = lying;
    this.#more = more({
      append: (stream, run, touches) => this.#append(stream, run, touches),
      at: (address, bytes) => this.#at(address, bytes),
    });
    this.#random = new Random(seed);
    this.#capacity = capacityBytes;
  }

  libraries(rank?: number): CudaLibraries {
    return new CudaLibraries(rank, (name: LibraryName) => ({
      file: name.files[0],
      func: (declaration: string): NativeFunction => {
        const call = /(\w+)\(/.exec(declaration)?.[1] ?? '';
        const known = this.#more[call] ?? this.#calls[call];
        return (...values) => {
          if (makes.test(call)) return this.#make(known, values);
          if (destroys.test(call)) this.#destroy(call, values[0] as number);
          return known === undefined ? 0 : (known(...(values as never[])) ?? 0);
        };
      },
    }));
  }

  /**
   * From now on blocks of a pool count as taken from the card when the pool gives them out, and as given back when it
   * takes them: a pool whose blocks are free once work on them is done.
   */
  watch(memory: DeviceMemory): void {
    const [allocate, free] = [memory.allocate.bind(memory), memory.free.bind(memory)];
    memory.allocate = (bytes) => {
      const address = allocate(bytes);
      this.#returned.delete(address);
      this.#lent.set(address, bytes);
      return address;
    };
    memory.free = (address) => {
      this.#mustBeIdle(address, this.#lent.get(address) ?? 0);
      free(address);
      this.#lent.delete(address);
      this.#returned.add(address);
    };
  }

  /** A handle of a library, unless the call that does more makes one. */
  #make(known: ((...values: never[]) => unknown) | undefined, values: readonly unknown[]): unknown {
    const cell = values.find((value) => value instanceof BigUint64Array);
    if (cell === undefined) throw new Error('a call that makes something needs a cell to write its handle to');
    cell[0] = BigInt(this.#next++);
    const code = known?.(...(values as never[])) ?? 0;
    this.handles.add(Number(cell[0]));
    return code;
  }

  #destroy(call: string, handle: number): void {
    if (!this.handles.delete(handle)) throw new Error(`${call} of ${handle}, which is not there`);
  }

  #mustBeIdle(address: number, bytes: number): void {
    for (const [stream, works] of this.streams)
      for (const { touches = [] } of works)
        if (touches.some((touched) => touched >= address && touched < address + bytes))
          throw new Error(`the block at ${address} was given back while stream ${stream} has work on it to come`);
  }

  readonly #calls: FakeCalls = {
    cudaGetErrorString: (code: number) => (code === outOfMemory ? 'out of memory' : `error ${code}`),
    cudaMalloc: (cell: BigUint64Array, bytes: number) => this.#take(cell, bytes),
    cudaMallocHost: (cell: BigUint64Array, bytes: number) => {
      const code = this.#take(cell, bytes);
      if (code === 0) this.#pinned.add(Number(cell[0]));
      return code;
    },
    cudaFree: (address: number) => this.#give(address),
    cudaFreeHost: (address: number) => {
      this.#pinned.delete(address);
      this.#give(address);
    },
    cudaMemcpyAsync: (to: number, from: number, bytes: number, _way: number, stream: number) => {
      const given = this.#isPinned(from) ? this.#at(from, bytes).slice() : undefined;
      const copy = (): void => {
        const source = this.#at(from, bytes).slice();
        if (given !== undefined && Buffer.compare(given, source) !== 0)
          throw new Error(`${bytes} bytes of the host at ${from} were changed before they were copied`);
        this.#at(to, bytes).set(source);
      };
      this.#append(stream, copy, [to, from]);
    },
    cudaMemsetAsync: (address: number, value: number, bytes: number, stream: number) =>
      this.#append(stream, () => void this.#at(address, bytes).fill(value), [address]),
    cuMemsetD8Async: this.#set(1),
    cuMemsetD16Async: this.#set(2),
    cuMemsetD32Async: this.#set(4),
    cudaDeviceGetStreamPriorityRange: (least: Int32Array, greatest: Int32Array) => {
      [least[0], greatest[0]] = [0, 1 - priorityLevels];
    },
    cudaStreamCreateWithPriority: (cell: BigUint64Array, _flags: number, priority: number) => {
      this.streams.set(this.#next, []);
      this.priorities.push(priority);
      cell[0] = BigInt(this.#next++);
    },
    cudaStreamDestroy: (stream: number) => void this.streams.delete(stream),
    cudaStreamSynchronize: (stream: number) => this.#until(() => this.#stream(stream).length === 0),
    cudaDeviceSynchronize: () => this.#until(() => [...this.streams.values()].every(({ length }) => length === 0)),
    cudaEventCreateWithFlags: (cell: BigUint64Array) => {
      this.events.set(this.#next, { recorded: 0, happened: 0, milliseconds: NaN });
      cell[0] = BigInt(this.#next++);
    },
    cudaEventDestroy: (event: number) => void this.events.delete(event),
    cudaEventRecord: (event: number, stream: number) => {
      const state = this.#event(event);
      const generation = ++state.recorded;
      this.#append(stream, () => {
        state.happened = generation;
        state.milliseconds = this.clock();
      });
    },
    cudaStreamWaitEvent: (stream: number, event: number) => {
      const state = this.#event(event);
      const generation = state.recorded;
      this.#stream(stream).push({ run: () => state.happened >= generation });
    },
    cudaEventQuery: (event: number) => {
      this.#step();
      const { recorded, happened } = this.#event(event);
      return happened >= recorded ? 0 : notReady;
    },
    cudaEventSynchronize: (event: number) => {
      const state = this.#event(event);
      this.#until(() => state.happened >= state.recorded);
    },
    cuLaunchKernel: () => void this.launches++,
    cublasLtMatmulAlgoGetHeuristic: (...values: unknown[]) => {
      (values[9] as Int32Array)[0] = 1;
    },
    // One engine is proposed, and whatever is asked for is there once.
    cudnnBackendGetAttribute: (_from: number, _attribute: number, _type: number, _room: number, found: unknown) => {
      if (found instanceof BigInt64Array || found instanceof BigUint64Array) found[0] = 1n;
    },
    cudaEventElapsedTime: (cell: Float32Array, start: number, end: number) => {
      cell[0] = this.#event(end).milliseconds - this.#event(start).milliseconds;
    },
  };

  #take(cell: BigUint64Array, bytes: number): number {
    const used = [...this.memory.values()].reduce((sum, { length }) => sum + length, 0);
    if (used + bytes > this.#capacity) return outOfMemory;
    const array = new Uint8Array(new ArrayBuffer(bytes));
    if (this.#lying !== 0) array.fill(this.#lying);
    cell[0] = koffi.address(array);
    this.memory.set(Number(cell[0]), array);
    return 0;
  }

  /** Bytes of one block. Throws where they are not all in it. */
  #at(address: number, bytes: number): Uint8Array<ArrayBuffer> {
    for (const [base, block] of this.memory)
      if (base <= address && address + bytes <= base + block.length) {
        if (this.#returned.has(base)) throw new Error(`work on the block at ${base}, which was given back`);
        const room = this.#lent.get(base) ?? block.length;
        if (address + bytes > base + room)
          throw new Error(`${bytes} bytes at ${address} end behind the ${room} that were asked for at ${base}`);
        return block.subarray(address - base, address - base + bytes);
      }
    throw new Error(`${bytes} bytes at ${address} are not in a block that was taken`);
  }

  #isPinned(address: number): boolean {
    for (const base of this.#pinned)
      if (base <= address && address < base + (this.memory.get(base)?.length ?? 0)) return true;
    return false;
  }

  /** Null may be freed, as in C. Waits for the card, as CUDA does. */
  #give(address: number): void {
    if (address === 0) return;
    this.#until(() => [...this.streams.values()].every(({ length }) => length === 0));
    if (!this.memory.delete(address)) throw new Error(`freed ${address}, which was not taken`);
    this.#lent.delete(address);
    this.#returned.delete(address);
  }

  #set(width: 1 | 2 | 4) {
    return (address: number, value: number, count: number, stream: number): void =>
      this.#append(stream, () => {
        const bytes = this.#at(address, width * count);
        const make = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[width];
        new make(bytes.buffer, bytes.byteOffset, count).fill(value);
      }, [address]);
  }

  #append(stream: number, run: () => void, touches: readonly number[] = []): void {
    this.#stream(stream).push({
      run: () => {
        run();
        return true;
      },
      touches,
    });
  }

  #stream(stream: number): Work[] {
    const work = this.streams.get(stream);
    if (work === undefined) throw new Error(`stream ${stream} does not exist`);
    return work;
  }

  #event(event: number): RecordedEvent {
    const state = this.events.get(event);
    if (state === undefined) throw new Error(`event ${event} does not exist`);
    return state;
  }

  /** Runs the head of some stream, if it can run. */
  #step(): boolean {
    const busy = [...this.streams.values()].filter(({ length }) => length > 0);
    if (busy.length === 0) return false;
    const work = busy[Math.floor(this.#random.uniform() * busy.length)];
    if (work[0].run()) work.shift();
    return true;
  }

  #until(over: () => boolean): void {
    while (!over()) if (!this.#step()) throw new Error('waits for something that no stream will do');
  }
}
