/** One rank's card: what it is, its memory, its streams and its kernels. */
import { cuda, CudaLibraries, deviceName, written, writtenInt, type Address } from './bindings/index.js';
import { KernelLibrary } from './kernels.js';
import { DeviceMemory } from './memory.js';

export interface CardFacts {
  readonly name: string;
  /** sm_90 for an H100 or H200. */
  readonly architecture: string;
  readonly multiprocessors: number;
  readonly l2Bytes: number;
  readonly totalBytes: number;
  /** The CUDA version that the driver supports, and the runtime's: 13000 is 13.0. */
  readonly driverCuda: number;
  readonly runtimeCuda: number;
}

export interface CudaContextOptions {
  /** Number of the card on this host; 0 unless given. */
  readonly device?: number;
  /** Named in errors. */
  readonly rank?: number;
  /** Bindings; this process's unless given. */
  readonly libraries?: CudaLibraries;
}

/** Streams and events of a card, and what else works on it. Close it to give everything back. */
export class CudaContext {
  readonly libraries: CudaLibraries;
  readonly facts: CardFacts;
  readonly memory: DeviceMemory;
  readonly kernels: KernelLibrary;
  /** Where choices measured on the card are kept beside the compiled kernels: with a run, so that it goes on alike. */
  choicesFolder: string | undefined;
  readonly #streams: Address[] = [];
  readonly #events: Address[] = [];
  /** Run before the context's own things are given back, last first. */
  readonly #closers: (() => void)[] = [];
  readonly #pools: DeviceMemory[] = [];
  #makingRoom = false;
  #wait: ((over: () => boolean) => void) | undefined;

  constructor({ device = 0, rank, libraries = new CudaLibraries(rank) }: CudaContextOptions = {}) {
    this.libraries = libraries;
    const { runtime } = this.libraries;
    runtime.cudaSetDevice(device);
    // Makes the card's primary context, which the driver's calls use too.
    runtime.cudaFree(0);
    this.facts = readFacts(this.libraries, device);
    this.memory = this.createMemory();
    this.kernels = new KernelLibrary(this.libraries, this.facts.architecture);
  }

  /**
   * A stream that does not wait for the default one. priority: 0 is the lowest; higher numbers go first, as far as the
   * card has levels.
   */
  createStream(priority = 0): Address {
    const { runtime } = this.libraries;
    const [least, greatest] = [new Int32Array(1), new Int32Array(1)];
    runtime.cudaDeviceGetStreamPriorityRange(least, greatest);
    // CUDA counts downwards: the greatest priority is the smallest number.
    const level = Math.max(greatest[0], least[0] - priority);
    const stream = written((cell) => runtime.cudaStreamCreateWithPriority(cell, cuda.streamNonBlocking, level));
    this.#streams.push(stream);
    return stream;
  }

  /** timed: the event keeps when it happened, for `milliseconds`. */
  createEvent(timed = false): Address {
    const { runtime } = this.libraries;
    const flags = timed ? cuda.eventDefault : cuda.eventDisableTiming;
    const event = written((cell) => runtime.cudaEventCreateWithFlags(cell, flags));
    this.#events.push(event);
    return event;
  }

  /** Milliseconds between two timed events that have happened. */
  milliseconds(start: Address, end: Address): number {
    const cell = new Float32Array(1);
    this.libraries.runtime.cudaEventElapsedTime(cell, start, end);
    return cell[0];
  }

  /** A pool of the card's memory. Where one finds no room, all give back what they keep. */
  createMemory(): DeviceMemory {
    const pool = new DeviceMemory(this.libraries.runtime, () => this.#makeRoom());
    this.#pools.push(pool);
    return pool;
  }

  /**
   * How the host waits for the card from now on. Ranks that wait for each other need it: one that sleeps in CUDA tells
   * the others nothing, and what it waits for may be theirs.
   */
  waitBy(wait: (over: () => boolean) => void): void {
    this.#wait = wait;
  }

  /** Waits until an event, recorded before, has happened. */
  waitFor(event: Address): void {
    const { runtime } = this.libraries;
    if (this.#wait === undefined) runtime.cudaEventSynchronize(event);
    else this.#wait(() => runtime.eventDone(event));
  }

  /** Waits until a stream has done what is on it now. */
  waitForStream(stream: Address): void {
    const { runtime } = this.libraries;
    if (this.#wait === undefined) {
      runtime.cudaStreamSynchronize(stream);
      return;
    }
    const event = written((cell) => runtime.cudaEventCreateWithFlags(cell, cuda.eventDisableTiming));
    try {
      runtime.cudaEventRecord(event, stream);
      this.waitFor(event);
    } finally {
      runtime.cudaEventDestroy(event);
    }
  }

  /** Waits until the card has done everything. */
  synchronize(): void {
    this.libraries.runtime.cudaDeviceSynchronize();
  }

  /** Something that must be given back before the context is. */
  onClose(closer: () => void): void {
    this.#closers.push(closer);
  }

  close(): void {
    const { runtime } = this.libraries;
    runtime.cudaDeviceSynchronize();
    for (const closer of this.#closers.splice(0).reverse()) closer();
    for (const event of this.#events.splice(0)) runtime.cudaEventDestroy(event);
    for (const stream of this.#streams.splice(0)) runtime.cudaStreamDestroy(stream);
    this.kernels.close();
    for (const pool of this.#pools) pool.close();
  }

  /** cudaFree sleeps until the card is idle: the host waits for that in its own way before. */
  #makeRoom(): void {
    if (!this.#makingRoom) {
      this.#makingRoom = true;
      try {
        for (const stream of this.#streams) this.waitForStream(stream);
      } finally {
        this.#makingRoom = false;
      }
    }
    for (const pool of this.#pools) pool.trim();
  }
}

function readFacts({ runtime, driver }: CudaLibraries, device: number): CardFacts {
  const attribute = (which: number): number =>
    writtenInt((cell) => runtime.cudaDeviceGetAttribute(cell, which, device));
  driver.cuInit(0);
  const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
  runtime.cudaMemGetInfo(free, total);
  const { attributes } = cuda;
  return {
    name: deviceName(driver, device),
    architecture: `sm_${attribute(attributes.computeMajor)}${attribute(attributes.computeMinor)}`,
    multiprocessors: attribute(attributes.multiprocessors),
    l2Bytes: attribute(attributes.l2Bytes),
    totalBytes: Number(total[0]),
    driverCuda: writtenInt((cell) => runtime.cudaDriverGetVersion(cell)),
    runtimeCuda: writtenInt((cell) => runtime.cudaRuntimeGetVersion(cell)),
  };
}
