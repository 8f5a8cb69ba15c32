/**
 * A second device, for showing that nothing above the seam relies on the first: memory is several ArrayBuffers,
 * addresses lie beyond 2^40 and mean nothing to anybody else, and launches run in any order that queues and events
 * allow, drawn from a seed. Launches may run when they are appended, when somebody asks, or only in a wait.
 */
import { InputError } from '@monta/core';
import {
  type Device,
  type DeviceEvent,
  DeviceMemoryError,
  type HostArray,
  type Launch,
  type LaunchRecord,
  type Queue,
} from '#runtime/device/device.js';
import { Arena } from '#runtime/device/arena.js';
import { toBfloat16, toFloat16 } from '#runtime/device/half.js';
import { checkHostArray } from '#runtime/device/host-array.js';
import { elementBytes, type ElementType, type View } from '#runtime/device/view.js';
import { random, type Random } from './random-program.js';

/** One operand as a kernel of the toy sees it. */
export interface ToyOperand {
  readonly view: View;
  readonly rows: number;
  readonly columns: number;
  readonly array: HostArray;
}

export interface ToyCall {
  readonly operands: Readonly<Record<string, ToyOperand>>;
  readonly arguments: Launch['arguments'];
}

export type ToyKernels = Readonly<Record<string, (call: ToyCall) => void>>;

export interface ToyDeviceOptions {
  readonly seed: number;
  /** Beside `copy` and `fill`. */
  readonly kernels?: ToyKernels;
  readonly trace?: boolean;
  /** Most bytes at once. */
  readonly maximumBytes?: number;
}

interface Waiting {
  readonly launch: Launch;
  readonly event: DeviceEvent;
  readonly after: readonly DeviceEvent[];
}

/** Between the addresses of two buffers, so that every address says which one it lies in. */
const spacing = 2 ** 33;
const firstAddress = 2 ** 40;

const moves: ToyKernels = {
  copy: ({ operands: { from, to } }) => to.array.set(from.array),
  fill: ({ operands: { to }, arguments: { value } }) => to.array.fill(Number(value)),
};

export class ToyDevice implements Device {
  readonly kind = 'toy';
  readonly #kernels: ToyKernels;
  readonly #options: ToyDeviceOptions;
  readonly #next: Random;
  /** How often something runs as soon as it is appended: never for every third seed. */
  readonly #eagerness: number;
  readonly #buffers: ArrayBuffer[] = [];
  readonly #arena = new Arena({ allocate: (bytes) => this.#addBuffer(bytes) });
  readonly #queues = new Map<string, Queue & { readonly waiting: Waiting[] }>();
  readonly #open = new Set<number>();
  #records: LaunchRecord[] = [];
  #events = 0;

  constructor(options: ToyDeviceOptions) {
    this.#options = options;
    this.#kernels = { ...moves, ...options.kernels };
    this.#next = random(options.seed);
    this.#eagerness = (options.seed % 3) * 0.3;
  }

  get allocatedBytes(): number {
    return this.#arena.usedBytes;
  }

  get peakAllocatedBytes(): number {
    return this.#arena.peakBytes;
  }

  allocate(type: ElementType, length: number): View {
    if (!(length >= 0)) throw new RangeError(`a view cannot have ${length} elements`);
    return { type, byteOffset: this.#arena.allocate(length * elementBytes[type]), length };
  }

  free(view: View): void {
    this.#arena.release(view.byteOffset);
  }

  read(view: View, into: HostArray): void {
    checkHostArray(view, into);
    into.set(into instanceof Uint8Array ? this.#bytes(view) : this.#elements(view));
  }

  write(view: View, from: HostArray): void {
    checkHostArray(view, from);
    (from instanceof Uint8Array ? this.#bytes(view) : this.#elements(view)).set(from);
  }

  fill(view: View, value: number): void {
    const round = { f32: Math.fround, i32: Number, bf16: toBfloat16, f16: toFloat16, u8: Number }[view.type];
    this.#elements(view).fill(round(value));
  }

  copy(from: View, to: View): void {
    if (from.type !== to.type || from.length !== to.length) throw new RangeError('views differ');
    this.#bytes(to).set(this.#bytes(from));
  }

  queue(lane: string): Queue {
    let queue = this.#queues.get(lane);
    if (queue === undefined) {
      const waiting: Waiting[] = [];
      queue = { lane, waiting, launch: (launch, after = []) => this.#append(waiting, launch, after) };
      this.#queues.set(lane, queue);
    }
    return queue;
  }

  createEvent(): DeviceEvent {
    const id = this.#events++;
    this.#open.add(id);
    return { id };
  }

  complete(event: DeviceEvent): void {
    this.#open.delete(event.id);
  }

  query(event: DeviceEvent): boolean {
    if (this.#open.has(event.id) && this.#next() < 0.5) this.#runOne();
    return !this.#open.has(event.id);
  }

  wait(event: DeviceEvent): void {
    this.waitAny([event]);
  }

  waitAny(events: readonly DeviceEvent[]): void {
    if (events.length === 0) return;
    while (events.every(({ id }) => this.#open.has(id)))
      if (!this.#runOne()) throw new Error('nothing can run, and nobody will complete what is waited for');
  }

  takeRecords(): LaunchRecord[] {
    return this.#records.splice(0);
  }

  close(): void {
    while (this.#runOne());
  }

  #append(waiting: Waiting[], launch: Launch, after: readonly DeviceEvent[]): DeviceEvent {
    if (!Object.hasOwn(this.#kernels, launch.kernel)) throw new InputError(`the toy has no kernel ${launch.kernel}`);
    const event = this.createEvent();
    waiting.push({ launch, event, after: [...after] });
    while (this.#next() < this.#eagerness && this.#runOne());
    return event;
  }

  /** Runs some launch that can run; false when there is none. */
  #runOne(): boolean {
    const ready = [...this.#queues.values()].filter(
      ({ waiting: [head] }) => head !== undefined && head.after.every(({ id }) => !this.#open.has(id)),
    );
    if (ready.length === 0) return false;
    const head = ready[Math.floor(this.#next() * ready.length)].waiting.shift();
    if (head === undefined) return false;
    const start = performance.now() / 1000;
    this.#run(head.launch);
    if (this.#options.trace === true)
      this.#records.push({ event: head.event.id, start, end: performance.now() / 1000 });
    this.complete(head.event);
    return true;
  }

  #run({ kernel, operands, arguments: given }: Launch): void {
    this.#kernels[kernel]({
      operands: Object.fromEntries(
        Object.entries(operands).map(([role, operand]) => [role, { ...operand, array: this.#elements(operand.view) }]),
      ),
      arguments: given,
    });
  }

  #addBuffer(bytes: number): number {
    const { maximumBytes = 2 ** 28 } = this.#options;
    if (this.#buffers.reduce((sum, { byteLength }) => sum + byteLength, bytes) > maximumBytes)
      throw new DeviceMemoryError(`no room for ${bytes} bytes`);
    const buffer = new ArrayBuffer(bytes);
    new Uint8Array(buffer).fill(0xff); // whoever reads what nobody wrote shall notice
    return firstAddress + (this.#buffers.push(buffer) - 1) * spacing;
  }

  #place({ type, byteOffset, length }: View): { buffer: ArrayBuffer; start: number } {
    const index = Math.floor((byteOffset - firstAddress) / spacing);
    const start = byteOffset - firstAddress - index * spacing;
    const buffer = this.#buffers[index];
    if (buffer === undefined || start + length * elementBytes[type] > buffer.byteLength)
      throw new RangeError(`the view at ${byteOffset} lies in no buffer`);
    return { buffer, start };
  }

  #bytes(view: View): Uint8Array {
    const { buffer, start } = this.#place(view);
    return new Uint8Array(buffer, start, view.length * elementBytes[view.type]);
  }

  #elements(view: View): HostArray {
    const { buffer, start } = this.#place(view);
    const make = { f32: Float32Array, i32: Int32Array, bf16: Uint16Array, f16: Uint16Array, u8: Uint8Array };
    return new make[view.type](buffer, start, view.length);
  }
}
