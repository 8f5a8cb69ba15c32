/**
 * The seam between what runs programs and what computes: one rank's device, with its memory, in-order queues of
 * kernels, and events that order them. Everything above `device/` knows only this; a device is a folder beneath it
 * (`cpu/`, `cuda/`) that passes the conformance suite.
 */
import type { ElementType, View } from './view.js';

/**
 * Elements of f32, i32, bf16 or f16 (as bit patterns) and u8 views; a Uint8Array also holds the bytes of any view,
 * little-endian.
 */
export type HostArray = Float32Array | Int32Array | Uint16Array | Uint8Array;

/** Marks the end of a launch, of a collective, or of something that the host does. Done once, done for good. */
export interface DeviceEvent {
  /** Unlike that of every other event of the device that somebody may still ask about. */
  readonly id: number;
}

/** What a kernel gets for one of its roles: rows x columns elements, dense, row after row. */
export interface Operand {
  readonly view: View;
  readonly rows: number;
  readonly columns: number;
}

/** One run of a kernel. The views and arrays in it belong to the device until the launch has ended. */
export interface Launch {
  /** Name in the catalogue. */
  readonly kernel: string;
  /** By role; optional roles may be absent. */
  readonly operands: Readonly<Record<string, Operand>>;
  /** As the catalogue names and types them. */
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** Work that runs in the order in which it was appended. */
export interface Queue {
  readonly lane: string;
  /**
   * Appends a launch that starts once everything before it in the queue and all events of `after` are done, and returns
   * at once with the event of its end. Throws `InputError` when the device has no such kernel.
   */
  launch(launch: Launch, after?: readonly DeviceEvent[]): DeviceEvent;
}

/** When a launch ran, in seconds on the job's clock (`Endpoint.now`). */
export interface LaunchRecord {
  /** Its event. */
  readonly event: number;
  readonly start: number;
  readonly end: number;
}

/**
 * One rank's device. Only events and the order of a queue order work: `read`, `write`, `fill` and `copy` act at once,
 * and wait for nothing; whoever calls them has waited for the events of the launches and collectives that touch the
 * same elements.
 */
export interface Device {
  /** cpu, cuda … */
  readonly kind: string;

  /**
   * Room for elements, their content undefined, aligned to at least 64 bytes. Throws `DeviceMemoryError` when there is
   * none.
   */
  allocate(type: ElementType, length: number): View;
  /**
   * Gives back what `allocate` returned. What has been launched or submitted before may still use the room, whose
   * elements stay as they are until somebody writes to them; it may be handed out again at once, and whoever gets it
   * launches behind those that had it.
   */
  free(view: View): void;
  /** Bytes that are allocated now. */
  readonly allocatedBytes: number;
  /** The most bytes that were allocated at a time. */
  readonly peakAllocatedBytes: number;
  /** The most that was taken at a time, with what kernels took for themselves, where the device counts it. */
  readonly peakBytes?: number;

  /**
   * Names a folder, of a run say, where the device finds and keeps what it has chosen by measuring: a run that goes on
   * from there computes the same bits. Call it before anything is launched.
   */
  keepChoices?(folder: string): void;

  /** Gives back to the system what was kept for later allocations. What was launched must have ended. */
  trim?(): void;

  /** Copies a view's elements to the host. `into` is as long, and of the view's type, or bytes. */
  read(view: View, into: HostArray): void;
  /** Copies elements from the host. `from` is as long, and of the view's type, or bytes. */
  write(view: View, from: HostArray): void;
  /** Sets every element; bf16 and f16 take the nearest value, ties to even. */
  fill(view: View, value: number): void;
  /** Copies between views of one type and length. */
  copy(from: View, to: View): void;

  /** Whether the device's kernels work out canonical orders of picks among so many experts from where their ids lie. */
  ordersPicks?(experts: number): boolean;

  /** The queue of a lane, the same one at every call. Queues of different lanes progress independently. */
  queue(lane: string): Queue;

  /** An event that the host itself completes. */
  createEvent(): DeviceEvent;
  /** Marks an event of `createEvent` as done. */
  complete(event: DeviceEvent): void;
  /**
   * Whether an event is done. Never blocks; may run a kernel. Throws `JobAborted` when it is not and the job is over.
   */
  query(event: DeviceEvent): boolean;
  /**
   * Blocks until the event is done. Throws `JobAborted` when the job ends before, and whatever a kernel threw that ran
   * meanwhile.
   */
  wait(event: DeviceEvent): void;
  /** Blocks until at least one of the events is done; returns at once when there are none. Throws as `wait` does. */
  waitAny(events: readonly DeviceEvent[]): void;

  /** Launches that ended since the last call; empty unless tracing is on. */
  takeRecords(): LaunchRecord[];
  /** Runs what was launched to its end. The device is not used afterwards. */
  close(): void;
}

/** The device has no room for a request. */
export class DeviceMemoryError extends Error {
  override readonly name = 'DeviceMemoryError';
}
