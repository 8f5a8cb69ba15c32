/**
 * A card as a device: each lane is a stream. A launch goes to its stream as soon as all that it comes after is on a
 * stream too, or done; the card waits, not the host. What comes after an event of the host (a collective's, say) stays
 * here until that event is done.
 */
import { InputError } from '@monta/core/units';
import { nobody, type Companion } from '../cpu/companion.js';
import type { Device, DeviceEvent, Launch, LaunchRecord, Queue, HostArray } from '../device.js';
import { checkHostArray } from '../host-array.js';
import { elementBytes, type ElementType, type View } from '../view.js';
import type { Address } from './bindings/index.js';
import { CudaKernelCall, type CudaKernels } from './catalogue/call.js';
import { cudaKernels } from './catalogue/index.js';
import { mostOrderedExperts } from './operations/rows.js';
import { copyView, fillView } from './catalogue/memory-kernels.js';
import type { CudaContext } from './context.js';
import { CudaEventPool } from './cuda-event-pool.js';
import { streamTools, type Issued, type Lane } from './cuda-lane.js';
import { lanePriority, type LanePriorities } from './lane-priorities.js';
import { LaunchClock } from './launch-clock.js';
import type { DeviceMemory } from './memory.js';

export interface CudaDeviceOptions {
  /** Record when launches run. */
  readonly trace?: boolean;
  /** Default: all that the card has. */
  readonly kernels?: CudaKernels;
  /** Of streams, over the usual ones. */
  readonly priorities?: LanePriorities | undefined;
}

/**
 * A stream for work that somebody else puts on it (collectives of NCCL), whose ends are events of the device. One piece
 * of work at a time goes on: `announce` it, `begin` once `ready` says so, put it on `stream`, `end`.
 */
export interface TransferStream {
  readonly stream: Address;
  /** An event of work that will come onto the stream. */
  announce(): DeviceEvent;
  /** Whether everything that work comes after is done or on a stream of the card. */
  ready(after: readonly number[]): boolean;
  /** The stream waits for what the work comes after. */
  begin(after: readonly number[]): void;
  /** The work is on the stream: what waits for its event may follow. */
  end(event: DeviceEvent): void;
  /** When work that ended since the last call ran; empty unless tracing is on. */
  takeRecords(): LaunchRecord[];
}

/** A lane's first launch, and what of other work it comes after. */
interface Turn {
  readonly lane: Lane;
  readonly before: readonly Issued[];
}

/** Issued launches of a lane beyond which those that are done are looked for: bounds the events in use. */
const lookedAfter = 256;

export class CudaDevice implements Device {
  readonly kind = 'cuda';
  readonly #context: CudaContext;
  /**
   * What `allocate` gives. A pool of its own: `free` may come before the work that uses a block has ended, and what
   * kernels take for themselves, which the host may write at once, must never lie there.
   */
  readonly #memory: DeviceMemory;
  readonly #kernels: CudaKernels;
  readonly #events: CudaEventPool;
  readonly #trace: boolean;
  readonly #priorities: LanePriorities | undefined;
  #clock: LaunchClock | undefined;
  readonly #lanes = new Map<string, Lane>();
  /** Those that launches wait in, the lowest priority first. */
  #queues: readonly Lane[] = [];
  /**
   * Events not known to be done: of the host, of launches that wait here, and of issued ones. All others below #next
   * are done.
   */
  readonly #open = new Map<number, 'host' | 'waiting' | Issued>();
  #next = 0;
  /** Launches go to streams; and whether some may have become ready meanwhile. */
  #issuing = false;
  #again = false;
  #companion: Companion = nobody;
  #bytes = new Map<Address, number>();
  #allocatedBytes = 0;
  #peakAllocatedBytes = 0;

  /** The context belongs to the device, which closes it. */
  constructor(context: CudaContext, { trace = false, kernels = cudaKernels, priorities }: CudaDeviceOptions = {}) {
    this.#context = context;
    this.#memory = context.createMemory();
    this.#kernels = kernels;
    this.#events = new CudaEventPool(context, trace);
    this.#trace = trace;
    this.#priorities = priorities;
    this.#clock = this.#newClock();
  }

  /** Tells the device of the rank's communication, whose clock it takes over. Call it before anything is launched. */
  accompany(companion: Companion): void {
    this.#companion = companion;
    this.#context.waitBy((over) => companion.waitUntil(over));
    this.#clock = this.#newClock();
  }

  /** A stream of its own for the collectives of one communicator, with the priority of its queue. */
  transferStream(name: string, queue: string): TransferStream {
    const lane = this.#addLane(`transfers ${name}`, lanePriority(queue, this.#priorities), this.#newClock());
    let start: Address | undefined;
    return {
      stream: lane.stream,
      announce: () => {
        const id = this.#next++;
        this.#open.set(id, 'waiting');
        return { id };
      },
      ready: (after) => this.#onStreams(after) !== undefined,
      begin: (after) => {
        this.#follow(lane, this.#onStreams(after) ?? []);
        start = this.#trace ? this.#events.record(lane.stream) : undefined;
      },
      end: ({ id }) => {
        const end = this.#events.record(lane.stream);
        this.#issued(lane, { id, lane: lane.name, end, start, temporaries: [] });
        this.#issueAll();
      },
      takeRecords: () => {
        this.#lookAfter(lane);
        return lane.clock?.take() ?? [];
      },
    };
  }

  ordersPicks(experts: number): boolean {
    return experts <= mostOrderedExperts;
  }

  keepChoices(folder: string): void {
    this.#context.choicesFolder = folder;
  }

  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  get peakAllocatedBytes(): number {
    return this.#peakAllocatedBytes;
  }

  /**
   * The most that was allocated at a time, with what kernels took for themselves; in the sizes that CUDA was asked for.
   */
  get peakBytes(): number {
    return this.#memory.peakBytes + this.#context.memory.peakBytes;
  }

  allocate(type: ElementType, length: number): View {
    if (!Number.isSafeInteger(length) || length < 0)
      throw new RangeError(`a view has a whole number of elements, at least 0, not ${length}`);
    const bytes = length * elementBytes[type];
    const byteOffset = this.#memory.allocate(bytes);
    this.#bytes.set(byteOffset, bytes);
    this.#allocatedBytes += bytes;
    this.#peakAllocatedBytes = Math.max(this.#peakAllocatedBytes, this.#allocatedBytes);
    return { type, byteOffset, length };
  }

  free({ byteOffset }: View): void {
    this.#memory.free(byteOffset);
    this.#allocatedBytes -= this.#bytes.get(byteOffset) ?? 0;
    this.#bytes.delete(byteOffset);
  }

  trim(): void {
    this.#memory.trim();
    this.#context.memory.trim();
  }

  read(view: View, into: HostArray): void {
    checkHostArray(view, into);
    this.#memory.read(view.byteOffset, bytesOf(into));
  }

  write(view: View, from: HostArray): void {
    checkHostArray(view, from);
    this.#memory.write(view.byteOffset, bytesOf(from));
  }

  fill(view: View, value: number): void {
    fillView(this.#context, view, value, 0);
    this.#context.libraries.runtime.cudaStreamSynchronize(0);
  }

  copy(from: View, to: View): void {
    copyView(this.#context, from, to, 0);
    this.#context.libraries.runtime.cudaStreamSynchronize(0);
  }

  queue(name: string): Queue {
    const known = this.#lanes.get(name);
    const lane = known ?? this.#addLane(name, lanePriority(name, this.#priorities), this.#clock);
    if (known === undefined) this.#queues = [...this.#queues, lane].sort((a, b) => a.priority - b.priority);
    return lane.queue;
  }

  createEvent(): DeviceEvent {
    const id = this.#next++;
    this.#open.set(id, 'host');
    return { id };
  }

  complete({ id }: DeviceEvent): void {
    if (this.#open.get(id) !== 'host') throw new Error(`event ${id} was not made by createEvent, or is done already`);
    this.#open.delete(id);
    this.#issueAll();
    this.#companion.completed();
  }

  query(event: DeviceEvent): boolean {
    if (this.#isDone(event)) return true;
    this.#companion.check();
    this.#companion.progress();
    return this.#isDone(event);
  }

  wait(event: DeviceEvent): void {
    this.waitAny([event]);
  }

  waitAny(events: readonly DeviceEvent[]): void {
    if (events.length === 0) return;
    while (!events.some(this.#isDone)) {
      const onStreams = events.map(({ id }) => this.#open.get(id)).filter((state) => typeof state === 'object');
      // The rank's communication goes on meanwhile; what is not on a stream waits for it.
      if (this.#companion !== nobody || onStreams.length === 0)
        this.#companion.waitUntil(() => events.some(this.#isDone));
      else if (events.length === 1) this.#context.libraries.runtime.cudaEventSynchronize(onStreams[0].end);
    }
  }

  /** Whether an event is done, without progress of anything else. */
  done(event: DeviceEvent): boolean {
    return this.#isDone(event);
  }

  /** Waits for all launches that wait here, then for the card. */
  finish(): void {
    for (const { waiting } of this.#lanes.values())
      for (let last = waiting.at(-1); last !== undefined; last = waiting.at(-1)) this.wait(last);
    if (this.#companion === nobody) this.#context.synchronize();
    else this.#companion.waitUntil(() => this.#quiet());
  }

  takeRecords(): LaunchRecord[] {
    if (this.#clock === undefined) return [];
    for (const lane of this.#lanes.values()) this.#lookAfter(lane);
    return this.#clock.take();
  }

  close(): void {
    this.finish();
    this.#quiet();
    this.#context.close();
  }

  /** Whether an event is done, as far as the card says so now. */
  readonly #isDone = ({ id }: DeviceEvent): boolean => {
    const state = this.#open.get(id);
    if (typeof state === 'object') {
      const lane = this.#lanes.get(state.lane);
      if (lane !== undefined && this.#context.libraries.runtime.eventDone(state.end)) this.#retire(lane, id);
    }
    return !this.#open.has(id);
  };

  /** Whether all that is on streams is done. */
  #quiet(): boolean {
    for (const lane of this.#lanes.values()) this.#lookAfter(lane);
    return [...this.#lanes.values()].every(({ issued }) => issued.length === 0);
  }

  #newClock(): LaunchClock | undefined {
    return this.#trace ? new LaunchClock(this.#context, this.#events, () => this.#companion.now()) : undefined;
  }

  #addLane(name: string, priority: number, clock: LaunchClock | undefined): Lane {
    const stream = this.#context.createStream(priority);
    const lane: Lane = {
      name,
      priority,
      stream,
      tools: streamTools(this.#context, stream),
      clock,
      waiting: [],
      issued: [],
      queue: { lane: name, launch: (launch, after = []) => this.#launch(lane, launch, after) },
    };
    this.#lanes.set(name, lane);
    return lane;
  }

  /** What of `after` is not known to be done, all of it on streams; undefined while some is not. */
  #onStreams(after: readonly number[]): Issued[] | undefined {
    const open = after.map((id) => this.#open.get(id)).filter((state) => state !== undefined);
    const issued = open.filter((state) => typeof state === 'object');
    return issued.length === open.length ? issued : undefined;
  }

  /** The stream of a lane waits for work of other lanes. */
  #follow(lane: Lane, before: readonly Issued[]): void {
    for (const { end, lane: other } of before)
      if (other !== lane.name) this.#context.libraries.runtime.cudaStreamWaitEvent(lane.stream, end, 0);
  }

  #issued(lane: Lane, issued: Issued): void {
    lane.issued.push(issued);
    this.#open.set(issued.id, issued);
    if (lane.issued.length > lookedAfter) this.#lookAfter(lane);
  }

  #launch(lane: Lane, launch: Launch, after: readonly DeviceEvent[]): DeviceEvent {
    if (!Object.hasOwn(this.#kernels, launch.kernel))
      throw new InputError(`the card has no kernel ${launch.kernel}`, {
        expected: `one of ${Object.keys(this.#kernels).sort().join(', ')}`,
      });
    const id = this.#next++;
    this.#open.set(id, 'waiting');
    lane.waiting.push({ id, launch, after: [...after] });
    this.#issueAll();
    return { id };
  }

  /**
   * Moves launches to their streams until none can move. A kernel that waits for the card lets the rank's communication
   * go on, which may complete events: what follows them comes behind that kernel, not in the middle of it.
   */
  #issueAll(): void {
    this.#again = true;
    if (this.#issuing) return;
    this.#issuing = true;
    try {
      while (this.#again) {
        this.#again = false;
        for (let turn = this.#turn(); turn !== undefined; turn = this.#turn()) {
          this.#issueHead(turn.lane, turn.before);
          // What peers wait for goes first: a launch of many products takes the host a millisecond.
          this.#companion.progress();
        }
      }
    } finally {
      this.#issuing = false;
    }
  }

  /**
   * The lane whose first launch is next, and what that comes after; undefined where none can go. Where several can, one
   * of which the card has nothing goes first, the lowest priority before others: the card's time is short in products,
   * and the host may fall behind. Where the card has something of each, it is what others wait for.
   */
  #turn(): Turn | undefined {
    const ready = this.#queues.flatMap((lane): Turn[] => {
      const head = lane.waiting.at(0);
      const before = head && this.#onStreams(head.after.map(({ id }) => id));
      return before === undefined ? [] : [{ lane, before }];
    });
    if (ready.length < 2) return ready.at(0);
    const idle = ready.find(({ lane }) => {
      this.#lookAfter(lane);
      return lane.issued.length === 0;
    });
    return idle ?? ready.at(-1);
  }

  #issueHead(lane: Lane, before: readonly Issued[]): void {
    const head = lane.waiting.shift();
    if (head === undefined) return;
    this.#follow(lane, before);
    let start: Address | undefined;
    const begin = (): void => {
      start = lane.clock === undefined ? undefined : this.#events.record(lane.stream);
    };
    // What the host works out, plans of row moves say, is no time of the kernel: the card waits for it or does not.
    const call = new CudaKernelCall(lane.tools, { ...head.launch, arguments: { ...head.launch.arguments } }, begin);
    this.#kernels[head.launch.kernel](call);
    call.begin();
    const { temporaries } = call;
    this.#issued(lane, { id: head.id, lane: lane.name, end: this.#events.record(lane.stream), start, temporaries });
  }

  /** Retires what is done at the front of a lane. */
  #lookAfter(lane: Lane): void {
    const { runtime } = this.#context.libraries;
    for (let first = lane.issued.at(0); first !== undefined; first = lane.issued.at(0)) {
      if (!runtime.eventDone(first.end)) return;
      this.#retire(lane, first.id);
    }
  }

  /** A launch is done, and with it all that its stream ran before. */
  #retire(lane: Lane, id: number): void {
    for (let first = lane.issued.shift(); first !== undefined; first = lane.issued.shift()) {
      this.#open.delete(first.id);
      for (const address of first.temporaries) this.#context.memory.free(address);
      if (lane.clock !== undefined && first.start !== undefined) lane.clock.note(first.id, first.start, first.end);
      else this.#events.giveBack(first.end);
      if (first.id === id) return;
    }
  }
}

function bytesOf(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
