/**
 * The CPU as a device: kernels run on the rank's own thread while it waits, asks or closes; collectives run beside
 * them, moved by the rank's communication. A launch whose events are not done holds up its queue and no other, as with
 * streams of a GPU.
 */
import { InputError } from '@monta/core/units';
import { Arena } from '../arena.js';
import type { Device, DeviceEvent, HostArray, Launch, LaunchRecord, Queue } from '../device.js';
import type { Gemm } from '../gemm.js';
import { toBfloat16, toFloat16 } from '../half.js';
import { checkHostArray } from '../host-array.js';
import { elementBytes, type ElementType, type View } from '../view.js';
import { nobody, type Companion } from './companion.js';
import { CpuQueues, type CpuQueue, type Waiting } from './cpu-queue.js';
import { EventTable } from './event-table.js';
import { createGemm } from './gemm.js';
import { LaunchedCall, type CpuKernels, type KernelTools } from './kernel-call.js';
import { cpuKernels } from './kernels/index.js';
import { CpuMemory, type CpuMemoryHandle, type CpuMemoryOptions } from './memory.js';

/** What a thread needs to attach to a device's memory and events; survives `workerData` and `postMessage`. */
export interface CpuDeviceHandle {
  readonly memory: CpuMemoryHandle;
  readonly events: SharedArrayBuffer;
}

export interface CpuDeviceOptions {
  /** Record when launches run. */
  readonly trace?: boolean;
  /** Default: all that the CPU has. */
  readonly kernels?: CpuKernels;
}

export class CpuDevice implements Device {
  readonly kind = 'cpu';
  /** For the CPU's own kernels and for communication through the host's memory; nobody else names it. */
  readonly memory: CpuMemory;
  readonly events: EventTable;
  readonly #kernels: CpuKernels;
  readonly #trace: boolean;
  readonly #arena: Arena;
  readonly #tools: KernelTools;
  readonly #queues = new CpuQueues((queue, launch, after) => this.#launch(queue, launch, after));
  /** Events that only this thread can complete, and whether a collective comes after them. */
  readonly #own = new Map<number, boolean>();
  #records: LaunchRecord[] = [];
  #companion: Companion = nobody;

  private constructor(
    memory: CpuMemory,
    events: EventTable,
    { trace = false, kernels = cpuKernels }: CpuDeviceOptions,
  ) {
    this.memory = memory;
    this.events = events;
    this.#kernels = kernels;
    this.#trace = trace;
    this.#arena = new Arena(memory);
    // Apart from regions: room that was given back early may still be used by launches that are queued.
    this.#tools = new Tools(memory, new Arena(memory), () => this.#companion.progress());
  }

  /** Makes a device. Throws `DeviceMemoryError` when the sizes exceed what WebAssembly can address. */
  static create(options: CpuMemoryOptions & CpuDeviceOptions): CpuDevice {
    return new CpuDevice(CpuMemory.create(options), new EventTable(EventTable.createBuffer()), options);
  }

  /** Memory and events for a rank's thread to attach to. */
  static createHandle(options: CpuMemoryOptions): CpuDeviceHandle {
    return { memory: CpuMemory.create(options).handle, events: EventTable.createBuffer() };
  }

  /** The device of the thread that runs the rank; one for each handle. */
  static attach({ memory, events }: CpuDeviceHandle, options: CpuDeviceOptions = {}): CpuDevice {
    return new CpuDevice(CpuMemory.attach(memory), new EventTable(events), options);
  }

  /** Tells the device of the rank's communication. */
  accompany(companion: Companion): void {
    this.#companion = companion;
  }

  /** Notes that a collective comes after these events: the companion hears when this thread completes one. */
  announce(after: readonly number[]): void {
    for (const id of after) if (this.#own.has(id)) this.#own.set(id, true);
  }

  get allocatedBytes(): number {
    return this.#arena.usedBytes;
  }

  get peakAllocatedBytes(): number {
    return this.#arena.peakBytes;
  }

  allocate(type: ElementType, length: number): View {
    if (!Number.isSafeInteger(length) || length < 0)
      throw new RangeError(`a view has a whole number of elements, at least 0, not ${length}`);
    return { type, byteOffset: this.#arena.allocate(length * elementBytes[type]), length };
  }

  free(view: View): void {
    this.#arena.release(view.byteOffset);
  }

  read(view: View, into: HostArray): void {
    checkHostArray(view, into);
    into.set(into instanceof Uint8Array ? this.memory.u8(view) : this.#elements(view));
  }

  write(view: View, from: HostArray): void {
    checkHostArray(view, from);
    (from instanceof Uint8Array ? this.memory.u8(view) : this.#elements(view)).set(from);
  }

  fill(view: View, value: number): void {
    const round = view.type === 'bf16' ? toBfloat16 : view.type === 'f16' ? toFloat16 : (exact: number) => exact;
    this.#elements(view).fill(round(value));
  }

  copy(from: View, to: View): void {
    if (from.type !== to.type || from.length !== to.length)
      throw new RangeError(`${from.length} ${from.type} cannot be copied to ${to.length} ${to.type}`);
    this.memory.u8(to).set(this.memory.u8(from));
  }

  queue(lane: string): Queue {
    return this.#queues.get(lane);
  }

  createEvent(): DeviceEvent {
    const event = this.events.create();
    this.#own.set(event.id, false);
    return event;
  }

  complete({ id }: DeviceEvent): void {
    const awaited = this.#own.get(id);
    if (awaited === undefined) throw new Error(`event ${id} was not made by createEvent, or is done already`);
    this.#own.delete(id);
    this.events.finish(id);
    if (awaited) this.#companion.completed();
  }

  query({ id }: DeviceEvent): boolean {
    if (this.events.done(id)) return true;
    this.#companion.check();
    if (!this.#runOne()) this.#companion.progress();
    return this.events.done(id);
  }

  wait(event: DeviceEvent): void {
    this.waitAny([event]);
  }

  waitAny(events: readonly DeviceEvent[]): void {
    if (events.length === 0) return;
    while (!events.some(this.done)) {
      if (this.#runOne()) this.#companion.progress();
      else this.#block(events);
    }
  }

  takeRecords(): LaunchRecord[] {
    const records = this.#records;
    this.#records = [];
    return records;
  }

  close(): void {
    for (;;) {
      if (this.#runOne()) continue;
      const awaited = this.#queues.awaited();
      if (awaited.length === 0) return;
      this.#block(awaited);
    }
  }

  /** Whether an event is done, without progress of anything else. */
  readonly done = ({ id }: DeviceEvent): boolean => this.events.done(id);

  #launch(queue: CpuQueue, launch: Launch, after: readonly DeviceEvent[]): DeviceEvent {
    if (!Object.hasOwn(this.#kernels, launch.kernel))
      throw new InputError(`the CPU has no kernel ${launch.kernel}`, {
        expected: `one of ${Object.keys(this.#kernels).sort().join(', ')}`,
      });
    const event = this.createEvent();
    queue.waiting.push({ launch, event, after: [...after] });
    return event;
  }

  /** Runs the first launch that can run; false when there is none. */
  #runOne(): boolean {
    const ready = this.#queues.takeReady(this.done);
    if (ready === undefined) return false;
    if (this.#trace) this.#runTraced(ready);
    else this.#run(ready);
    this.complete(ready.event);
    return true;
  }

  #run({ launch }: Waiting): void {
    this.#kernels[launch.kernel](new LaunchedCall(this.#tools, launch));
  }

  #runTraced(ready: Waiting): void {
    const start = this.#companion.now();
    this.#run(ready);
    this.#records.push({ event: ready.event.id, start, end: this.#companion.now() });
  }

  /** Sleeps until one of the events, or one that a queue's head comes after, is done. */
  #block(events: readonly DeviceEvent[]): void {
    // All are looked up again in the wait: one that ends in between is not missed.
    const awaited = [...events, ...this.#queues.awaited()];
    if (awaited.every(({ id }) => this.#own.has(id))) throw this.#stuck();
    this.#companion.waitUntil(() => awaited.some(this.done));
  }

  #stuck(): Error {
    const heads = this.#queues.heads().map(({ lane, kernel }) => `${kernel} on ${lane}`);
    const queues = heads.length === 0 ? 'no kernel is queued' : `queued: ${heads.join(', ')}`;
    return new Error(
      'this rank waits for events that nothing will complete: no kernel can run and no transfer is awaited ' +
        `(${queues}; created with createEvent and never completed?)`,
    );
  }

  #elements(view: View): Float32Array | Int32Array | Uint16Array | Uint8Array {
    switch (view.type) {
      case 'f32':
        return this.memory.f32(view);
      case 'i32':
        return this.memory.i32(view);
      case 'bf16':
      case 'f16':
        return this.memory.u16(view);
      case 'u8':
        return this.memory.u8(view);
    }
  }
}

class Tools implements KernelTools {
  #gemm: Gemm | undefined;

  constructor(
    readonly memory: CpuMemory,
    private readonly arena: Arena,
    private readonly progress: () => void,
  ) {}

  /** Made at the first product, since it compiles kernels. */
  get gemm(): Gemm {
    this.#gemm ??= createGemm(this.memory, { onTile: this.progress });
    return this.#gemm;
  }

  scratch<T>(elements: number, use: (scratch: Float32Array) => T): T {
    const byteOffset = this.arena.allocate(elements * elementBytes.f32);
    try {
      return use(this.memory.f32({ type: 'f32', byteOffset, length: elements }));
    } finally {
      this.arena.release(byteOffset);
    }
  }
}
