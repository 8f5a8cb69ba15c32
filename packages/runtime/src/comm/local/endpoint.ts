/**
 * A rank's side of the local backend: turns calls into descriptors for the mover, and sleeps until the mover has ended
 * some.
 */
import type { Companion } from '../../device/cpu/companion.js';
import type { CpuDevice } from '../../device/cpu/cpu-device.js';
import type { DeviceEvent, Queue } from '../../device/device.js';
import { JobAborted, type Communicator, type Endpoint, type TransferRecord } from '../communicator.js';
import { at } from '../at.js';
import { CheckedCommunicator, cpuReduces, type SubmittedOperation } from '../checked-communicator.js';
import { Communicators } from '../communicators.js';
import type { Control } from './control.js';
import { RecordReader } from './records.js';
import { RingWriter } from './ring.js';
import { encode, type Submitted } from './submission.js';

/** Sleeps are cut short so that an abort is noticed even if its wake-up came just before the sleep. */
const sleepMilliseconds = 100;
/** While submissions wait for room in the ring. */
const overflowMilliseconds = 2;

export class LocalEndpoint implements Endpoint, Companion {
  readonly backend = 'local';
  readonly size: number;
  private readonly ring: RingWriter;
  private readonly recordReader: RecordReader;
  private readonly overflow: Int32Array[] = [];
  private readonly communicators: Communicators;
  private readonly labels = new Map<string, number>([['', 0]]);
  private readonly labelOfEvent = new Map<number, string>();
  private nextCommunicator = 0;
  private closed = false;

  constructor(
    private readonly control: Control,
    readonly rank: number,
    readonly device: CpuDevice,
  ) {
    device.accompany(this);
    this.size = control.size;
    this.communicators = new Communicators(rank, control.size);
    this.ring = new RingWriter(at(control.shared.ranks, rank).ring);
    this.recordReader = new RecordReader(at(control.shared.ranks, rank).records);
  }

  communicator(name: string, members: readonly number[], queue: Queue): Communicator {
    return this.communicators.get(queue, name, members, (_title, lane) => {
      const id = this.nextCommunicator++;
      this.push({ what: 'communicator', id, name, lane, members });
      return new CheckedCommunicator({
        backend: this.backend,
        reduces: cpuReduces,
        name,
        id,
        members,
        rank: this.rank,
        memory: { bytes: () => this.device.memory.buffer.byteLength },
        submit: (operation, label) => this.submit(operation, label),
      });
    });
  }

  check(): void {
    if (!this.control.aborted()) return;
    const { rank, reason } = this.control.abortCause();
    throw new JobAborted(rank < 0 ? `the job was stopped: ${reason}` : `rank ${rank} ended the job: ${reason}`);
  }

  progress(): void {
    if (this.overflow.length > 0) this.flush();
  }

  waitUntil(over: () => boolean): void {
    for (;;) {
      this.check();
      const seen = this.control.wakeCount(this.rank);
      if (over()) return;
      const drained = this.flush();
      this.control.sleep(this.rank, seen, drained ? sleepMilliseconds : overflowMilliseconds, drained);
    }
  }

  completed(): void {
    this.control.ringDoorbell();
  }

  now(): number {
    return this.control.now();
  }

  takeRecords(): TransferRecord[] {
    return [...this.recordReader.read()].map((record) => {
      const label = this.labelOfEvent.get(record.event) ?? '';
      this.labelOfEvent.delete(record.event);
      return { ...record, label };
    });
  }

  /** Ends this rank's part in the job: it will submit nothing more. What it submitted still completes. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    while (!this.flush() && !this.control.aborted()) {
      this.control.sleep(this.rank, this.control.wakeCount(this.rank), overflowMilliseconds, false);
    }
    this.control.finishRank(this.rank);
  }

  private submit(operation: SubmittedOperation, label: string): DeviceEvent {
    if (this.closed) throw new Error(`rank ${this.rank} submitted ${operation.kind} after closing its endpoint`);
    const event = this.device.events.create();
    this.device.announce(operation.after);
    let labelId = this.labels.get(label);
    if (labelId === undefined) {
      labelId = this.labels.size;
      this.labels.set(label, labelId);
      this.push({ what: 'label', id: labelId, text: label });
    }
    if (this.control.trace) this.labelOfEvent.set(event.id, label);
    this.push({ what: 'operation', operation: { ...operation, event: event.id, label: labelId } });
    return event;
  }

  /** Into the ring, or behind what already waits for room: submitting never blocks. */
  private push(submitted: Submitted): void {
    this.overflow.push(encode(submitted));
    this.flush();
  }

  /** True when nothing waits for room any more. */
  private flush(): boolean {
    if (this.overflow.length === 0) return true;
    let written = 0;
    for (const message of this.overflow) {
      if (!this.ring.write(message)) break;
      written += 1;
    }
    this.overflow.splice(0, written);
    const drained = this.overflow.length === 0;
    this.control.setOverflowing(this.rank, !drained);
    if (written > 0) this.control.ringDoorbell();
    return drained;
  }
}
